# One command each; every target sets up the environment by itself.
SHELL := /bin/bash
PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin
REQUIREMENTS ?= requirements/cpu.txt
SETUP := .venv/.ready
KERNELS := $(wildcard src/descbench/retrieval/*.pyx src/descbench/retrieval/kernels/*)

.PHONY: help setup demo test bench lint clean

help:
	@echo "make setup   the environment in .venv, with the compiled kernel"
	@echo "make demo    a drawn town through the whole workflow: results/demo/table2.csv"
	@echo "make test    all tests"
	@echo "make bench   speed against plain implementations: results/bench.json"
	@echo "make lint    formatters and linters"

setup: $(SETUP)

$(SETUP): $(REQUIREMENTS) requirements/base.txt requirements/dev.txt requirements/backends.txt pyproject.toml setup.py $(KERNELS)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS) -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable .
	@touch $@

# One thread for each extraction: small images leave a second one idle.
demo: $(SETUP)
	$(BIN)/snakemake --cores $(CORES) --configfile config/demo.yaml --set-threads extract_features=1 whiten_checkpoint=1 \
		-- results/demo/table2.csv results/demo/report.html
	@echo
	@cat results/demo/table2.md
	@echo "results/demo/table2.csv and results/demo/report.html hold the same."

test: $(SETUP)
	$(BIN)/python -m pytest

bench: $(SETUP)
	$(BIN)/python -m benchmarks.bench

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --configfile config/demo.yaml

clean:
	rm -rf results/demo data/demo logs .snakemake
