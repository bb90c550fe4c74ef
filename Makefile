# The two that matter: `make demo` and `make test`. Both make their own environment in .venv first.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON   ?= python3
VENV     := .venv
BIN      := $(VENV)/bin
PIP      := PYTHONWARNINGS=ignore $(BIN)/python -m pip --disable-pip-version-check --quiet
SETUP_PY := $(BIN)/python -c 'from setuptools import setup; setup()' -q
TYPED    := build/typed
LAID_OUT := build/laid-out

# Debian packages that the tests need beyond make, git, python3 and python3-venv: compilers of microcontrollers,
# machines to run what they make, what else builds C, and a browser to read the report in.
APT_PACKAGES := gcc g++ clang cmake cppcheck gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm \
                gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc \
                chromium chromium-driver

# Give both on the command line to select tests: make unit JOBS=0 PYTEST='tests/passes -k fold'
JOBS   ?= 2
PYTEST ?=

MODEL       := models/digits/digits.onnx
CALIBRATION := models/digits/calibration.npz
EVALUATION  := models/digits/evaluation.npz
DEMO        := build/digits

# `make demo TARGET=hls4ml` is for Vitis; `bitsmith targets` lists what else there is.
TARGET      ?= onnxruntime
DEMO_TARGET := $(if $(filter hls4ml,$(TARGET)),hls4ml-vitis,$(TARGET))
DEMO_NEEDS  := $(VENV)/.installed$(if $(filter hls4ml% qonnx,$(TARGET)),-fpga)

ifneq ($(filter hls4ml%,$(TARGET)),)
DEMO_MEANING := , which is firmware: its C simulation, compiled by g++,
DEMO_NEXT    := hls4ml/README.md there says what the vendor's tool is given.
endif

.PHONY: help demo test lint types unit docs bench fuzz format apt clean distclean
.DELETE_ON_ERROR:

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO_NEEDS) ## Compile models/digits, print what was gained and lost, verify it; TARGET=hls4ml for an FPGA
	@echo "== bitsmith compile: float model in, integer artifact out"
	@$(BIN)/bitsmith compile $(MODEL) --target $(DEMO_TARGET) --calibration $(CALIBRATION) -o $(DEMO)
	@echo; echo "== bitsmith evaluate: the float model, on samples that neither training nor calibration saw"
	@$(BIN)/bitsmith evaluate $(MODEL) --data $(EVALUATION)
	@echo; echo "== bitsmith evaluate: the compiled model, on the same samples"
	@$(BIN)/bitsmith evaluate $(DEMO) --data $(EVALUATION)
	@echo; echo "== bitsmith verify: the artifact$(DEMO_MEANING) against the integer reference"
	@$(BIN)/bitsmith verify $(DEMO) --data $(EVALUATION)
	@echo; echo "== size in bytes: before, and each file after"
	@wc -c $(MODEL) | awk '{ printf "%10d  %s\n", $$1, $$2 }'
	@find $(DEMO) -type f -not -path '*/firmware/*/*' -printf '%10s  %p\n' | sort -k2
	@echo; echo "The files are in $(CURDIR)/$(DEMO)."
	$(if $(DEMO_NEXT),@echo "$(DEMO_NEXT)")

test: apt lint types unit ## Install what the tests need; run ruff, mypy --strict and pytest

lint: $(VENV)/.installed-test ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy cannot follow an editable install that maps four folders to one package, so it reads a laid-out copy.
# Copies keep their times, which keeps its cache warm; messages are given back with the paths of the sources.
types: $(VENV)/.installed-test ## Check types
	@rm -rf $(TYPED)
	@$(SETUP_PY) build_py --build-lib $(TYPED) 2>&1 | { grep -v 'byte-compiling is disabled' || true; }
	MYPYPATH=$(TYPED) $(BIN)/mypy --strict -p bitsmith -p docs.generate \
	    | sed -E 's#^$(TYPED)/bitsmith/(passes|backends|templates)/#\1/#; s#^$(TYPED)/bitsmith/#compiler/#'

unit: $(VENV)/.installed-test ## Run the tests
	$(BIN)/pytest -n $(JOBS) $(PYTEST)

# Every warning is an error: a link that leads nowhere, a page that is in no menu, a docstring that is not there. The
# variable silences a theme's announcement.
docs: $(VENV)/.installed-docs ## Build the documentation into build/docs, to be read without a network
	@rm -rf $(LAID_OUT)
	@PYTHONWARNINGS=ignore $(SETUP_PY) build_py --build-lib $(LAID_OUT) 2>&1 | { grep -v 'byte-compiling' || true; }
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict -f docs/mkdocs.yml
	@echo "The pages are in $(CURDIR)/build/docs: open index.html."

# Those that write their page write it whole; of those that print tables, the words around them are kept.
BENCH  := $(BIN)/python -m tests.benchmarks
WRITE   = $(BENCH).$(1) --write tests/benchmarks/$(1).md $(2)
REPLACE = $(BENCH).$(1) $(2) | $(BENCH).results tests/benchmarks/$(1).md

bench: $(VENV)/.installed-bench ## Run all benchmarks, and write their pages: hours, and the machine to themselves
	$(call WRITE,accuracy)
	$(call WRITE,mcu)
	$(call WRITE,code)
	$(call WRITE,rtl,--plot tests/benchmarks/jet.png)
	$(call WRITE,fpga)
	$(call WRITE,fpga_layers)
	$(call WRITE,pruning)
	$(call WRITE,predictors,--plot tests/benchmarks/predictors.png)
	$(call WRITE,x86,--rounds 60 --count)
	$(call WRITE,onnx_node_tests)
	$(BENCH).memory --write build/memory.md && $(BENCH).results tests/benchmarks/memory.md < build/memory.md
	$(call REPLACE,equality)
	$(call REPLACE,interchange)
	$(call REPLACE,exports)
	{ $(BENCH).search --out build/searches \
	    && $(BENCH).search --target cortex-m4 --what weights --out build/searches-m4 dscnn_kws mobilenetv1_025_vww \
	    && $(BENCH).repeated build/searches; } | $(BENCH).results tests/benchmarks/search.md
	$(call REPLACE,softmax)
	$(call REPLACE,tables)
	$(call REPLACE,data_free)
	$(call REPLACE,against_onnxruntime)
	$(call REPLACE,calibration_memory)
	$(call REPLACE,calibration_speed)
	$(call REPLACE,scale)
	$(BENCH).search --workers dscnn_kws
	$(BIN)/python -m docs.generate.picture

MINUTES ?= 60
CORPUS  ?= build/fuzz

fuzz: $(VENV)/.installed-fuzz ## Mutate models, data and texts for MINUTES=60, and say what broke; CORPUS= goes on
	$(BIN)/python -m tests.fuzz $(MINUTES) $(CORPUS)

format: $(VENV)/.installed-test ## Format the sources and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

apt: ## Install the Debian packages that the tests need, where that is possible
ifeq ($(strip $(APT_PACKAGES)),)
	@:
else
	@missing=$$(for package in $(APT_PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || printf ' %s' $$package; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null; then echo "No apt-get here; tests that need$$missing are skipped."; exit 0; fi; \
	apt_get='env DEBIAN_FRONTEND=noninteractive apt-get -q'; \
	if [ "$$(id -u)" = 0 ]; then :; \
	elif sudo -n true 2>/dev/null; then apt_get="sudo $$apt_get"; \
	else echo "Not root, and no sudo without a password; tests that need$$missing are skipped."; exit 0; fi; \
	$$apt_get update && $$apt_get install -y --no-install-recommends $$missing \
	    || echo "apt-get failed; tests that need$$missing are skipped."
endif

clean: ## Remove what was built, and the caches
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find compiler passes backends templates models tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Remove the environment too
	rm -rf $(VENV)

# pyproject.toml holds the dependencies and the entry points, so a change to it asks for a new install.
# Sources are found in place: new files need none.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing bitsmith into $(VENV)."
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/python
	@echo "Installing bitsmith and what its benchmarks need into $(VENV)."
	@$(PIP) install --editable '.[test,plots]'
	@touch $(VENV)/.installed $(VENV)/.installed-test $@

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	@echo "Installing bitsmith and what its documentation needs into $(VENV)."
	@$(PIP) install --editable '.[docs]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-fpga: pyproject.toml | $(BIN)/python
	@echo "Installing bitsmith, qonnx and hls4ml into $(VENV)."
	@$(PIP) install --editable '.[fpga]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	@echo "Installing bitsmith and what its tests need into $(VENV)."
	@$(PIP) install --editable '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-fuzz: pyproject.toml | $(BIN)/python
	@echo "Installing bitsmith, what its tests need and atheris into $(VENV)."
	@$(PIP) install --editable '.[test,fuzz]'
	@touch $(VENV)/.installed $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "$(PYTHON) is not installed. On Debian: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "bitsmith needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Choose one: make PYTHON=python3.11" >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make environments. On Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
