# `make` lists the targets. Every target makes .venv first when it is not there.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python -m vitlab
INSTALLED := .venv/.installed
DEMO := lightning_logs/demo
# One thread a process: the two chains of the demo run side by side.
FIT := OMP_NUM_THREADS=1 $(RUN) fit --run.study=demo --run.overwrite=true --trainer.accelerator=cpu

.DEFAULT_GOAL := help
.PHONY: help demo demo-cnn demo-vit test lint compare tensorboard clean readme

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(INSTALLED)  ## train the four approaches on the built-in images (3 minutes on 2 cores), print the table
	$(RUN) data phantom
	$(MAKE) --no-print-directory -j2 demo-cnn demo-vit
	$(RUN) compare $(DEMO)
	@echo "curves: $(BIN)/tensorboard --logdir $(DEMO)"

demo-cnn: $(INSTALLED)
	$(FIT) --config configs/cnn.yaml --trainer.max_epochs=12
	$(FIT) --config configs/simclr_pretrain.yaml --trainer.max_epochs=15
	$(FIT) --config configs/cnn_simclr.yaml --trainer.max_epochs=8 --model.weights=$(DEMO)/simclr/seed0/backbone.safetensors

demo-vit: $(INSTALLED)
	$(FIT) --config configs/vit.yaml --trainer.max_epochs=15
	$(FIT) --config configs/mae_pretrain.yaml --trainer.max_epochs=30
	$(FIT) --config configs/vit_mae.yaml --trainer.max_epochs=12 --model.weights=$(DEMO)/mae/seed0/backbone.safetensors

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
