# `make` lists the targets. Every target makes .venv first when it is not there.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python -m vitlab
INSTALLED := .venv/.installed
DEMO := lightning_logs/demo
CHAIN := OMP_NUM_THREADS=1 $(RUN) fit --run.study=demo --run.overwrite=true --config configs/demo.yaml
PHANTOM := configs/data/phantom.yaml

.DEFAULT_GOAL := help
.PHONY: help demo demo-table test lint compare tensorboard clean chain-cnn chain-vit

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED)  ## train the four approaches on the built-in images (3 minutes on 2 cores), print the table
	$(RUN) data phantom
	$(MAKE) --no-print-directory -j2 chain-cnn chain-vit
	$(RUN) compare $(DEMO)
	@echo "curves: $(BIN)/tensorboard --logdir $(DEMO)"

# The two chains run side by side, one thread each: on 2 cores that beats one run with two threads.
chain-cnn: $(INSTALLED)
	$(CHAIN) --config configs/cnn.yaml --config configs/demo/cnn.yaml

test: lint  ## lint, types and every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

compare: $(INSTALLED)  ## the table of all finished runs
	$(RUN) compare

tensorboard: $(INSTALLED)  ## the curves of all runs, at http://localhost:6006
	$(BIN)/tensorboard --logdir lightning_logs

clean:  ## remove the environment, caches and the demo's runs; other runs stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info $(DEMO)
