# SPDX-License-Identifier: PostgreSQL
# The front door: each target installs what it needs (scripts/setup.sh) and does one thing.

PYTHON = /usr/bin/python3
BUILD = build

.PHONY: all build setup demo test test-quick sanitize-asan sanitize-tsan fuzz fuzz-long regress soak \
	profiled bench idle check clean

all: build

setup:
	@scripts/setup.sh build

build: setup
	@test -f $(BUILD)/build.ninja || CC=gcc meson setup $(BUILD)
	@meson compile -C $(BUILD)

# A primary, two replicas and the proxy: where statements go, and what happens when a replica dies.
demo: build
	@scripts/setup.sh test
	@$(PYTHON) scripts/demo.py $(if $(filter 1 yes,$(STAY)),--stay)

# Everything; the last line is "N passed, N failed".
test:
	@scripts/setup.sh test drivers
	@$(PYTHON) scripts/test.py

# The unit tests, the simulation and the core of the integration tests: a few minutes less.
test-quick:
	@scripts/setup.sh test
	@$(PYTHON) scripts/test.py quick

sanitize-asan:
	@scripts/setup.sh test
	@$(PYTHON) scripts/test.py asan

sanitize-tsan:
	@scripts/setup.sh test
	@$(PYTHON) scripts/test.py tsan

fuzz:
	@scripts/setup.sh test
	@$(PYTHON) scripts/test.py fuzz

# Each fuzz target for FUZZ_SECONDS (10 minutes); new inputs stay in build-sanitized/corpus.
fuzz-long:
	@scripts/setup.sh test
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-600} $(PYTHON) scripts/test.py fuzz

# PostgreSQL's own regression suite, directly and through the proxy.
regress: build
	@scripts/setup.sh test regress
	@$(PYTHON) tests/regress/run.py

# A minute of 500 clients of ten kinds that fail, cancel and vanish, on connections that are cut:
# plain, then under ASan and UBSan. It prints what it has checked. CHAOS_SEED=N repeats one.
soak: build
	@scripts/setup.sh test
	@$(PYTHON) scripts/test.py soak

# build-profiled/switchgear, laid out by what gcc saw it do under pgbench: some per cent less CPU.
profiled:
	@scripts/setup.sh bench
	@$(PYTHON) bench/profiled.py

bench: build
	@scripts/setup.sh bench
	@$(PYTHON) bench/compare.py

# Memory of 10,000 idle plain clients and of 5,000 idle ones over TLS.
idle: build
	@scripts/setup.sh bench
	@$(PYTHON) bench/idle.py

check: build
	@scripts/setup.sh check
	@scripts/check.sh

clean:
	rm -rf build build-sanitized build-tsan build-clang build-profiled
