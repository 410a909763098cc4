# make run     install, train three methods on real text, write the comparison page (about 5 minutes)
# make compare the same for all methods
# make test    install and run the tests
# make lint    formatting, lint, types, direction of imports
# make bench   measure the client's memory and time; prints JSON
# make bench-simulation   install pfl-research, Flower and FedJAX, and compare client-steps per second

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
METHODS := full paper ours
ALL_METHODS := $(METHODS) sample hashed frequency random
RUNS := runs

PEERS := .peers

.PHONY: install run compare test slow lint bench bench-simulation clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ann,chitchat,flower-simulation,hdf5,report,tensorboard,dev]'
	touch $@

compare: METHODS := $(ALL_METHODS)
run compare: install
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
	$(BIN)/python -m benchmarks.client_cost

# The peers get an environment of their own, for JAX and pfl-research bring much that hashfed does not need.
$(PEERS)/installed: pyproject.toml
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check '.[peers]' torch==2.13.0
	touch $@

bench-simulation: install $(PEERS)/installed
	$(BIN)/python -m benchmarks.simulation --python \
		pfl_research=$(PEERS)/bin/python \
		flower_simulation=$(PEERS)/bin/python \
		fedjax_library=$(PEERS)/bin/python

clean:
	rm -rf $(VENV) $(RUNS)
