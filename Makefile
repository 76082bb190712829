# make demo and make test need nothing but Python >= 3.11: they set everything up in .venv.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
LOCK := $(UV) pip compile pyproject.toml --override requirements/overrides.txt --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

.DEFAULT_GOAL := help
GENERATED := tests/workflows/manifest/test_golden.py tests/workflows/lint/test_backbones.py tests/workflows/lint/test_transforms.py tests/jobs/contract/stored/test_digest.py tests/charts/test_chart.py

.PHONY: help demo test fast lint types format golden bench recipes soak images gpu-test cluster-test lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

# A layer of the installation is a stamp in .venv; dev holds all that run holds. Hashes are checked.
$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cxrfold needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements/uv.txt
	@touch $@

$(VENV)/%.stamp: requirements/%.txt pyproject.toml | $(UV)
	$(UV) pip install --python $(BIN)/python --compile-bytecode --require-hashes --no-deps -r requirements/$*.txt
	$(UV) pip install --python $(BIN)/python --quiet --no-deps --editable .
	@touch $@

demo: $(VENV)/run.stamp ## train and score five folds of a classifier and a detector on synthetic films, here
	$(BIN)/python workflows/cv.py run -e demo

test: $(VENV)/dev.stamp lint types ## all tests that need no cluster
	$(BIN)/python -m pytest

fast: $(VENV)/dev.stamp lint types ## lint, types and the quick tests
	$(BIN)/python -m pytest -n auto -m 'not slow and not cluster and not recipes'

lint: $(VENV)/dev.stamp ## style, formatting, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/dev.stamp ## mypy, strict
	$(BIN)/mypy

format: $(VENV)/dev.stamp ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: $(VENV)/dev.stamp ## write all generated files anew; .ci/run fails if that changes one
	$(BIN)/python charts/profile_schema.py
	CXRFOLD_REGENERATE=1 $(BIN)/python -m pytest $(GENERATED)

bench: $(VENV)/dev.stamp ## speed of each hot path beside a peer, as ratios
	@for bench in tests/benchmarks/bench_*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit; done

recipes: $(VENV)/dev.stamp ## run every recipe whole, small, on one fold
	$(BIN)/python -m pytest tests/recipes -m 'recipes or not recipes'

soak: $(VENV)/dev.stamp ## put faults into everything, for an hour, and count what is survived (SOAK="kills --count 20" for less)
	$(BIN)/python -m tests.soak $(SOAK)

images: ## build the images (IMAGES="--registry HOST --push" for a cluster)
	$(PYTHON) images/build.py $(IMAGES)

gpu-test: $(VENV)/dev.stamp ## tests and benchmark on this machine's CUDA device; says what it skips
	$(BIN)/python -m pytest tests/gpu -rs
	$(BIN)/python tests/benchmarks/bench_gpu.py

cluster-test: $(VENV)/dev.stamp ## the same on the Kubernetes with Argo that KUBECONFIG names
	$(BIN)/python -m pytest tests/cluster -m cluster

lock: | $(UV) ## write the locked requirements anew
	$(LOCK) --all-extras -o requirements/dev.txt
	$(LOCK) -c requirements/dev.txt --extra jobs --extra detector --extra local -o requirements/run.txt
	$(LOCK) -c requirements/dev.txt -o requirements/base.txt
	UV=$(UV) images/lock

clean: ## remove the environment, caches and local results
	rm -rf $(VENV) runs build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
