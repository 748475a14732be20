# Everything runs from .venv/ in the checkout; `make demo` and `make test` need Python 3.11+ and make, nothing else.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

# The pipeline that run, dev and the shell work on. `make demo` is `make run` with these defaults.
# An empty one is as none: it would mean the working folder.
override DATA := $(or $(strip $(DATA)),demo/data)
override RECIPE := $(or $(strip $(RECIPE)),demo)
override STORE := $(or $(strip $(STORE)),demo/store)
DEMO_DATA := --videos 420 --seed 7 --classes 6 --width 256 --height 192 --frames 36

export TPS_DATA = $(abspath $(DATA))
export TPS_RECIPE = $(RECIPE)
export TPS_STORE = $(if $(findstring ://,$(STORE)),$(STORE),$(abspath $(STORE)))
# Dagster's runs and partitions are those of one store: they are beside it; of one elsewhere in the checkout.
override DAGSTER_HOME := $(or $(strip $(DAGSTER_HOME)),$(if $(findstring ://,$(STORE)),$(CURDIR)/.dagster/$(subst /,_,$(subst ://,_,$(STORE))),$(TPS_STORE)/.dagster))
export DAGSTER_HOME

.DEFAULT_GOAL := help
.PHONY: help setup demo run try dev test-fast test test-all test-browser test-pose test-orchestration test-faults versions lint docs bench bench-claims people parts bench-orchestration parity-yolov7 clean

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/installed  ## Make .venv with everything locked in requirements.lock.

.venv/installed: requirements.lock pyproject.toml
	@python=$$(test -x $(BIN)/python && echo $(BIN)/python || echo $(PYTHON)); \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null \
	  || { echo "$$python is not Python 3.11 or later: $$(test -x $(BIN)/python && echo 'rm -r .venv, then ')make PYTHON=python3.12 (or another that is)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(DAGSTER_HOME)/dagster.yaml: dagster.yaml
	@mkdir -p $(@D) && cp $< $@

demo: setup $(DAGSTER_HOME)/dagster.yaml  ## Make a data set, run the whole graph on it, print the leaderboard.
	@test -d demo/data || $(BIN)/tps data synth demo/data $(DEMO_DATA)
	@$(BIN)/python -m assets.run

run: setup $(DAGSTER_HOME)/dagster.yaml  ## The same for DATA= (Kinetics-TPS layout), RECIPE= and STORE=.
	@$(BIN)/tps recipe check $(RECIPE) --store $(TPS_STORE) > /dev/null
	@$(BIN)/python -m assets.run

# The wheel has BlazePose's networks in it; it is read, never installed.
WHEEL := mediapipe==0.10.14

try: setup  ## People, parts and states in a clip of yours: VIDEO=me.mp4; the first time 36 MB are fetched, and two minutes of training.
	@test -n "$(VIDEO)" || { echo "name a clip: make try VIDEO=me.mp4" >&2; exit 2; }
	@test -f try/store/leaderboard.parquet || $(MAKE) --no-print-directory try/store
	$(BIN)/tps predict "$(VIDEO)" --store try/store --out try

# States are learned from generated motion (tps_pipeline/recipes/motion.yaml).
try/store: try/wheel
	@test -d try/motion || $(BIN)/tps data synth try/motion --motion --videos 200 --seed 1 --frames 80
	@test -d try/store/weights/blazepose || $(BIN)/tps weights import --as blazepose try/wheel/*.whl blazepose --store try/store > /dev/null
	@$(MAKE) --no-print-directory run DATA=try/motion RECIPE=motion STORE=try/store
.PHONY: try/store

try/wheel: | setup
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
	  --python-version 3.11 --platform manylinux2014_x86_64 --dest $@.partial $(WHEEL) && mv $@.partial $@

dev: setup $(DAGSTER_HOME)/dagster.yaml  ## Open the Dagster UI on the same store (http://localhost:3000).
	env -u DAGSTER_MODULE_NAME $(BIN)/dagster dev -w workspace.yaml

# Two processes of one thread each (tests/conftest.py); a file's tests stay together, for what they share.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: setup  ## Types, layers, units and properties: under 90 seconds on two cores.
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	@$(BIN)/pyright & types=$$!; $(PYTEST) -m 'not whole and not slow and not browser and not pose' && wait $$types

test: setup  ## Lint, types, layers and the tests: under 12 minutes on two cores.
	$(MAKE) --no-print-directory lint
	@$(BIN)/python -m tests.versions --bumped
	$(PYTEST)

test-all: setup  ## The slow tests too.
	$(PYTEST) -m ''

test-browser: setup  ## The report page and the Dagster UI in headless Chromium; skips where there is none.
	$(BIN)/pytest tests/browser -m browser -rs

test-orchestration: .venv/orchestration  ## Engines, S3, Postgres, containers: what takes services of its own.
	$(BIN)/pytest tests/orchestration

test-pose: try/wheel  ## BlazePose's own networks on a picture: fetches MediaPipe's wheel.
	$(BIN)/pytest -m pose

test-faults: setup  ## Kills, a full disk, a share that goes, a clock that jumps, tampering, any files: under 20 minutes; KILLS= SEED=.
	EXAMPLES=1000 $(BIN)/pytest tests/faults tests/data/test_any_files.py -n 2 --dist load -rP

.venv/orchestration: .venv/installed requirements-orchestration.lock
	$(BIN)/uv pip install --quiet --require-hashes --python $(BIN)/python -r requirements-orchestration.lock
	@touch $@

docs: .venv/docs  ## The documentation as a site in build/site; a broken link or an undocumented name fails.
	@PATH="$(CURDIR)/$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@$(BIN)/pytest tests/test_documentation.py  # one test of the build's own rules needs what is installed for it

.venv/docs: .venv/installed requirements-docs.lock
	$(BIN)/uv pip install --quiet --require-hashes --python $(BIN)/python -r requirements-docs.lock
	@touch $@

versions: setup  ## Say that changed code gives the same results (or a bumped version's others): tests/code_versions.json.
	$(BIN)/python -m tests.versions

lint: setup $(DAGSTER_HOME)/dagster.yaml  ## ruff, pyright, the import layers, and Dagster's definitions as `dg` loads them.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/dg check defs --log-level warning

bench: setup  ## Speed as ratios against the alternative in the same run.
	$(BIN)/python -m benchmarks

bench-claims: setup  ## What we claim, measured with three seeds into docs/claims.md: two to three hours on two CPU cores, kept in claims/.
	$(BIN)/python -m benchmarks.claims

bench-orchestration: demo .venv/orchestration  ## What orchestration costs, measured into docs/orchestration.md.
	$(BIN)/python -m benchmarks.orchestration

people: setup  ## Make the shipped person detector again: varied pictures, two rounds of training (10 minutes of one core).
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.people

parts: setup  ## Make the shipped part detector again: varied pictures, a training (6 minutes of one core).
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.parts

parity-yolov7: setup  ## Our YOLOv7-X against the original, where its submodule is checked out.
	@$(BIN)/python -m benchmarks.parity_yolov7

LOCK := $(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-annotate --no-header \
  --no-emit-index-url --generate-hashes

lock: .venv/installed  ## Resolve requirements.lock anew, with the hash of each file.
	$(LOCK) --upgrade --output-file requirements.lock
	$(LOCK) --extra orchestration -c requirements.lock --output-file requirements-orchestration.lock
	$(LOCK) --extra docs -c requirements.lock --output-file requirements-docs.lock

clean:  ## Remove the demo and caches; the environment stays.
	rm -rf demo .dagster .pytest_cache .ruff_cache .hypothesis build dist
