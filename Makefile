# make train = environment + install + the main job;  make test = environment + install + the tests
# that a person runs often;  make test-all = these, the long proofs and the README's own commands

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2

.PHONY: train test test-slow test-all lint clean

train: .venv/installed
	$(BIN)/python -m genjax.main --config=configs/ddpm_mnist.py

test: lint
	$(PYTEST)

test-slow: .venv/installed-dev
	$(PYTEST) -m slow

test-all: test test-slow

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,ode]'
	touch $@

clean:
	rm -rf .venv .jax_cache .pytest_cache .ruff_cache
