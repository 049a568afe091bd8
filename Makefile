# Every command a contributor needs. Each sets up what it uses: on a fresh machine with make and Python 3.11
# or later (Debian as root: without Python too) `make demo` and `make test` work as they are.
#   make test ARGS="tests/policy -k crash"     pass options to pytest
#   make PYTHON=/usr/bin/python3 test          choose the interpreter

PY   = .venv/bin/python
ARGS =

.PHONY: help setup demo test test-vm fast cover bench soak detector-table lint fix types layers docs docs-check ci clean
.DEFAULT_GOAL := help

help:            ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

setup:           ## make .venv ready (does nothing when it is)
	@PYTHON="$(PYTHON)" scripts/setup

demo: setup      ## supervise real programs for a minute and prove that nothing is left
	$(PY) examples/demo/demo.py

test: setup      ## the whole test suite, three files at a time (most of them wait for real processes)
	$(PY) -m pytest -n 3 --dist loadfile $(ARGS)

test-vm: setup   ## the kernel's older paths in a VM, as root with QEMU: minutes, and a gigabyte in the cache folder
	MIDWATCH_VM=1 $(PY) -m pytest tests/real/test_vm.py tests/real/test_readings_vm.py tests/real/oom/test_oom_vm.py -s -o faulthandler_timeout=0 $(ARGS)

fast: setup      ## the tests that start no real processes
	$(PY) -m pytest -m "not system and not real and not slow" $(ARGS)

cover: setup     ## branch coverage; model and policy must be complete
	$(PY) -m coverage run -m pytest -q tests/model tests/policy
	$(PY) -m coverage report --include='src/midwatch/model/*,src/midwatch/policy/*' --fail-under=100

soak: setup      ## half an hour with 100 services: does anything of ours grow?
	$(PY) -m bench.soak 30 100

bench: setup     ## speed and size beside the peers, in one run on this machine
	$(PY) -m bench $(ARGS)

detector-table: setup ## measure the leak detector, renew its tables, compare with what was agreed
	$(PY) scripts/detector_table.py $(ARGS)

lint: setup      ## ruff
	$(PY) -m ruff check .

fix: setup       ## let ruff repair what it can
	$(PY) -m ruff check --fix .

types: setup     ## mypy --strict over src and tests
	$(PY) -m mypy

layers: setup    ## who may import whom
	.venv/bin/lint-imports --no-cache

docs: setup      ## write docs/reference and the state diagram anew
	$(PY) scripts/docs.py

docs-check: setup
	$(PY) scripts/docs.py --check

ci:              ## what the project's CI runs
	bash .ci/run

clean:           ## remove what the targets above have made
	rm -rf .venv .venv.lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build dist
	find src tests bench examples scripts -name __pycache__ -type d -prune -exec rm -rf {} +
