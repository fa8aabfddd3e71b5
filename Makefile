# Commands for users, developers and CI. All except `make help` create the environment if it does not exist.
.DEFAULT_GOAL := help
.PHONY: help run test test-all check docs bench ui lock

PYTHON ?= python3
VENV ?= .venv
# A preset is a folder of conf/: `make run PRESET=smoke`. An environment variable of this name is ignored.
PRESET :=

BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(abspath $(BIN)):$(PATH)

help:
	@echo "make run         train on the embedded digits, evaluate, export, register   (PRESET=smoke: in a minute)"
	@echo "make test        run the tests, except the slow ones"
	@echo "make test-all    run all tests, including those that start the real commands many times"
	@echo "make check       check style, types and import contracts"
	@echo "make docs        build the documentation site into site/ and check its links"
	@echo "make bench       run the benchmarks"
	@echo "make ui          compare runs in the browser, until Ctrl-C"
	@echo "make lock        update requirements.lock from pyproject.toml"

run: $(READY)
	kedro run$(if $(PRESET), --env=$(PRESET))

test: $(READY)
	@echo "tests         about 6 minutes on 2 idle cores"
	@pytest
	@echo "next          make run · make check · make test-all"

test-all: $(READY)
	@echo "tests         about 20 minutes on 2 idle cores, 40 beside other programs"
	@pytest -m "slow or not slow"

check: $(READY)
	ruff check .
	ruff format --check .
	mypy
	lint-imports

# Not --quiet, which also hides faults from strict mode. Material advertises its successor in each build.
docs: $(READY)
	@NO_MKDOCS_2_WARNING=1 mkdocs build
	@echo "docs          site/index.html"

bench: $(READY)
	@python benchmarks/training_step.py
	@python benchmarks/kedro_run.py
	@python benchmarks/ingestion.py
	@python benchmarks/batch_loading.py
	@python benchmarks/evaluation.py
	@python benchmarks/evaluation_scale.py
	@kedro run --pipelines=ingestion,preprocessing
	@python benchmarks/quality.py data/03_primary --kimg 60 --seeds 0 --input-size 128

ui: $(READY)
	@kedro dcgan ui

lock: $(READY)
	@UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --upgrade --universal --generate-hashes --extra dev --no-emit-index-url pyproject.toml -o requirements.lock
	@echo uv | UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url - -o requirements-uv.lock

# Without access to the public package index, set UV_INDEX_URL to the index that pip uses.
$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Error: Python must be 3.11 or newer (got %s). Choose another one: make PYTHON=python3.12." % sys.version.split()[0])'
	@echo "environment   creating $(VENV) from requirements.lock: minutes and 6 GB, the first time only"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@VIRTUAL_ENV=$(abspath $(VENV)) uv pip sync $$([ -t 2 ] || echo --quiet) --require-hashes requirements.lock
	@VIRTUAL_ENV=$(abspath $(VENV)) uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "environment   $(VENV) ready"
