# Everything a user or developer runs. `make demo` and `make test` need a fresh Debian 12 with root, Python 3.11,
# make and a C compiler; they say what they install before they install it.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SHIM := build/cni-shim/kube-ovn
PYTEST := $(BIN)/python -m pytest
# Files in their order (those that take long come first), two at a time.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help system demo test test-full lint kube bench lock crds clean

help:
	@echo "make demo       bring up a three-node cluster on this machine, run an example, tear down"
	@echo "make test       all tests that fit in minutes      make test-full  also the long ones"
	@echo "make lint       ruff, mypy --strict, layer contract"
	@echo "make kube       build a real Kubernetes control plane from the Go module registry (cached)"
	@echo "make bench      measure; figures go to build/bench.json"
	@echo "make lock       refresh requirements.lock          make crds       regenerate manifests/crds"

system:
	@tools/system-packages

$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "== virtual environment: installing pinned Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(SHIM): $(wildcard cni-shim/*.c cni-shim/*.h cni-shim/Makefile)
	@echo "== compiling the CNI plug-in"
	@$(MAKE) --no-print-directory -C cni-shim all OUT=$(abspath build/cni-shim)

demo: system $(VENV)/.installed $(SHIM)
	@$(BIN)/ovnbridge lab run --nodes 3 examples/first-light.yaml

test: system $(VENV)/.installed $(SHIM)
	@$(PYTEST) $(SIDE_BY_SIDE) -m "not slow and not real_kubernetes"

test-full: system $(VENV)/.installed $(SHIM) kube
	@$(PYTEST) -m "slow or real_kubernetes"
	@$(PYTEST) -m "hypothesis and not slow and not real_kubernetes" --hypothesis-profile=long --timeout 3600

lint: $(VENV)/.installed
	@$(BIN)/ruff check ovnbridge tests tools bench
	@$(BIN)/ruff format --check ovnbridge tests tools bench
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/generate_crds.py --check

kube:
	@kubernetes/build.sh

bench: system $(VENV)/.installed $(SHIM)
	@$(BIN)/python -m bench

lock:
	@$(BIN)/pip install --quiet pip-tools
	@$(BIN)/pip-compile --quiet --all-extras --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-header --strip-extras --allow-unsafe -o requirements.lock pyproject.toml

crds: $(VENV)/.installed
	@$(BIN)/python tools/generate_crds.py

clean:
	@rm -rf build .venv
