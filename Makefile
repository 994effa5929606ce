# Three commands: make demo, make test, make lint. Each installs what it needs into .venv first.
PYTHON ?= python3
BIN := .venv/bin
PACKAGES := neuro converters baselines experiments

.PHONY: install demo test lint bench bench-peers

install: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: install
	$(BIN)/neuro compare digits-cnn
	$(BIN)/neuro report "$$(ls -t runs/*.h5 | head -n 1)"

test: install
	$(BIN)/python -m pytest -n 2 $(PACKAGES:%=--cov=%) --cov-report=term --cov-fail-under=85

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m experiments.benchmarks.machines
	$(BIN)/python -m experiments.benchmarks.draws
	$(BIN)/python -m experiments.benchmarks.stages

# Other simulators on the networks of ours: installs them under PEERS first. JSON=PATH writes medians and ratios there.
PEERS ?= .venv-peers
bench-peers: install
	$(BIN)/python -m experiments.benchmarks.peers.environments $(PEERS)
	$(BIN)/python -m experiments.benchmarks.peers.bed --folder $(PEERS) $(if $(JSON),--json $(JSON)) $(BED)
