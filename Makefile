# Two commands do everything on a fresh machine: `make demo` and `make test`. `make help` lists the rest.
# PYTHON=... chooses the interpreter for .venv; PIP_FLAGS=... is added to every pip install.

VENV      ?= .venv
BIN       := $(VENV)/bin
PYTHON    ?= python3
PIP_FLAGS ?=
MARKS     ?= not gpu and not editor
EDITORS   ?= neovim emacs vscode
PIP       := $(BIN)/python -m pip --disable-pip-version-check --no-input
EXAMPLE   := ace_analysis/examples/buggy_example.py

# Stamps: as old as the install that they stand for, so that an edit of the pins installs again.
READY  := $(VENV)/.ready
ENGINE := $(VENV)/.engine
DEV    := $(VENV)/.dev

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test install model lint types contracts fix bench clean editors-setup test-editors

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(ENGINE) model ## install, fetch the model, check an example with bugs; fails unless findings were printed
	@findings=$$($(BIN)/ace check $(EXAMPLE)); status=$$?; printf '%s\n' "$$findings"; \
	case "$$status:$$findings" in \
	    1:?*) exit 0 ;; \
	    0:*)  echo "make demo: no finding in $(EXAMPLE), though it has bugs" >&2; exit 1 ;; \
	    *)    echo "make demo: ace check failed with status $$status" >&2; exit 2 ;; \
	esac

test: $(DEV) model ## every test but those marked gpu or editor
	@$(BIN)/python -m pytest -m "$(MARKS)" $(PYTEST_FLAGS)

editors-setup: $(DEV) ## get what test-editors needs: the only target that asks apt and npm
	@PYTHON=$(BIN)/python PIP_FLAGS="$(PIP_FLAGS)" tests/editors/setup.sh $(EDITORS)

test-editors: $(DEV) ## tests in real editors, as far as editors-setup has got them: what is missing is named
	@$(BIN)/python -m pytest -m editor tests/editors $(PYTEST_FLAGS)

install: $(DEV) ## .venv with the engine and the developers' tools, nothing else

model: $(ENGINE) ## fetch the default model's weights unless they are there
	@$(BIN)/ace model pull

lint: $(DEV) ## ruff: rules and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(DEV) ## pyright
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

contracts: $(DEV) ## the import contracts in pyproject.toml
	@$(BIN)/lint-imports --no-logo

fix: $(DEV) ## let ruff repair and format
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: $(ENGINE) model ## the measurements that the README quotes
	@$(BIN)/ace bench detection && $(BIN)/ace bench speed

clean: ## remove the environment and what the tools leave behind (weights stay: ace cache clear)
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find ace_analysis ace_lsp tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "ACE needs Python 3.11 or newer, and $(PYTHON) is not: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: sudo apt-get install python3-venv" >&2; exit 2; }
	@echo "installing into $(VENV): some minutes the first time"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install -q "pip>=24" $(PIP_FLAGS)
	@touch $@

$(ENGINE): $(READY) pyproject.toml constraints.txt
	@$(PIP) install -q --constraint constraints.txt --editable ".[engine]" $(PIP_FLAGS)
	@touch $@

$(DEV): $(READY) pyproject.toml constraints.txt
	@$(PIP) install -q --constraint constraints.txt --editable ".[engine,dev]" $(PIP_FLAGS)
	@touch $(ENGINE) $@
