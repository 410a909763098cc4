# make run     install, train five methods on real text, write the comparison page (about 13 minutes)
# make test    install and run the tests
# make lint    formatting, lint, types, direction of imports
# make bench   measure the client's memory and time; prints JSON

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
METHODS := full random frequency paper centroids
RUNS := runs

.PHONY: install run test slow lint bench clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ann,chitchat,report,tensorboard,dev]'
	touch $@

run: install
	set -e; for method in $(METHODS); do \
		echo "== configs/$$method.yaml"; \
		$(BIN)/hashfed train configs/$$method.yaml --output $(RUNS)/$$method; \
	done
	$(BIN)/hashfed compare $(METHODS:%=$(RUNS)/%) --output $(RUNS)/comparison.html

test: install
	$(BIN)/python -m pytest -q

slow: install
	$(BIN)/python -m pytest -q -m slow

lint: install
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python benchmarks/client_cost.py

clean:
	rm -rf $(VENV) $(RUNS)
