# make train = environment + install + the main job;  make test = environment + install + the tests
# that a person runs often;  make test-all = these, the long proofs and the README's own commands

PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: train test test-slow test-all lint clean

train: .venv/installed
	@echo "Training DDPM on MNIST into runs/ddpm_mnist: ten to fifteen minutes on two cores."
	$(BIN)/python -m genjax.main --config=configs/ddpm_mnist.py

test: lint
	$(PYTEST)

test-slow: .venv/installed-dev
	$(PYTEST) -m slow

test-all: test test-slow

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/installed: pyproject.toml setup.py constraints.txt
	@echo "Making a virtual environment in .venv, of $$($(PYTHON) --version)."
	@$(PYTHON) -m venv .venv
	@echo "Installing genjax with jax, flax and a dozen other packages: about a minute."
	@$(INSTALL) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "Installing what the tests need."
	@$(INSTALL) --editable '.[dev,ode]'
	@touch $@

clean:
	rm -rf .venv .jax_cache .pytest_cache .ruff_cache
