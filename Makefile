# The two commands of the README, and what keeps the project in order.
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: quickstart test lint lock clean

quickstart: $(VENV)/.core-installed  ## pre-train on the built-in images; prints a table, writes pictures
	$(BIN)/python tools/quickstart.py

test: $(VENV)/.full-installed  ## run every test
	$(BIN)/python -m pytest

lint: $(VENV)/.full-installed
	$(BIN)/ruff check .
	$(BIN)/lint-imports

$(VENV)/.core-installed: requirements/core.lock setup.py tools/install.sh
	VENV=$(VENV) tools/install.sh core

$(VENV)/.full-installed: requirements/full.lock requirements/core.lock setup.py tools/install.sh
	VENV=$(VENV) tools/install.sh full

lock:  ## pin the newest versions that requirements/*.in allow; needs uv
	uv pip compile requirements/core.in --universal --python-version 3.10 --no-emit-index-url \
	    --no-header --upgrade -o requirements/core.lock
	uv pip compile requirements/full.in --universal --python-version 3.10 --no-emit-index-url \
	    --no-header --override requirements/overrides.txt -c requirements/core.lock -o requirements/full.lock

clean:
	rm -rf build *.egg-info .pytest_cache .ruff_cache
