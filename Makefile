# make tour        a virtualenv, the package in it, and the whole course once in the practice cloud
# make install     only the virtualenv, with the package in it
# make test        lint, types and all tests; with EXTRAS=test,ml,notebook also those that need PyTorch
# make matrix      the full kill matrix of a lab (minutes):           make matrix LAB=ec2
# make aws-check   up, work, down, verify on a real AWS account:      make aws-check LAB=ec2
# make bench       every figure of bench/, each beside its peer; the last six with EXTRAS=test,ml

PYTHON ?= python3
VENV ?= .venv
LAB ?= ec2
EXTRAS ?= test
PYTEST ?= -n auto --dist loadfile
BIN = $(VENV)/bin
comma = ,
INSTALLED = $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

.PHONY: tour install test matrix aws-check bench

tour: $(INSTALLED)
	$(BIN)/python -m awslabs tour

install: $(INSTALLED)

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy awslabs
	$(BIN)/python -m pytest $(PYTEST)

matrix: $(INSTALLED)
	$(BIN)/python bench/matrix.py --lab $(LAB)

aws-check: $(INSTALLED)
	$(BIN)/python bench/aws_check.py --lab $(LAB)

FIGURES = startup ledger_rows down_all terraform_peer invoke_many table_write bashoutter \
	mnist_epoch pack reader ask sweep submit_many

bench: $(INSTALLED)
	for figure in $(FIGURES); do $(BIN)/python bench/$$figure.py || exit 1; done

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[test,$(EXTRAS)]'
	touch $@
