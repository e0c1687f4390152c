# make install | fit | test | test-fast | test-next | lint | docs | bench | clean
# The first interpreter of a supported version.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo $$p && break; done)
# The build of TensorFlow: tensorflow, cpu or gpu.
BUILD ?= tensorflow
BIN := .venv/bin
# Two processes, which take over what the other has left: most tests keep one core busy.
PYTEST_OPTIONS := -n 2 --dist worksteal
PYTEST := $(BIN)/python -m pytest $(PYTEST_OPTIONS)
NEXT := .venv-next/bin
RUN := runs/digits
OUT := artifacts/digits

.PHONY: install fit test test-fast test-next lint docs bench clean
.DEFAULT_GOAL := fit

# Installed again whenever setup.py changes.
.venv/installed: setup.py
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 to 3.13 is needed" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e ".[sweep,export,$(BUILD)]"
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/pip install --quiet -e ".[docs]"
	touch $@

# The nightly builds replace TensorFlow and Keras, which other packages require by their
# names, and therefore come last. To get newer ones, remove .venv-next.
.venv-next/installed: setup.py
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 to 3.13 is needed" >&2; exit 2; }
	$(PYTHON) -m venv .venv-next
	$(NEXT)/pip install --quiet -e ".[dev]"
	$(NEXT)/pip uninstall --quiet --yes tensorflow keras tf-nightly-cpu keras-nightly
	$(NEXT)/pip install --quiet --pre tf-nightly-cpu keras-nightly
	touch $@

install: .venv/installed

fit: .venv/installed
	$(BIN)/python -m training.fit --recipe digits --out $(RUN) $(if $(wildcard $(RUN)/config.json),--resume)
	$(BIN)/python -m export.saved_model $(RUN) --out $(OUT)/saved_model
	$(BIN)/python -m export.tflite $(RUN) --out $(OUT)/model.tflite
	$(BIN)/python -m export.verify $(OUT)/saved_model $(RUN)
	$(BIN)/python -m export.verify $(OUT)/model.tflite $(RUN)
	$(BIN)/python -m training.report $(RUN)

test: lint
	$(PYTEST)

test-fast: lint
	$(PYTEST) -m "not slow"

# What the next versions of TensorFlow and Keras break.
test-next: .venv-next/installed
	$(NEXT)/python -m pytest $(PYTEST_OPTIONS) -m "not slow"

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A broken link, anchor or reference is an error. The variable silences an announcement.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "documentation: site/index.html"

bench: .venv/installed
	$(BIN)/python benchmarks/training_step.py
	$(BIN)/python benchmarks/training_step.py --variants \
		--networks densenet121 resnet110_sd_cifar
	$(BIN)/python benchmarks/training_step.py --variants \
		--networks resnext50_32x4d --precisions float32 --rounds 3
	$(BIN)/python benchmarks/grouped_layers.py
	$(BIN)/python benchmarks/lesions.py
	$(BIN)/python benchmarks/input_pipeline.py
	$(BIN)/python benchmarks/input_pipeline.py --train
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/scaling.py

clean:
	rm -rf .venv .venv-next build site *.egg-info .mypy_cache .ruff_cache .pytest_cache
