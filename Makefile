# Every task of this project, for people, hooks and CI alike. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
MONTHS ?= 2013-01..2013-12
# The first Python of 3.11 to 3.13 on the PATH; PYTHON=/path/to/python overrides it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
# uv trusts its own certificates only; behind a TLS-inspecting proxy the system's are needed.
export UV_SYSTEM_CERTS := true
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

# What the images call the code in them; from another commit they are built anew in seconds.
images compose-demo compose-test kubernetes-test: export FLIGHTDECK_CODE = $(shell git rev-parse --short=12 HEAD)$(shell test -z "$$(git status --porcelain --untracked-files=no)" || echo +changes)
COMPOSE := docker compose
# Which tests; BASE is what `make report` compares with.
TESTS ?= tests
BASE ?= origin/main

.PHONY: help demo up down test check bench lock clean report images compose-demo compose-test kubernetes-test adapters

help:  ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

demo: .venv/.done  ## The whole loop on real flights: environment, stack, replay, table (MONTHS=2013-01..2013-03 for fewer)
	@$(BIN)/flightdeck replay --skip-published "$(MONTHS)"

up: .venv/.done  ## Start the stack and print where to look
	@$(BIN)/flightdeck up

down:  ## Stop the stack; data stay
	@if [ -x $(BIN)/flightdeck ]; then $(BIN)/flightdeck down; else echo "nothing was running: there is no environment yet"; fi

test: .venv/.done-dev check  ## Everything that CI runs: checks, then all tests, the loop's on a stack of their own (TESTS=tests/ml for fewer)
	@$(if $(filter tests/e2e,$(TESTS)),,$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/e2e --ignore tests/compose --ignore tests/adapters --ignore tests/kubernetes $(TESTS))
	@$(if $(filter tests tests/e2e,$(TESTS)),$(BIN)/pytest -q tests/e2e)

check: .venv/.done-dev  ## Format, lint, types, layers, contracts, repair rules, SQL: under a minute, starts nothing
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo | tail -n 1
	@$(BIN)/python -m flightdeck.contracts
	@$(BIN)/python -m flightdeck.repairs
	@$(BIN)/python -m governance.consumers
	@$(BIN)/actionlint
	@$(BIN)/hadolint --no-color --ignore DL3008 infra/images/Dockerfile
	@$(BIN)/sqlfluff lint --nocolor --disable-progress-bar dbt_project/models dbt_project/tests | tail -n 20

bench: .venv/.done  ## Measure, into bench.json; what it means is in docs/benchmarks.md
	@$(BIN)/python -m tests.bench

report: .venv/.done-dev  ## What a change does to data and model, against BASE=origin/main, into report.md
	@$(BIN)/python -m tests.report $(BASE)

images: .venv/.done-dev  ## Build the images; their bills of material go to sbom/, and known holes end this with an error
	@$(COMPOSE) build
	@mkdir -p sbom && for part in "" -serving -celery -kubernetes; do $(BIN)/cyclonedx-py requirements --output-reproducible --output-file sbom/requirements$$part.cdx.json requirements$$part.lock; done
	@$(BIN)/pip-audit --disable-pip --require-hashes --progress-spinner off -r requirements.lock

compose-demo:  ## The same loop in containers: build, start, replay, table (MONTHS=2013-01..2013-03 for fewer)
	@$(COMPOSE) build
	@$(COMPOSE) up --detach --wait
	@$(COMPOSE) run --rm --no-deps flightdeck replay --skip-published "$(MONTHS)"

compose-test: .venv/.done-dev  ## The containers' tests, in a project of their own: the loop, killed containers, access, monitoring, backup
	@$(BIN)/pytest -q tests/compose

kubernetes-test: .venv/.done-dev  ## Manifests against schemas; the platform on the cluster that KUBECONFIG names: pods killed, an update under load, no room
	@for part in kubernetes serving; do docker build --quiet --file infra/images/Dockerfile --target $$part --tag flightdeck/$$part:latest \
		--build-arg PIP_INDEX_URL --build-arg UV_DEFAULT_INDEX --build-arg FLIGHTDECK_CODE . || exit 1; done
	@$(BIN)/pytest -q tests/kubernetes

adapters: .venv/.done-dev  ## Other tools in the same loop, each in its own environment where it needs one: tests/adapters
	@$(BIN)/pytest -q tests/adapters

lock: .venv/.done  ## Resolve the dependencies anew, with hashes, into requirements*.lock
	@$(COMPILE) pyproject.toml --upgrade -o requirements.lock
	@$(COMPILE) --group bootstrap -c requirements.lock --upgrade -o requirements-bootstrap.lock
	@$(COMPILE) --group serving -c requirements.lock --upgrade -o requirements-serving.lock
	@$(COMPILE) --group celery -c requirements.lock --upgrade -o requirements-celery.lock
	@$(COMPILE) --group kubernetes -c requirements.lock --upgrade -o requirements-kubernetes.lock
	@$(COMPILE) --group dev -c requirements.lock --upgrade -o requirements-dev.lock
	@for tool in singer stream airbyte; do $(COMPILE) --group adapter-$$tool --upgrade -o ingestion/adapters/requirements-$$tool.lock || exit 1; done
	@$(COMPILE) --group kubernetes-checks --upgrade -o tests/kubernetes/requirements-checks.lock
	@for engine in duckdb spark sail; do $(COMPILE) dbt_project/engines/$$engine.in --upgrade -o dbt_project/engines/requirements-$$engine.lock || exit 1; done
	@$(COMPILE) --group adapter-fivetran --upgrade -o tests/adapters/requirements-fivetran.lock

clean: down  ## Remove the environment and the state: a factory reset
	@rm -rf .venv .flightdeck

.venv/.done: requirements.lock requirements-bootstrap.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; install one, or pass PYTHON=/path/to/python" >&2; exit 1; }
	@echo "making the environment in .venv (a minute or two the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "error: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock
	@$(INSTALL) -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.done-dev: .venv/.done requirements-dev.lock
	@$(INSTALL) -r requirements-dev.lock
	@touch $@
