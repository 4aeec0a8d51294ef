# Works from a clean clone: the first target that needs them creates .venv and installs the
# versions in constraints.txt. Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
CONSTRAINTS := constraints.txt
BIN := $(VENV)/bin
NATIVE := setup.py $(wildcard sks4/_native/src/*.c sks4/_native/src/*.h)
# Threads of torch that turn while they wait slow a busy machine down.
SPHINX := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs

.PHONY: help demo test test-slow lint types doctest docs docs-check images benchmark-env clean
.NOTPARALLEL:  # two installations into one environment would disturb each other

help:
	@echo "make demo           train on real sequences, print the scores, draw a picture"
	@echo "make test           the whole test suite, with the examples of the docstrings"
	@echo "make test-slow      what takes minutes: other platforms, wheels, the suite without a compiler"
	@echo "make lint           formatting and lint"
	@echo "make types          static types"
	@echo "make doctest        the examples of the documentation"
	@echo "make docs           the documentation, into docs/_build/html"
	@echo "make docs-check     the built documentation in a browser: widths, links, pictures"
	@echo "make images         the picture of the README"
	@echo "make benchmark-env  .venv-benchmark, with the libraries that sks4 is compared with"
	@echo "make clean          remove the environments and everything built"

demo: $(VENV)/installed-demo
	@$(BIN)/python examples/demo.py

test: $(VENV)/installed-test
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

test-slow: $(VENV)/installed-test-slow
	@$(BIN)/python -m pytest -m slow tests/slow -rs --durations 20

lint: $(VENV)/installed-lint
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(VENV)/installed-lint
	@$(BIN)/mypy

doctest: $(VENV)/installed-docs
	@$(SPHINX) docs/_build/doctest --builder doctest -D plot_gallery=0
	@echo "The examples of the documentation ran as shown."

docs: $(VENV)/installed-docs
	@$(SPHINX) docs/_build/html --builder html
	@echo "The documentation is at docs/_build/html/index.html"

docs-check: $(VENV)/installed-docs
	@$(BIN)/python docs/check_pages.py docs/_build/html

images: $(VENV)/installed-demo
	@$(BIN)/python examples/demo.py docs/images/demo.png

benchmark-env:
	@$(MAKE) --no-print-directory VENV=.venv-benchmark CONSTRAINTS=constraints-benchmark.txt \
	    .venv-benchmark/installed-benchmark

# One stamp for each extra, so that nothing is installed again until a requirement or the sources
# of the compiled module change.
$(VENV)/installed-%: pyproject.toml $(CONSTRAINTS) $(NATIVE) | $(VENV)/created
	@echo "Installing sks4[$*] into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check \
	    --constraint $(CONSTRAINTS) --editable ".[$*]"
	@touch $@

$(VENV)/created:
	@echo "Creating $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

clean:
	@rm -rf .venv .venv-benchmark build dist sks4.egg-info docs/_build docs/api/generated docs/gallery \
	    .pytest_cache .mypy_cache .ruff_cache .hypothesis sks4/_native/_core.*
