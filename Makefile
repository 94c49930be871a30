# Every target that needs packages makes .venv on first use and reuses it afterwards.
PYTHON ?= python3
BIN := .venv/bin
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help demo lint test-fast test soak docs clean

help:  ## print these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/demo.installed  ## distil a packaged BERT on packaged film reviews, in minutes
	$(BIN)/python cli.py quickstart

lint: .venv/test.installed  ## ruff, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-fast: .venv/test.installed  ## tests that train nothing and start no process, in a minute
	$(BIN)/python -m pytest -m "not process and not trains and not soak"

test: lint  ## lint, then all tests
	$(BIN)/python -m pytest

soak: .venv/test.installed  ## the long form of the reliability tests
	PKD_SOAK=1 $(BIN)/python -m pytest -n 0 --timeout 3600 tests/integration/reliability
	PKD_SOAK=1 $(BIN)/python -m pytest -n 0 --timeout 3600 -m soak tests

docs: .venv/test.installed  ## write the generated pages: docs/commands.md, docs/encoders.md
	$(BIN)/python -m docs.commands
	$(BIN)/python -m docs.encoders

clean:  ## remove .venv and temporary files of tools; runs/, data/ and sweeps/ stay
	rm -rf .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

.venv/demo.installed: constraints.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]'
	@touch $@

.venv/test.installed: constraints.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,test]'
	@touch $@ .venv/demo.installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; try: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
