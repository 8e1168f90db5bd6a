# Two commands do everything on a fresh machine with Python 3.11+ and make:
#   make demo   set up, run the sparse double descent study on embedded data, write demo/report.html
#   make test   set up, run the tests: all but nine tenths of the cases of sampled suites
# make docs writes the documentation as a site into build/site.
# make test-all runs every case of the sampled suites, which takes longer.
# make dist builds wheel and source distribution into build/dist and runs the demo, on one seed, from the installed wheel.
# make test-lowest runs the tests with the lowest versions that pyproject.toml states; it installs them anew.
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all test-lowest lint docs dist setup clean

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

dist: $(READY)
	rm -rf build/dist build/empty build/tried
	$(BIN)/python -m build --outdir build/dist . >/dev/null
	$(PYTHON) -m venv build/empty
	build/empty/bin/pip install --quiet --constraint constraints.txt build/dist/*.whl
	mkdir build/tried
	cd build/tried && ../empty/bin/overparam --version && ../empty/bin/overparam doctor >doctor.txt
	cd build/tried && ../empty/bin/overparam run sparse-double-descent --sweep seed=0 --report report.html
	cd build/tried && ../empty/bin/overparam figure sparse-double-descent --format pdf
	ls -l build/dist

# Older versions warn of newer ones of what they use, so warnings are no errors here.
test-lowest: $(READY)
	rm -rf build/lowest
	$(BIN)/uv venv --quiet --python $(BIN)/python build/lowest
	$(BIN)/uv pip compile --quiet --resolution lowest-direct --extra dev pyproject.toml -o build/lowest/versions.txt
	$(BIN)/uv pip install --quiet --python build/lowest -r build/lowest/versions.txt
	$(BIN)/uv pip install --quiet --python build/lowest --no-deps --editable .
	build/lowest/bin/pytest -W default

clean:
	rm -rf $(VENV) demo build
