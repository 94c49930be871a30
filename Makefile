# Two commands: `make demo` and `make test`; `make soak` is the long form of the reliability tests. All make .venv on first use and reuse it afterwards.
PYTHON ?= python3
BIN := .venv/bin
MAKEFLAGS += --no-print-directory

.PHONY: demo test soak clean

demo: .venv/demo.installed
	$(BIN)/python cli.py quickstart

test: .venv/test.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

soak: .venv/test.installed
	PKD_SOAK=1 $(BIN)/python -m pytest -n 0 --timeout 3600 tests/integration/reliability
	PKD_SOAK=1 $(BIN)/python -m pytest -n 0 --timeout 3600 -m soak tests

.venv/demo.installed: constraints.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo]'
	@touch $@

.venv/test.installed: constraints.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,test]'
	@touch $@ .venv/demo.installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "Python 3.11 or 3.12 is needed; try: make $(or $(MAKECMDGOALS),demo) PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
