# Two commands do everything on a fresh machine with Python 3.11+ and make:
#   make demo   set up, run the sparse double descent study on embedded data, write demo/report.html
#   make test   set up, run the tests: all but nine tenths of the cases of sampled suites
# make docs writes the documentation as a site into build/site.
# make test-all runs every case of the sampled suites, which takes longer.
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all lint docs setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("overparam needs Python 3.11 or later, this is " + sys.version.split()[0] + "; call: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/overparam run sparse-double-descent --store demo/runs --report demo/report.html

test: $(READY)
	$(BIN)/pytest

test-all: $(READY)
	OVERPARAM_TESTS=all $(BIN)/pytest -m sampled

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python docs/build.py

clean:
	rm -rf $(VENV) demo build
