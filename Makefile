# Every command of the project. `make help` lists them; each does its own set-up.

.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
PY := $(VENV)/bin/python
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
NODE := tests/js/node_modules/.installed clients/js/node_modules/.installed

# An own choice of interpreter: make run PYTHON=/path/to/python3
PYTHON ?=
# More words for pytest or the benchmark: make test ARGS="-k resume -x"
ARGS ?=

# The locks are complete, so pip need not look for more.
PIP := $(PY) -m pip install --quiet --disable-pip-version-check --no-input --no-deps
LOCKED := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --custom-compile-command "make lock"
LOCK := $(PY) -m uv pip compile pyproject.toml $(LOCKED)
LOCK_PEERS := $(PY) -m uv pip compile benchmarks/peers/requirements.in $(LOCKED)
LOCK_FUZZ := $(PY) -m uv pip compile tests/fuzz/requirements.in $(LOCKED)
# Beside the environment, which holds what is locked for everybody and no more.
FUZZER := .fuzz/site/.installed

# Seconds that `make fuzz` gives each target, and that `make soak` takes.
FUZZ_TIME ?= 60
DURATION ?= 600

# A virtual environment whose interpreter was removed is set up again.
$(shell test -x $(PY) || rm -f $(RUNTIME) $(DEV))

.PHONY: help run native cluster test check bench soak fuzz lock format clean setup

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

run: $(RUNTIME) ## Install what is missing, migrate, and serve at http://127.0.0.1:5000 (PORT=… HOST=…)
	@$(PY) run.py migrate
	@exec $(PY) run.py serve

native: $(RUNTIME) ## Build the helper in C that fan-out can use: it needs a compiler, and is needed nowhere
	@$(PY) realtime/native.py

cluster: $(DEV) ## Serve by three nodes behind nginx, with a PostgreSQL and a Redis of their own (PORT=… NODES=…)
	@exec $(PY) -m cluster $(ARGS)

test: $(DEV) node ## Install what is missing and run every test (ARGS="-k resume -x" goes to pytest)
	@$(PY) -m pytest $(ARGS)

check: $(DEV) ## Lint, check the format and the types, and hold the layers
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m pytest -q tests/test_layers.py tests/test_habits.py

bench: $(DEV) ## Measure speed and memory, and beside other servers; writes JSON and docs/benchmarks.md
	@$(PY) -m benchmarks $(ARGS)

fuzz: $(DEV) $(FUZZER) ## Search for bytes that break a parser, led by coverage (FUZZ_TIME=60 seconds a target; ARGS="--only frames")
	@$(PY) -m tests.fuzz --seconds $(FUZZ_TIME) $(ARGS)

soak: $(DEV) ## Put a server under mixed load for DURATION seconds (600); fails where memory, files or greenlets grow
	@$(PY) -m tests.soak --seconds $(DURATION) $(ARGS)

format: $(DEV) ## Format the code and mend what ruff can mend
	@$(PY) -m ruff check --fix-only .
	@$(PY) -m ruff format .

lock: $(DEV) ## Compile pyproject.toml to exact versions (ARGS=--upgrade takes the newest)
	@$(LOCK) $(ARGS) --output-file requirements.txt
	@$(LOCK) $(ARGS) --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	@$(LOCK_PEERS) $(ARGS) --output-file benchmarks/peers/requirements.txt
	@$(LOCK_FUZZ) $(ARGS) --output-file tests/fuzz/requirements.txt

setup: $(DEV) node ## Install what tests and checks need, and run nothing

clean: ## Remove what the commands made, but not instance/ (it holds your data)
	@rm -rf $(VENV) tests/js/node_modules clients/js/node_modules benchmarks/.peers .fuzz .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# The first interpreter that runs, is new enough and can make an environment. Debian's python3
# without python3-venv has no ensurepip: then pip of the system, where there is one, fills it.
define FIND_PYTHON
	set -e; \
	try() { command -v "$$1" >/dev/null 2>&1 && "$$1" -c "$$2" >/dev/null 2>&1; }; \
	new='import sys; sys.exit(sys.version_info < (3, 11))'; \
	names="$(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3)"; \
	found=; \
	for name in $$names; do \
		if try $$name "$$new" && try $$name "import venv, ensurepip"; then found=$$name; break; fi; \
	done; \
	if [ -n "$$found" ]; then $$found -m venv --clear $(VENV); exit 0; fi; \
	for name in $$names; do \
		if try $$name "$$new" && try $$name "import pip"; then \
			$$name -m venv --clear --without-pip $(VENV); \
			$$name -m pip --python $(PY) install --quiet --disable-pip-version-check pip; \
			exit 0; \
		fi; \
	done; \
	echo "Fanfare needs Python 3.11 or newer with its venv module (Debian: python3-venv)." >&2; \
	echo "Tried: $$names. Name another one with: make run PYTHON=/path/to/python3" >&2; \
	exit 1
endef

define MAKE_VENV
	if ! $(PY) -c 'import pip' >/dev/null 2>&1; then \
		echo "Making $(VENV) …"; ( $(FIND_PYTHON) ); \
	fi
endef

$(RUNTIME): requirements.txt
	@$(MAKE_VENV)
	@echo "Installing the pinned packages of requirements.txt …"
	@$(PIP) -r requirements.txt
	@touch $@

# The pins of requirements-dev.txt hold those of requirements.txt, so both are installed by it.
$(DEV): requirements-dev.txt
	@$(MAKE_VENV)
	@echo "Installing the pinned packages of requirements-dev.txt …"
	@$(PIP) -r requirements-dev.txt
	@touch $(RUNTIME) $@

$(FUZZER): tests/fuzz/requirements.txt | $(DEV)
	@echo "Installing the pinned packages of tests/fuzz/requirements.txt …"
	@rm -rf $(@D)
	@$(PIP) --only-binary :all: --target $(@D) -r tests/fuzz/requirements.txt
	@touch $@

# Node.js is wanted by the tests of the JavaScript client alone; without it they are skipped.
.PHONY: node
node:
	@if command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1; then \
		$(MAKE) --silent --no-print-directory $(NODE) || \
			echo "npm could not install its packages: tests with Node.js will not run." >&2; \
	else \
		echo "No Node.js with npm here: the tests of the JavaScript client are skipped." >&2; \
	fi

$(NODE): %/node_modules/.installed: %/package-lock.json
	@echo "Installing the pinned packages of $* …"
	@cd $* && npm ci --silent --no-audit --no-fund
	@touch $@
