# One command each; every target sets up the environment by itself.
SHELL := /bin/bash
PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin
REQUIREMENTS ?= requirements/cpu.txt
SETUP := .venv/.ready
KERNELS := $(wildcard src/descbench/*/*.pyx src/descbench/*/kernels/*)
FUZZ ?= 30000
FAULTS ?= 200

.PHONY: help setup demo check-demo test fuzz faults bench bench-scale scenes sanitize docs lint clean

help:
	@echo "make setup   the environment in .venv, with the compiled kernel"
	@echo "make demo    a drawn town through the whole workflow: results/demo/table1.csv to table9.csv"
	@echo "make check-demo  the demo, and whether its figures mean something"
	@echo "make test    all tests"
	@echo "make fuzz    every reader on damaged files; FUZZ=number of them"
	@echo "make faults  files damaged, jobs killed, disks filled; FAULTS=number of them"
	@echo "make bench-scale  one million drawn images: about 15.5 GB of disk"
	@echo "make scenes       figures of docs/table9.md on two real scenes; MINE=your configuration of where they lie"
	@echo "make sanitize     tests of the kernels under AddressSanitizer"
	@echo "make bench   speed against plain implementations: results/bench.json"
	@echo "make docs    the documentation as a site: site/index.html"
	@echo "make lint    formatters and linters"

setup: $(SETUP)

$(SETUP): $(REQUIREMENTS) requirements/base.txt requirements/dev.txt requirements/backends.txt pyproject.toml setup.py $(KERNELS)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS) -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable .
	@touch $@

demo: $(SETUP)
	$(BIN)/snakemake --cores $(CORES) --configfile config/demo.yaml -- results/demo/table1.csv \
		results/demo/table2.csv results/demo/table3.csv results/demo/table4.csv results/demo/table5.csv results/demo/table6.csv \
		results/demo/table7.csv results/demo/table8.csv results/demo/table9.csv \
		results/demo/pages/netvlad_alexnet_trained/streets_test.html results/demo/pages/square_sift/square.html \
		results/demo/pages/how_r18_trained_n200/alderford.html \
		results/demo/report.html
	@echo
	@cat results/demo/table1.md results/demo/table2.md results/demo/table3.md results/demo/table4.md results/demo/table5.md results/demo/table6.md \
		results/demo/table7.md results/demo/table8.md results/demo/table9.md
	@echo "results/demo/table1.csv to table9.csv and report.html hold the same."

# Whether the demo's figures mean something: training helps, beyond chance.
check-demo: demo
	$(BIN)/python -m pytest tests/demo

# A file of tests stays in one process, which makes its towns once, and files begin in the order of tests/conftest.py.
# Each process has a core, and so one thread: with two threads each, which wait for one another on the same cores,
# training steps and extraction take twice as long.
test: $(SETUP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder

fuzz: $(SETUP)
	$(BIN)/python tests/fuzz --inputs $(FUZZ) --processes $(CORES)

faults: $(SETUP)
	$(BIN)/python tests/faults --faults $(FAULTS) --processes $(CORES)

# The notice of MkDocs' future is for its developers.
docs: $(SETUP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(SETUP)
	$(BIN)/python -m benchmarks.bench

# Figures of docs/table9.md, on photographs and weights that MINE names (docs/table9.md).
MINE ?= mine.yaml
scenes: $(SETUP)
	$(BIN)/snakemake --cores $(CORES) --configfile $(MINE) -- results/table9_detectors.csv
	$(BIN)/python -m benchmarks.documented results/table9_detectors.csv docs/table9.md

bench-scale: $(SETUP)
	$(BIN)/python -m benchmarks.scale

# The tests of the compiled kernels, with AddressSanitizer and UndefinedBehaviorSanitizer looking on.
SANITIZED := build/sanitized
sanitize: $(SETUP)
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED) && cp -r src/descbench $(SANITIZED)/ && find $(SANITIZED) -name '*.so' -delete
	DESCBENCH_BUILD_FLAGS="-fsanitize=address,undefined -fno-omit-frame-pointer -g" $(BIN)/python setup.py --quiet build_ext \
		--force --build-lib $(SANITIZED) --build-temp $(SANITIZED)/objects
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0 \
		UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONPATH=$(SANITIZED) $(BIN)/python -m pytest -p no:cacheprovider \
		tests/unit/test_nearest.py tests/unit/test_top_k.py tests/unit/test_flat.py tests/unit/test_kmeans.py \
		tests/unit/test_kernel.py tests/unit/test_index.py tests/unit/test_search.py tests/golden/test_asmk.py

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --configfile config/demo.yaml

clean:
	rm -rf results/demo data/demo logs .snakemake
