# make demo   environment, installation, sample data, participant and group run, offline
# make selftest   this machine's answers for reference images, against known ones
# make test   environment, installation, lint, types, layers, all tests
# make test-oldest   the tests with the oldest version of every requirement (constraints-oldest.txt)
# make bench-occlusion   what occlusion costs on this machine, against full passes (minutes)
# Every target sets up what it needs, and does nothing twice.

SHELL := /bin/bash
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-output
IMAGE ?= bidsapp-brainage
# The base of the image, pinned in one place: its tag may point to something else tomorrow.
BASE := $(shell sed -n 's/^From: //p' containers/bidsapp-brainage.def)
PYTEST_ARGS ?=
OLDEST := .venv-oldest
# One process per core, at most 8; a module's tests stay in one process, so that what they share
# is made once. 20 minutes are more than ten times what the slowest test takes on two cores.
PYTEST := -m pytest -n auto --maxprocesses 8 --dist loadscope --no-loadscope-reorder --timeout 1200
# What pytest measures has its floor in pyproject.toml.
COVERAGE := --cov=bidsapp_brainage --cov-report=

# Packages of the user's own site and of a surrounding environment stay out.
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH PYTHONHOME
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

METADATA := setup.cfg pyproject.toml constraints.txt constraints-oldest.txt

.DEFAULT_GOAL := help
.PHONY: help demo selftest test test-oldest nightly env browser lint types layers format docs bench-occlusion bench-gpu image clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "also: env lint types layers format docs nightly bench-gpu image clean"

demo: $(VENV)/.installed
	$(BIN)/brainage-demo run $(DEMO)

selftest: $(VENV)/.installed
	$(BIN)/brainage-model selftest

test: $(VENV)/.installed-test browser lint types layers
	$(BIN)/python $(PYTEST) $(COVERAGE) $(PYTEST_ARGS)

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python $(PYTEST) -m "not browser" $(PYTEST_ARGS)

# Thousands of random networks, new ones every night, against full passes.
nightly: $(VENV)/.installed-test
	BRAINAGE_ENGINE_NETWORKS=5000 $(BIN)/python -m pytest tests/explain/engine/test_exactness.py

env: $(VENV)/.installed-test $(VENV)/.installed-docs

browser:
	@scripts/ensure_chromium.sh

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/check_sizes.py

types: $(VENV)/.installed-test
	$(BIN)/mypy

layers: $(VENV)/.installed-test
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-docs
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench-occlusion: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.occlusion
	$(if $(wildcard benchmarks/shipped.py),$(BIN)/python -m benchmarks.shipped)

bench-gpu: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.occlusion_gpu

image:
	docker pull $(BASE)
	docker tag $(BASE) python:3.11-slim-bookworm
	docker build --build-arg BASE_DIGEST=$(lastword $(subst @, ,$(BASE))) -t $(IMAGE) .

clean:
	rm -rf $(VENV) $(OLDEST) docs/_build build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	scripts/make_venv.sh $(VENV) $(PYTHON)

# constraints.txt fixes every version, so that an installation today and one next year agree.
$(VENV)/.installed: $(METADATA) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(METADATA) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(METADATA) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[docs]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: $(METADATA) | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e '.[bench]'
	@touch $@ $(VENV)/.installed

$(OLDEST)/.installed: $(METADATA)
	scripts/make_venv.sh $(OLDEST) $(PYTHON)
	$(OLDEST)/bin/python -m pip --disable-pip-version-check --no-input install --quiet \
	  -c constraints-oldest.txt -e '.[unit]'
	@touch $@
