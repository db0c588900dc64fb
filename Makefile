# Every task of this project, for people, hooks and CI alike. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MONTHS ?= 2013-01..2013-03
# The first Python of 3.11 to 3.13 on the PATH; PYTHON=/path/to/python overrides it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
# uv trusts its own certificates only; behind a TLS-inspecting proxy the system's are needed.
export UV_SYSTEM_CERTS := true
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
BIN := .venv/bin

.PHONY: help demo up down test check lock clean env env-dev bench

help:  ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: env  ## The whole loop on real flights: stack, replay, table (MONTHS=2013-01..2013-03)
	@$(BIN)/flightdeck replay --skip-published $(subst .., ,$(MONTHS))

up: env  ## Start the stack and print where to look
	@$(BIN)/flightdeck up

down:  ## Stop the stack; data stay
	@if [ -x $(BIN)/flightdeck ]; then $(BIN)/flightdeck down; else echo "nothing to stop: no environment yet"; fi

env: .venv/.done

env-dev: .venv/.done-dev

.venv/.done: requirements.lock requirements-bootstrap.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; install one, or pass PYTHON=/path/to/python" >&2; exit 1; }
	@echo "making the environment in .venv (about two minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "error: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.done-dev: .venv/.done requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements-dev.lock
	@touch $@
