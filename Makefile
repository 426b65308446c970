# `make` lists the targets. Every target makes .venv first when it is not there.
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/python -m vitlab
INSTALLED := .venv/.installed
DEMO := lightning_logs/demo
PUBLISHED := lightning_logs/published
AUDITS := $(PUBLISHED)/audits
# One thread a process: two runs of the demo are under way side by side.
FIT := OMP_NUM_THREADS=1 $(RUN) fit --run.study=demo --run.overwrite=true --trainer.accelerator=cpu
# A ViT learns nothing in its first few hundred steps: patches of 16 px and small batches buy more of them in a minute.
SHORT_VIT := --model.backbone_kwargs='{patch_size: 16}' --data.batch_size=16 --model.optim.betas=[0.9,0.95]
GENTLE := --data.augment.crop_scale=[0.85,1] --data.augment.rotation=5

.DEFAULT_GOAL := help
.PHONY: help demo demo-vit demo-mae demo-vit-mae demo-cnn demo-simclr demo-cnn-simclr study test soak lint compare bench readme readme-audit tensorboard clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	# Bytecode of 15,000 files is made on all cores, where pip takes one; of a few, meant for other Pythons, it cannot be.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -qq -j 0 -x /tests/ .venv/lib || true
	touch $@

demo: $(INSTALLED)  ## train the four approaches on the built-in images (3 to 8 minutes on 2 cores), print the table
	$(RUN) data phantom
	$(MAKE) --no-print-directory -j2 demo-vit demo-vit-mae demo-cnn demo-cnn-simclr
	$(RUN) compare $(DEMO)
	@echo "curves: $(BIN)/tensorboard --logdir $(DEMO)"

demo-vit: $(INSTALLED)
	$(FIT) --config configs/vit.yaml $(SHORT_VIT) $(GENTLE) --model.drop_path=0 --trainer.max_epochs=18
demo-mae: $(INSTALLED)
	$(FIT) --config configs/mae_pretrain.yaml $(SHORT_VIT) --trainer.max_epochs=20
demo-vit-mae: demo-mae
	$(FIT) --config configs/vit_mae.yaml $(SHORT_VIT) $(GENTLE) --model.drop_path=0 --model.optim.layer_decay=1 \
		--trainer.max_epochs=14 \
		--model.weights=$(DEMO)/mae/seed0/backbone.safetensors
demo-cnn: $(INSTALLED)
	$(FIT) --config configs/cnn.yaml $(GENTLE) --trainer.max_epochs=12
demo-simclr: $(INSTALLED)
	$(FIT) --config configs/simclr_pretrain.yaml --trainer.max_epochs=8
demo-cnn-simclr: demo-simclr
	$(FIT) --config configs/cnn_simclr.yaml $(GENTLE) --trainer.max_epochs=10 \
		--model.weights=$(DEMO)/simclr/seed0/backbone.safetensors

study: $(INSTALLED)  ## four approaches x 3 seeds x 3 folds on the built-in images (25 minutes on 2 cores), with their table
	$(RUN) study --config configs/studies/phantom.yaml

test: $(INSTALLED)  ## lint, types and every test
	$(BIN)/ruff check .
	# mypy's minute of one core goes beside the tests; what it says, if anything, comes last.
	@said=$$(mktemp); $(BIN)/mypy >$$said 2>&1 & types=$$!; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder; tests=$$?; \
	wait $$types || { cat $$said; tests=1; }; rm -f $$said; exit $$tests

soak: $(INSTALLED)  ## the long forms of kills, fuzz and clusters (hours)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak --timeout 36000

lint: $(INSTALLED)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

compare: $(INSTALLED)  ## the table of all finished runs
	$(RUN) compare

bench: $(INSTALLED)  ## vitlab against plain references on this machine: a table of ratios, and a picture
	$(RUN) bench

readme: $(INSTALLED)  ## put the tables of the last demo and of the published runs into README.md
	$(RUN) compare $(DEMO) --into README.md --mark demo
	$(RUN) compare $(PUBLISHED)/cheng --by patient_prefix --into README.md --mark cheng
	for study in label_efficiency shuffled_labels leak; do \
		$(RUN) compare $(PUBLISHED)/$$study --brief --into README.md --mark $$study || exit 1; done
	for study in phantom cheng_fold1; do \
		$(RUN) explain --findings $(PUBLISHED)/$$study/explain --into README.md --mark explain-$$study || exit 1; done
	for machine in $$(ls $(PUBLISHED)/bench); do \
		$(RUN) bench --findings $(PUBLISHED)/bench/$$machine --into README.md --mark bench-$$machine || exit 1; done
	mkdir -p lightning_logs/readme
	$(RUN) compare $(PUBLISHED)/label_efficiency --brief --report lightning_logs/readme/report.html
	cp lightning_logs/readme/figures/label-efficiency-cheng.svg $(PUBLISHED)/label_efficiency/label_efficiency.svg

readme-audit: $(INSTALLED)  ## put what audits find in $$VITLAB_DATA, and what an audit takes, into README.md
	for set in brain_tumor_mri cheng; do \
		$(RUN) audit --config configs/data/$$set.yaml --out audits/$$set --into README.md --mark audit-$$set && \
		mkdir -p $(AUDITS)/$$set && cp audits/$$set/audit.json $(AUDITS)/$$set || exit 1; done
	$(RUN) audit --config configs/data/cheng.yaml --plant 100 --out $(AUDITS)/cheng --into README.md --mark planted-cheng
	$(RUN) audit --config configs/data/phantom.yaml --data.source.seed=1 --plant 50 --out $(AUDITS)/phantom --into README.md --mark planted-phantom

tensorboard: $(INSTALLED)  ## the curves of all runs, at http://localhost:6006
	$(BIN)/tensorboard --logdir lightning_logs

clean:  ## remove the environment, caches and the demo's runs; other runs stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist *.egg-info $(DEMO)
