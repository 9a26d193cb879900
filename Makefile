# Nothing but Python 3.11 or newer, git and make has to be installed.
# `make PYTHON=/path/to/python venv` chooses the interpreter; otherwise the first that fits is taken.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# No byte-compiling of thousands of files that are never imported; wheels rather than builds.
PIP = $(BIN)/python -m pip --disable-pip-version-check install --no-compile --prefer-binary --progress-bar off --quiet
TORCH := $(shell grep '^torch==' constraints.txt)
TORCHATTACKS := $(shell grep '^torchattacks==' constraints.txt)

# One thread per process: tests run in two, and small networks are slower with more.
export OMP_NUM_THREADS ?= 1
PYTEST := $(BIN)/python -m pytest -n 2 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-nightly test-reference lint format types docs bench clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F '\t' '{ printf "  make %-16s %s\n", $$1, $$2 }'

venv: $(STAMP)  ## install everything into .venv (again when pyproject.toml or constraints.txt changed)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { \
	  for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; python=; \
	  done; \
	  test -n "$$python" || { echo "Python 3.11 or newer is needed and none was found. Fix: install one, or name it: make PYTHON=/path/to/python venv" >&2; exit 1; }; \
	  echo "Making $(VENV) with $$("$$python" --version)"; \
	  "$$python" -m venv $(VENV) || { rm -rf $(VENV); echo "\`$$python -m venv\` failed. Fix: install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }; \
	}
	@echo "Installing ($(TORCH) first, then the rest)"
	@# First and alone, so that a CPU build which pip's configuration offers is chosen before anything asks for a CUDA one.
	@$(PIP) -c constraints.txt "$(TORCH)"
	@$(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## train an agent, attack it, train one under attack, compare: report.md and curve.png
	$(BIN)/advwrap demo

test: $(STAMP)  ## the fast tests, 50 examples per property
	HYPOTHESIS_PROFILE=test $(PYTEST) --durations=15 --durations-min=3

test-nightly: $(STAMP)  ## all tests, slow ones too, 500 examples per property
	HYPOTHESIS_PROFILE=nightly $(PYTEST) -m 'not reference'

test-reference: $(STAMP)  ## replay the recorded reference attacks (ADVWRAP_GROUND_TRUTH=<their folder>)
	HYPOTHESIS_PROFILE=test $(BIN)/python -m pytest -m reference

lint: $(STAMP)  ## ruff: rules and formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(STAMP)  ## mypy, strict, on advwrap/
	$(BIN)/mypy

docs: $(STAMP)  ## build the site into site/; a broken link or reference is an error
	@# Not --quiet: it hides the warnings from --strict too. The variable silences an advertisement of the theme.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(STAMP)  ## the peers' promises; attacks, wrappers and trainings timed beside them
	@$(PIP) -c constraints.txt -e '.[bench]'
	@# Without its dependencies: it pins requests 2.25 and asks for torchvision, and its attacks use neither.
	@$(PIP) --no-deps "$(TORCHATTACKS)"
	$(BIN)/python benchmarks/promises.py
	$(BIN)/python benchmarks/attacks.py
	$(BIN)/python benchmarks/wrappers.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/updates.py

clean:  ## remove .venv, caches and built files
	rm -rf $(VENV) site dist build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
