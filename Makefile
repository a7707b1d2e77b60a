# The front door. `make help` lists what is here. Everything goes into .venv; nothing need be installed by hand
# beyond python3 (3.11 or newer), make and git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS_READY := $(VENV)/.ready-test

.DEFAULT_GOAL := help
.PHONY: help demo check test test-fast test-slow bench fidelity reproduce picture clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# torch before the rest: its pin takes a CPU build where one is configured, and others then keep it.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torch,data]'
	touch $@

$(EXTRAS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	command -v chromium >/dev/null || { apt-get update --quiet=2 && apt-get install --quiet=2 --yes chromium; }
	test -d /usr/share/datasets/fashion-mnist || apt-get install --quiet=2 --yes dataset-fashion-mnist || true
	touch $@

demo: $(READY)  ## train a small network on real data under relume, and say which of its units died
	$(BIN)/relume run --out demo.relume examples/digits_mlp.py --lr 0.25

check: $(EXTRAS_READY)  ## ruff, mypy and the arrows of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One thread in each of two processes: more would only wait for each other. What reads the clock has both cores for itself.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1

test: $(EXTRAS_READY)  ## the tests, at most 20 minutes on 2 cores
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not slow and not alone" -n 2 --dist loadfile
	$(ONE_THREAD) $(BIN)/python -m pytest -m "alone and not slow"

FAST := tests/activations tests/api tests/artifacts tests/doctor tests/observe tests/reports tests/test_house.py

test-fast: $(EXTRAS_READY)  ## in 2 minutes: what needs no framework, and ALSO=tests/torch/test_ways.py
	$(ONE_THREAD) $(BIN)/python -m pytest -m "not slow and not alone" -n 2 --dist loadfile -x $(FAST) $(ALSO)

test-slow: $(EXTRAS_READY)  ## the long ones: kills, simulations, default settings of every example
	$(BIN)/python -m pytest -m slow --timeout=1800

reproduce: $(EXTRAS_READY)  ## published numbers computed again, and held against their sources; ONLY=born-dead,… for some
	OMP_NUM_THREADS=1 $(BIN)/python papers/reproduce.py --only '$(ONLY)'

bench: $(EXTRAS_READY)  ## measure, and append rows to benchmarks/*.csv
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/overhead.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/family.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/family_xla.py jax
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/family_xla.py tensorflow
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/lab.py
	$(BIN)/python benchmarks/study.py
	$(BIN)/python benchmarks/recording.py

fidelity: $(EXTRAS_READY)  ## relume's counts against counts by hand, over transformers and, if installed, timm; SHARD=1/4
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/fidelity.py --shard $(or $(SHARD),1/1)

docs: $(EXTRAS_READY)  ## write the pages of docs/reference/ that the code knows best
	$(BIN)/python docs/reference/generate.py

picture: $(EXTRAS_READY)  ## draw the pictures of README and docs anew: a real run, a real study, and the page
	$(BIN)/python docs/images/draw.py
	$(BIN)/python docs/images/page.py
	$(BIN)/python docs/images/reports.py

clean:  ## remove the environment and what the tools keep
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
