# Three commands: make demo, make test, make lint. Each installs what it needs into .venv first.
PYTHON ?= python3
BIN := .venv/bin
PACKAGES := neuro converters baselines experiments

.PHONY: install demo test lint bench bench-conversion bench-peers sanitize

install: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/neuro doctor
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

# The kernels under AddressSanitizer and UndefinedBehaviorSanitizer, for this processor and plain; needs GCC. NEURO_FUZZ
# examples of each property; SANITIZED says what runs.
PART ?= fire or pools or every_way or extremes or saturate or every_kind or int64 or pace or bundled or repeats or \
  the_kernel_is_the_trace or last_bit or one_delay or goes_on
SANITIZED ?= $(addprefix tests/neuro/test_,kernels_fuzz.py engine.py entering.py account.py recurrent.py) -k "$(PART)"
RUNTIME = $(foreach name,libasan.so libubsan.so libstdc++.so.6,$(shell $(CXX) -print-file-name=$(name)))
sanitize: install
	for isa in sanitize sanitize-plain; do \
	  env LD_PRELOAD="$(RUNTIME)" ASAN_OPTIONS=detect_leaks=0 CXX=$(CXX) NEURO_ISA=$$isa sh -ec ' \
	    $(BIN)/python -c "from neuro.native import kernels; print(kernels()); assert kernels().library"; \
	    $(BIN)/python -m pytest $(SANITIZED)' || exit 1; \
	done

bench: install
	$(BIN)/python -m experiments.benchmarks.machines
	$(BIN)/python -m experiments.benchmarks.draws
	$(BIN)/python -m experiments.benchmarks.stages

# What conversions lose, against their bounds; CONVERSION="--real FOLDER --json FILE" for more.
bench-conversion: install
	$(BIN)/python -m experiments.benchmarks.acceptance $(CONVERSION)

# Other simulators on the networks of ours: installs them under PEERS first. JSON=PATH writes medians and ratios there.
PEERS ?= .venv-peers
bench-peers: install
	$(BIN)/python -m experiments.benchmarks.peers.environments $(PEERS)
	$(BIN)/python -m experiments.benchmarks.peers.bed --folder $(PEERS) $(if $(JSON),--json $(JSON)) $(BED)
