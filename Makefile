# Everything a new clone needs: each target makes .venv itself.
#   make try     completions from the default bundle, at places in a real file
#   make test    every test
#   make lint    ruff and mypy
#   make bench   every performance script, one after the other

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: try test lint bench clean

try: $(VENV)/serving.stamp
	$(BIN)/starling complete examples/inventory.py:20
	$(BIN)/starling complete examples/inventory.py:28
	$(BIN)/python examples/borrow.py click.utils 219 20 > $(VENV)/borrowed.py
	$(BIN)/starling complete $(VENV)/borrowed.py:219

test: $(VENV)/everything.stamp
	$(BIN)/python -m pytest

lint: $(VENV)/everything.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/everything.stamp
	for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Starling needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python3"; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
		{ echo "llama-cpp-python is compiled from source: install a C++ compiler (Debian: apt install g++)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/serving.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing Starling; compiling llama-cpp-python takes about three minutes the first time."
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/everything.stamp: $(VENV)/serving.stamp
	$(PIP) install --quiet --constraint constraints.txt --editable ".[train,cluster,dev]"
	touch $@
