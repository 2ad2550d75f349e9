# The commands of the house. `make run` and `make test` install what they need and need nothing else.
#
#   make run     build, start Pileus on 127.0.0.1:4566, deploy examples/hello, stay in the foreground until Ctrl-C
#   make test    every check and every test
#   make bench   every measurement, as ratios (no figure is asserted anywhere)
#   make fuzz    property tests with many more cases, and a server that is killed 120 times

SHELL := /bin/sh
.DEFAULT_GOAL := help

# Build output and installed clients of the tests live outside the checkout, so that a fresh checkout is quick.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pileus
TEST_TARGET ?= $(or $(CARGO_TARGET_DIR),$(CACHE)/target)
VENV := $(CACHE)/venv
PYTHON := $(VENV)/bin/python
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: help run build test check rust-tests wire-tests client-tests blackbox-tests hostile-tests bench fuzz tools venv release

help:
	@sed -n '3,7s/^#//p' Makefile

tools:
	@scripts/tools

build: tools
	cargo build --release --package app-cli

run: build
	@scripts/run target/release/pileus

venv: tools
	@scripts/venv "$(VENV)"

# --- proof ------------------------------------------------------------------------------------------------------------

test: check rust-tests wire-tests client-tests blackbox-tests hostile-tests
	@echo "make test: everything passed"

check: tools
	cargo fmt --all --check
	CARGO_TARGET_DIR="$(TEST_TARGET)" cargo xtask codegen --check
	CARGO_TARGET_DIR="$(TEST_TARGET)" cargo clippy --workspace --all-targets --locked -- --deny warnings

rust-tests: tools
	CARGO_TARGET_DIR="$(TEST_TARGET)" scripts/rust-tests

release: tools
	CARGO_TARGET_DIR="$(TEST_TARGET)" cargo build --release --locked --package app-cli

wire-tests: venv
	CARGO_TARGET_DIR="$(TEST_TARGET)" scripts/wire-tests "$(PYTHON)" "$(CACHE)"

client-tests: venv
	@scripts/suite tests/clients "$(PYTHON)" "$(TEST_TARGET)"

blackbox-tests: venv release
	@scripts/suite tests/blackbox "$(PYTHON)" "$(TEST_TARGET)" -n 2 --dist loadfile

hostile-tests: venv release
	@scripts/suite tests/hostile "$(PYTHON)" "$(TEST_TARGET)"

bench: tools
	@benches/run

fuzz: tools venv release
	PROPTEST_CASES=20000 CARGO_TARGET_DIR="$(TEST_TARGET)" cargo test --workspace --locked -- proptest property
	PILEUS_KILLS=120 scripts/suite tests/blackbox "$(PYTHON)" "$(TEST_TARGET)" -k killed
