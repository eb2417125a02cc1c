# Two commands on a fresh machine: `make demo` and `make test`. Both install what they need into .venv, and work
# offline once that is done.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNS ?= runs

.PHONY: demo test fuzz faults check format bench figures clean emulators postgresql constraints licences lower-bounds

# Every file that is installed has a hash in a file of constraints. torch is downloaded first and then checked: of a pin
# with hashes pip would take PyPI's file, and not a build without CUDA that it is also offered, which has a "+" in its
# version. The CUDA libraries are for the other one, on Linux. The last line downloads nothing: it fails if something is
# not pinned.
PIP := $(BIN)/python -m pip install --quiet
$(STAMP): pyproject.toml constraints.txt constraints-torch.txt constraints-cuda.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --no-deps --requirement constraints.txt
	rm -rf $(VENV)/torch
	$(BIN)/python -m pip download --quiet --no-deps --dest $(VENV)/torch "$$(grep -o '^torch==[^ ]*' constraints-torch.txt)"
	$(PIP) --require-hashes --no-deps --no-index --find-links $(VENV)/torch --requirement constraints-torch.txt
	rm -rf $(VENV)/torch
	$(BIN)/python -c 'import sys; from importlib.metadata import version; sys.exit("+" not in version("torch"))' || \
		$(PIP) --require-hashes --no-deps --requirement constraints-cuda.txt
	$(PIP) --no-index --no-build-isolation --editable '.[dev]'
	touch $@

# Pins of pyproject.toml with their hashes; UPGRADE=1 takes newer versions.
constraints: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/constraints.py $(if $(UPGRADE),--upgrade)

# Debian's emulators, where apt is there and root; elsewhere their hops are NOT RUN, and the commands say so.
missing_emulators = $(shell for each in qemu-loongarch64 qemu-system-arm; do command -v $$each >/dev/null || echo $$each; done)
emulators:
	@if [ -z "$(call missing_emulators)" ]; then exit 0; fi; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			qemu-user qemu-system-arm gcc libc6-dev >/dev/null; } || echo "could not install the emulators: their hops will be NOT RUN"; \
	else echo "emulators missing: install Debian's qemu-user and qemu-system-arm; until then their hops are NOT RUN"; fi

# Debian's PostgreSQL, of which the tests start a cluster of their own; one of the system's is neither made nor started.
postgresql:
	@if ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then exit 0; fi; \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null && \
			sed -i 's/^#*create_main_cluster .*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf && \
			apt-get install -y -qq --no-install-recommends postgresql >/dev/null; } || \
			echo "could not install PostgreSQL: tests of many workers on it will be NOT RUN"; \
	else echo "PostgreSQL is missing: install Debian's postgresql; until then tests of many workers on it are NOT RUN"; fi

# The table of licences, of what is installed.
licences: $(STAMP)
	$(BIN)/python .ci/licences.py

# Installs exactly the lower bounds of pyproject.toml, gigabytes with torch from PyPI, and runs a small part of the tests.
lower-bounds: $(STAMP)
	.ci/lower_bounds.sh

DEMO := $(RUNS)/demo
EDGE := $(BIN)/ecm-edge

# The model that ships: the entry that is the incumbent of its board.
SHELF := data/reference/loongson-2k0500
ENTRY = $(SHELF)/entries/$(shell $(PYTHON) -c 'import json; print(json.load(open("$(SHELF)/incumbent.json"))["entry"])')
IMAGE := firmware/float32/loongson-2k0500.elf

# The main job on synthetic ECG, one command a line as a user would type them; then the model that ships is verified on
# the same ECG and timed, and its image is built again, byte for byte.
demo: $(STAMP) emulators
	rm -rf $(DEMO)
	$(EDGE) data synth -o $(DEMO)/data --subjects 40 --seed 7
	$(EDGE) data audit $(DEMO)/data
	$(EDGE) search --data $(DEMO)/data --target loongson-2k0500 --space quick --trials 8 -o $(DEMO)/run
	$(EDGE) verify $(DEMO)/run --data $(DEMO)/data --target loongson-2k0500
	$(EDGE) bench $(DEMO)/run --data $(DEMO)/data
	$(EDGE) score $(DEMO)/run --data $(DEMO)/data --target loongson-2k0500
	$(EDGE) fit $(DEMO)/run --target loongson-2k0500 --form float32
	$(EDGE) promote $(DEMO)/run --data $(DEMO)/data --target loongson-2k0500 --registry $(DEMO)/registry || \
		{ [ $$? = 1 ] && [ -n "$(call missing_emulators)" ]; }  # without an emulator it has to be refused
	$(EDGE) bundle $(DEMO)/run --target loongson-2k0500 -o $(DEMO)/bundle
	$(EDGE) report $(DEMO)/run --data $(DEMO)/data --registry $(DEMO)/registry -o $(DEMO)/report.html
	$(EDGE) verify $(ENTRY)/model.simplified.onnx --data $(DEMO)/data --target loongson-2k0500 --segments 200 --emulated 50
	$(EDGE) bench $(ENTRY)
	$(EDGE) firmware build $(ENTRY)/model.simplified.onnx --target loongson-2k0500 -o $(DEMO)/reference
	cmp $(ENTRY)/$(IMAGE) $(DEMO)/reference/$(IMAGE)

# Side by side, one process a core: each has one thread. Commands on their own choose for themselves.
test: export OMP_NUM_THREADS = 1
test: $(STAMP) emulators postgresql
	$(BIN)/python -m pytest -n auto --dist worksteal

# Hours: every command is killed, and its writes fail, at every fault point; the table is in tests/README.md.
faults: export OMP_NUM_THREADS = 1
faults: $(STAMP)
	$(BIN)/python -m tests.disturb_all

# Hours: goes on where tests/fuzz/counts.json ends, and writes the table in tests/README.md. One process.
fuzz: export OMP_NUM_THREADS = 1
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files -z '*.c' '*.h' | xargs -0 $(BIN)/clang-format --dry-run --Werror

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files -z '*.c' '*.h' | xargs -0 $(BIN)/clang-format -i

bench: $(STAMP)
	$(BIN)/python -m pytest benchmarks --benchmark-only

# What is timed, measured anew: records in benchmarks/records/, and the tables in the READMEs. Best on a quiet machine.
figures: $(STAMP) emulators
	$(BIN)/python -m benchmarks.figures --renew

clean:
	rm -rf $(RUNS) build .pytest_cache .mypy_cache .ruff_cache .benchmarks
