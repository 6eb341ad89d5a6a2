# The commands need only make, git and a Python of 3.11 to 3.13 with venv and pip; `make lock` needs uv.
# Another interpreter or another place for the environment: make test PYTHON=python3.12 VENV=.venv-3.12

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RANGE := (3, 11) <= sys.version_info[:2] <= (3, 13)
UV = $(firstword $(shell command -v uv) $(BIN)/uv)

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-all test-isa fuzz soak check docs bench lock clean

help:
	@echo "make demo      run one study and write its report"
	@echo "make test      run the test suite"
	@echo "make test-all  run it on every supported Python found here"
	@echo "make test-isa  run its numerical half under older instruction sets, on one processor and on two"
	@echo "make fuzz      read 100,000 damaged files: no traceback, no waiting, at most 1 GiB (10 minutes)"
	@echo "make soak      kill a sweep 300 times and interrupt every command 20 times (half an hour)"
	@echo "make check     lint, format, types, layers"
	@echo "make docs      build the documentation into site/"
	@echo "make bench     measure speed against PyTorch and a hand-written loop (some minutes)"
	@echo "make lock      refresh uv.lock and requirements.lock (needs uv)"
	@echo "make clean     remove environments, caches and builds; runs/ stays"

demo: $(VENV)/.installed
	$(BIN)/descentlab run song2024_convergence --size quick

test: $(VENV)/.installed-test
	$(BIN)/pytest

test-all:
	@set -e; for v in 3.11 3.12 3.13; do \
	  found=; \
	  for p in python$$v $(PYTHON) $$HOME/.pyenv/versions/$$v.*/bin/python; do \
	    if $$p -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$v')" 2>/dev/null; then found=$$p; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then echo "== Python $$v: SKIPPED, no such interpreter here"; continue; fi; \
	  echo "== Python $$v"; $(MAKE) --no-print-directory test PYTHON=$$found VENV=.venv-$$v; \
	done

# Vectors of another width add in another order. A bound that one instruction set meets by luck fails here.
NUMERICAL = $(addprefix tests/,attention contracts curvature landscape measures models optim oracles probes tasks theory \
  test_data.py test_objective.py test_origin.py test_training.py)

test-isa: $(VENV)/.installed-test
	@set -e; for isa in AVX2 SSE4_2; do for processors in 0 0,1; do \
	  echo "== $$isa, processors $$processors"; \
	  XLA_FLAGS=--xla_cpu_max_isa=$$isa taskset -c $$processors $(BIN)/pytest $(NUMERICAL); \
	done; done

fuzz: $(VENV)/.installed-test
	PYTHONPATH=tests $(BIN)/python -m support.fuzzing

soak: $(VENV)/.installed-test
	DESCENTLAB_KILLS=300 DESCENTLAB_MOMENTS=20 $(BIN)/pytest tests/test_kills.py tests/cli/test_interrupts.py

check: $(VENV)/.installed-lint $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict

# PyTorch is wanted here only, so it gets an environment of its own. Without it the scripts say what they skip:
# .venv/bin/python benchmarks/step_speed.py
# The tools that it is compared with come without what they ask for, a torchvision built for another PyTorch.
RIVALS = curvlinops-for-pytorch==3.0.1 PyHessian==0.1 hessian-eigenthings==1.0.0a5 backpack-for-pytorch==1.7.1 \
  einconv==0.1.0 einops==0.8.2 linear_operator==0.6.1 unfoldNd==0.2.3 tqdm==4.70.1

bench:
	@$(MAKE) --no-print-directory VENV=.venv-bench .venv-bench/.installed-torch
	@.venv-bench/bin/python -m pip install --quiet --no-deps $(RIVALS)
	@for one in step_speed where_time_goes loop_overhead cost_candidates cost_anchors cost_models landscape long_sequences curvature start_time; do .venv-bench/bin/python benchmarks/$$one.py || exit 1; echo; done

lock:
	$(UV) lock
	$(UV) export --quiet --locked --all-extras --all-groups --no-group torch --no-emit-project \
	  --no-hashes --no-annotate --no-header --output-file requirements.lock

clean:
	rm -rf $(VENV) .venv-3.1? .venv-bench .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist site
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp says what the environment holds; it is renewed when a requirement changes. An environment without a working
# pip is what an interrupted creation leaves, and is made anew.
define environment
@$(PYTHON) -c 'import sys; sys.exit(not $(RANGE))' 2>/dev/null || { \
  echo "descentlab needs Python 3.11, 3.12 or 3.13, but '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 || true)." >&2; \
  echo "Name another interpreter: make $(or $(firstword $(MAKECMDGOALS)),demo) PYTHON=python3.12" >&2; exit 1; }
@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
endef

$(VENV)/.installed: pyproject.toml requirements.lock
	$(environment)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable .
	@touch $@

$(VENV)/.installed-%: pyproject.toml requirements.lock
	$(environment)
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable . --group $*
	@touch $@
