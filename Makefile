# make tour        all five labs once in the practice cloud, in a virtualenv of this folder (.venv)
# make install     only that virtualenv, with the practice cloud;  make install-all: PyTorch and JupyterLab too
# make test        lint, format, types and the fast tests; a newcomer's first command, and CI's
# make test-all    those and all others: PyTorch (6 GB), Docker, a browser, minutes of real time, kill matrices
# make test-rest   only the others, after `make test`;  one layer of them:    make test-rest LAYERS=kill
# make matrix      the full kill matrix of a lab (minutes):           make matrix LAB=ec2
# make matrix-switch  a lab's laptop dies at every call, for ever:    make matrix-switch LAB=ec2
# make replay-matrix  which strict rules a lab's recording would miss:  make replay-matrix LAB=ec2
# make fuzz        20,000 requests to DynamoDB of hypothesis' making; a seed again: make fuzz SEED=...
# make aws-check   up, work, down, verify on a real AWS account:      make aws-check LAB=ec2 (or smallest)
# make fidelity    the score against recorded AWS, docs/fidelity.md:  make fidelity LOCALSTACK=... MOTO=...
# make bench       every figure of bench/, each beside its peer

PYTHON ?= python3
VENV ?= .venv
LAB ?= ec2
LAYERS ?= live or docker or browser or ml or kill
BIN = $(VENV)/bin
# Files in the order of tests/conftest.py: xdist's own would put single tests of minutes last.
PYTEST = $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder
# A good part of what tests take is waiting: for servers, engines, disks. So one more than processors.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
# The others wait for more than half of their time.
WORKERS_REST ?= $(shell echo $$(( 2 * $$(getconf _NPROCESSORS_ONLN) )))

# Else each process that a test starts would compile the course anew.
unexport PYTHONDONTWRITEBYTECODE

# What is installed, one file for each set of extras; a change of setup.cfg installs anew.
SANDBOX = $(VENV)/.installed-sandbox
TEST = $(VENV)/.installed-test
ALL = $(VENV)/.installed-all
$(SANDBOX): EXTRAS = sandbox
$(TEST): EXTRAS = test
$(ALL): EXTRAS = test,ml,notebook

.PHONY: tour install install-all test test-rest test-all matrix matrix-switch replay-matrix fuzz aws-check bench types fast types-rest rest fidelity

tour: $(SANDBOX)
	$(BIN)/python -m awslabs tour

install: $(SANDBOX)

install-all: $(ALL)

# Types are checked beside the tests: mypy has one thread.
test: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --jobs=2 types fast

test-rest: $(ALL)
	$(MAKE) --jobs=2 types-rest rest

types:
	$(BIN)/mypy awslabs

fast:
	$(PYTEST) -n $(WORKERS)

types-rest:
	$(BIN)/mypy images/mnist
	$(BIN)/mypy images/qa_bot

rest:
	$(PYTEST) -n $(WORKERS_REST) -rs --durations=20 -m "$(LAYERS)"

test-all:
	$(MAKE) test
	$(MAKE) test-rest

matrix: $(TEST)
	$(BIN)/python bench/matrix.py --lab $(LAB)

matrix-switch: $(TEST)
	$(BIN)/python bench/matrix.py --lab $(LAB) --switch

replay-matrix: $(TEST)
	$(BIN)/python bench/replay_matrix.py --lab $(LAB)

fuzz: export AWSLABS_FUZZ = 20000
fuzz: export AWSLABS_FUZZ_SEED = $(SEED)
fuzz: $(TEST)
	$(BIN)/python -m pytest -s tests/test_services_dynamodb_items.py -k "stumble or kept_or_refused or read_or_refused"

aws-check: $(SANDBOX)
	$(BIN)/python -m awslabs aws-check --lab $(LAB) --report docs/aws-checks/$(LAB).md

fidelity: $(SANDBOX)
	bench/fidelity/score.sh $(LOCALSTACK) $(MOTO) $(abspath $(BIN))/python

FIGURES = startup requests_per_second long_polls signatures ledger_rows down_all class_down terraform_peer invoke_many \
	table_write bashoutter mnist_epoch pack reader ask sweep submit_many

bench: $(ALL)
	for figure in $(FIGURES); do $(BIN)/python bench/$$figure.py || exit 1; done

$(SANDBOX) $(TEST) $(ALL): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@
