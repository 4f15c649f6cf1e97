# `make` alone prints the help: groups begin with ##@, targets carry a ## comment.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Without its bytecode every server would compile our modules at each start.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
JARS := $(or $(LAKEMILL_STATE_DIR),.lakemill)/jars/.checked
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet
LOCK = $(BIN)/uv pip compile --no-strip-extras --universal --generate-hashes --no-annotate --no-header \
  --no-emit-index-url --no-emit-find-links --unsafe-package lakemill
# The first of these that is new enough; choose another one with PYTHON=…
PYTHON = $(shell for python in python3.13 python3.12 python3.11 python3; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

##@ Use
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(JARS) ## create .venv, install the locked packages, fetch the jars (instant when done)
	@:

up: setup ## start the embedded stack and watch it; Ctrl+C stops it
	@exec $(BIN)/lakemill up $(ARGS)

down: setup ## stop the embedded stack; its state is kept
	@$(BIN)/lakemill down $(ARGS)

status: setup ## show the servers of the embedded stack
	@$(BIN)/lakemill status

demo: setup ## run real data from POST to signed callback (ARGS='--all' for the whole year)
	@$(BIN)/lakemill demo $(ARGS)

##@ Develop
test: setup lint ## run the linters and every test: two at once, then those on the embedded stack
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder --ignore tests/e2e $(ARGS)
	@$(BIN)/python -m pytest tests/e2e $(ARGS)

test-unit: setup ## run the unit tests: no server, seconds
	@$(BIN)/python -m pytest tests/unit tests/test_architecture.py $(ARGS)

test-k8s: setup images ## run the tests that need a cluster: KUBECONFIG, IMAGE_LOADER (a command that loads an image archive)
	@test -n "$$KUBECONFIG" -a -n "$$IMAGE_LOADER" || { echo "test-k8s: set KUBECONFIG and IMAGE_LOADER" >&2; exit 2; }
	@test -n "$$API_SERVER_STOP" -a -n "$$API_SERVER_START" || echo "test-k8s: the API server's outage of 90 s will NOT be tried: set API_SERVER_STOP and API_SERVER_START" >&2
	@$(BIN)/python -m pytest -m k8s --durations=20 --junitxml=.lakemill/test-k8s.xml $(ARGS)

lint: setup ## check style, types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## rewrite the code in the one style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure: NAME=submit [JSON=FILE]
	@test -n "$(NAME)" || { echo "bench: name one, for example 'make bench NAME=submit'" >&2; exit 2; }
	@$(BIN)/python -m bench.$(NAME) $(JSON) $(ARGS)

images: ## build the two images: IMAGES, BUILD_FLAGS, SAVE=folder for archives (deploy/images/build)
	@deploy/images/build $(SAVE)

audit: setup ## look the locked packages up among the known vulnerabilities (needs the network)
	@$(BIN)/pip-audit -r requirements.lock --disable-pip --require-hashes

schemas: setup ## write contracts/schemas anew from the models
	@$(BIN)/python -m cli.schemas

lock: setup ## resolve requirements.lock anew from pyproject.toml, and each image's part of it
	$(LOCK) --extra dev -o requirements.lock pyproject.toml
	for image in control compute training; do \
	  $(LOCK) --extra $$image --constraint requirements.lock -o deploy/images/$$image.lock pyproject.toml; done

clean: ## stop the stack and remove everything that was made here, its state included
	@test ! -x $(BIN)/lakemill || $(BIN)/lakemill down
	rm -rf $(VENV) .lakemill .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "setup: Lakemill needs Python 3.11 or newer; install one, or name it: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@java=$${JAVA_HOME:+$$JAVA_HOME/bin/}java; \
	version=$$($$java -version 2>&1 | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p'); \
	test "$${version:-0}" -ge 17 || { echo "setup: Lakemill needs a Java 17 (or newer) runtime; install one (apt-get install openjdk-17-jre-headless), or set JAVA_HOME" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "setup: '$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the locked packages into $(VENV), for two to five minutes …"
	@$(PIP) --require-hashes --no-deps -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(JARS): $(INSTALLED) deploy/jars/SHA256SUMS
	@$(BIN)/lakemill setup
	@touch $@

.PHONY: help setup up down status demo test test-unit test-k8s lint format audit bench images schemas lock clean
