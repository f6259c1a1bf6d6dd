# The two commands of the README, and what keeps the project in order.
VENV ?= .venv
BIN := $(VENV)/bin
PEERS := $(VENV)/benchmark

.PHONY: quickstart test test-fast fuzz lint security benchmark lock clean

quickstart: $(VENV)/.core-installed  ## pre-train on the built-in images; prints a table, writes pictures
	$(BIN)/python tools/quickstart.py

test: $(VENV)/.full-installed  ## run every test, on as many processes as there are cores; prints the slowest 30
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --durations 30

test-fast: $(VENV)/.full-installed  ## run the tests that take a second or two each
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile -m 'not slow'

MINUTES ?= 10
fuzz: $(VENV)/.full-installed  ## try hostile inputs and interruptions at random for MINUTES; stops at a failure
	end=$$(($$(date +%s) + 60 * $(MINUTES))); while [ $$(date +%s) -lt $$end ]; do \
	    $(BIN)/python -m pytest -q -x --hypothesis-profile long tests/hostile || exit 1; done

lint: $(VENV)/.full-installed
	$(BIN)/ruff check .
	$(BIN)/lint-imports

benchmark: $(PEERS)/.installed  ## measure beside other libraries, in 10 minutes; prints which goals are met
	$(PEERS)/bin/python benchmarks/run.py

# An environment of the peers' own: it sees the project's packages and cannot change them.
$(PEERS)/.installed: requirements/benchmark.txt $(VENV)/.core-installed
	$(BIN)/python -m venv $(PEERS)
	printf '%s\n' "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')" "$(CURDIR)" > \
	    "$$($(PEERS)/bin/python -c 'import site; print(site.getsitepackages()[0])')/project.pth"
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --no-deps -r requirements/benchmark.txt
	touch $@

security: $(VENV)/.full-installed  ## what bandit says of the code, and known advisories about what is pinned
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive mmsimclr tools setup.py
	test -x $(VENV)/audit/bin/pip-audit || \
	    { python3 -m venv $(VENV)/audit && $(VENV)/audit/bin/pip install --quiet pip-audit; }
	$(VENV)/audit/bin/pip-audit --disable-pip --no-deps --requirement requirements/core.lock --strict || { \
	    echo 'pip-audit found advisories, or could not ask PyPI about every package: see above' >&2; exit 1; }

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
