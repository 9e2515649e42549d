# Needs Python 3.11 or newer with venv, and a package index. All else goes into .venv and build/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
# Source archives are built the present way by old versions of pip, too.
export PIP_USE_PEP517 := 1

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c "$(NEW_ENOUGH)" 2>/dev/null && echo "$$python" && break; done)
BIN := .venv/bin
INSTALL := -m pip --disable-pip-version-check --quiet install
SOURCES := clients/python/podium coordinator agents benchmarks examples tests hatch_build.py
BUILD_INPUTS := pyproject.toml hatch_build.py $(wildcard protos/podium/v1/*.proto)
COMPILE := build/uv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --python-version 3.11

.PHONY: help demo up check test fault test-floor bench simulate format lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

demo: .venv/demo-ready ## Run the example on real data on a small cluster; leaves nothing running
	@$(BIN)/python -m examples.demo

up: .venv/demo-ready ## Keep a small cluster in the foreground until Ctrl-C
	@$(BIN)/podium up --agents 2 --data-dir build/up

check: .venv/ready ## Format, lint, types, import contract, protos
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict $(SOURCES)
	$(BIN)/lint-imports
	$(BIN)/buf lint

test: .venv/ready ## All tests: most of them side by side, then those that start a cluster one by one
	$(BIN)/pytest -n 2 --dist loadfile --ignore=tests/e2e --ignore=tests/fault
	$(BIN)/pytest tests/e2e tests/fault -m "not long"

fault: .venv/ready ## Break everything there is to break; prints bounds and figures, and writes build/fault.json
	PODIUM_FAULT_REPORT=build/fault.json $(BIN)/pytest tests/fault

test-floor: build/floor/ready ## The SDK's tests with the oldest gRPC and protobuf that it allows
	build/floor/bin/pytest --confcutdir=tests/unit/sdk tests/unit/sdk

bench: .venv/ready ## Measure W1 to W10 on this machine (BENCH="--quick", "--only W1,W4", ...); writes build/bench.json
	@$(BIN)/python -m benchmarks $(BENCH)

simulate: .venv/ready ## Play seeded worlds: SEEDS=1000 or 500-999, STEPS=1500; SEED=7 plays one again, with its trace
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000)) \
		$(if $(STEPS),--steps $(STEPS))

format: .venv/ready ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: build/uv/bin/uv ## Resolve all dependencies anew
	$(COMPILE) --all-extras --group dev --group example pyproject.toml -o requirements.lock
	$(COMPILE) --all-extras -c requirements.lock pyproject.toml -o requirements-runtime.lock
	$(COMPILE) --group example -c requirements.lock -o requirements-example.lock

clean: ## Remove what these targets made
	rm -rf .venv build dist clients/python/podium/v1

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Podium needs Python 3.11 or newer with venv and ensurepip." >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/demo-ready: .venv/bin/python requirements-runtime.lock requirements-example.lock $(BUILD_INPUTS)
	@echo "Installing Podium and the example into .venv; the first time takes a minute or two"
	@$(BIN)/python $(INSTALL) --no-deps -r requirements-runtime.lock -r requirements-example.lock
	@$(BIN)/python $(INSTALL) --no-deps -e .
	@touch $@

.venv/ready: .venv/demo-ready requirements.lock
	@echo "Installing what checks and tests need into .venv"
	@$(BIN)/python $(INSTALL) --no-deps -r requirements.lock
	@touch $@

build/floor/ready: requirements.lock $(BUILD_INPUTS)
	@$(PYTHON) -m venv --clear build/floor
	@sed -nE 's/ \\$$//; /^(grpcio|protobuf|googleapis-common-protos)==/d; /^[a-z0-9._-]+==/p' requirements.lock > build/floor/constraints.txt
	@build/floor/bin/python $(INSTALL) -c build/floor/constraints.txt -e . grpcio==1.76.0 protobuf==6.31.1 \
		hypothesis mypy pytest pytest-asyncio pytest-timeout types-grpcio types-protobuf
	@touch $@

build/uv/bin/uv:
	@$(PYTHON) -m venv build/uv
	@build/uv/bin/python $(INSTALL) uv==0.13.9
