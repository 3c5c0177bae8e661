# One verb a line in `make help`. Every verb does its own set-up; the second time that takes no time.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
RUST := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name 'Cargo.toml' -o -name '*.bin')
export CARGO_TERM_COLOR ?= never

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-full test-faults lint format bench bench-gpu extractor-model clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: .venv/.built ## make .venv, install what constraints.txt names, build the Rust core

.venv/.installed: pyproject.toml constraints.txt
	@command -v cargo >/dev/null || { echo "cargo is not on PATH: install a stable Rust toolchain first"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt uv
	$(UV) pip install -q --compile-bytecode --python $(BIN)/python -c constraints.txt -r pyproject.toml --extra train --extra dev
	@touch $@

.venv/.built: .venv/.installed $(RUST)
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/maturin develop -q --release --uv --extras train,dev
	$(BIN)/python -m compileall -q python
	@touch $@

demo: setup ## crawl, curate, train, evaluate: the whole way, in minutes (INPUT=some.warc.gz for your own crawl)
	$(BIN)/python pipelines/demo.py --out demo --workers $(WORKERS) $(if $(INPUT),--input "$(INPUT)")

test: setup lint ## the tests that CI runs (within 12 minutes)
	cargo test -q --workspace --exclude curate-py
	$(BIN)/pytest -m "not slow and not faults"

test-full: setup lint ## every test but the faults, the long ones too
	cargo test -q --workspace --exclude curate-py
	$(BIN)/pytest

test-faults: setup ## runs that are disturbed in 147 ways (SEEDS=37 for one, SEEDS=147:500 for others)
	SEEDS=$(SEEDS) $(BIN)/pytest -m faults tests/faults

lint: setup ## formats, lints, types, who may import whom
	$(BIN)/ruff format -q --check .
	$(BIN)/ruff check -q .
	$(BIN)/mypy
	cargo fmt --check
	cargo clippy -q --workspace --all-targets -- -D warnings

format: setup ## put every file into its one format
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q --fix .
	cargo fmt

bench: setup ## measure the kernels and stages beside their peers
	$(UV) pip install -q --python $(BIN)/python -c constraints.txt -r pyproject.toml --extra bench
	$(BIN)/python -m benchmarks

bench-gpu: setup ## measure the trainer on a GPU (BENCH_DATA=RUN also trains on a run for 300 s)
	$(BIN)/python -m benchmarks.trainer_gpu --write

extractor-model: setup ## train the model of the HTML extractor from ../shared/data, and write its card
	$(BIN)/python -m models.extractor

clean: ## remove what was built; .venv too
	rm -rf target demo .venv python/curate/_rust*.so
