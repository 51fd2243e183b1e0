# The commands of the project. Each sets up what it needs: a virtual environment in .venv, with pinned packages.

PYTHON ?= python3
BIN := .venv/bin

export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.PHONY: help data demo test test-all check docs format constraints benchmarks clean

help:
	@echo "make demo         live through a bank's first weeks on real images of solar cells, in demo/"
	@echo "make data         lay out the images of the demo for a bank in this clone, see data/README.md"
	@echo "make test         the tests, a sample of those that take long: about 10 minutes on 2 cores"
	@echo "make test-all     every test and every case, with coverage: about an hour"
	@echo "make check        lint, types, the arrows between modules"
	@echo "make docs         the documentation site, in site/"
	@echo "make format       format the code, and write params.yaml from the defaults in the code"
	@echo "make constraints  pin what pyproject.toml allows to the newest versions, into .constraints.txt"
	@echo "make benchmarks   our speed beside the peers', 1 to 2 hours, tables into .benchmarks/"
	@echo "make clean        remove the virtual environment and the demo"

# The images that the pointers in data/solar name; see data/README.md.
data: .venv/ready
	@$(BIN)/python -m patchcore.cli.demo.data data/solar
	@echo "849 images of solar cells in data/solar; build a bank with: $(BIN)/patchcore retrain solar"

demo: .venv/ready
	@$(BIN)/patchcore demo demo

# A worker a processor; the tests of a file stay together, in the order of tests/conftest.py: what takes longest first.
WORKERS := --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
test: .venv/ready
	$(BIN)/pytest $(WORKERS)

# Every case, and which lines they reach; then the branches of error handling that none reaches.
test-all: .venv/ready
	$(BIN)/pytest $(WORKERS) --all --cov --cov-report=term:skip-covered --cov-report=json:.coverage.json
	$(BIN)/python -m tests.support.uncovered .coverage.json

check: .venv/ready docs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every warning is an error: a link or an anchor that leads nowhere, a docstring that cannot be read.
docs: .venv/ready
	rm -rf site
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs site
	@echo "open site/index.html"

format: .venv/ready
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python -m patchcore.config.params_file

constraints:
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[pipeline,demo,dev,docs]'
	$(BIN)/pip freeze --exclude-editable > .constraints.txt
	touch .venv/ready

# One after the other, on a quiet machine: each measures time.
BENCHMARKS := scoring fastflow coreset out_of_core search incremental startup commands decoding ledger
benchmarks: .venv/ready
	@mkdir -p .benchmarks
	@for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py > .benchmarks/$$name.md || exit 1; cat .benchmarks/$$name.md; done
	@$(BIN)/python benchmarks/growth.py --plot docs/assets/growth.png > .benchmarks/growth.md && cat .benchmarks/growth.md

clean:
	rm -rf .venv demo site

# The newest file of an environment that is whole: an install that was stopped half-way is begun again.
.venv/ready: pyproject.toml .constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or newer is needed, got $$($(PYTHON) --version); name one with: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint .constraints.txt --editable '.[pipeline,demo,dev,docs]'
	@touch $@
