# The two commands of the README, and what keeps the project in order.
VENV ?= .venv
BIN := $(VENV)/bin
PEERS := $(VENV)/benchmark

.PHONY: quickstart test test-fast docs fuzz lint security sbom benchmark lock report-map clean

quickstart: $(VENV)/.core-installed  ## pre-train on the built-in images; prints a table, writes pictures
	$(BIN)/python tools/quickstart.py

test: $(VENV)/.docs-installed  ## run every test, on as many processes as there are cores; prints the slowest 30
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --durations 30

test-fast: $(VENV)/.full-installed  ## run the tests that take a second or two each
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile -m 'not slow'

docs: $(VENV)/.docs-installed  ## build the site into docs/_build/html; a warning or a link to nowhere is an error
	$(BIN)/python -m sphinx -W --keep-going -q -j auto -b html docs docs/_build/html

MINUTES ?= 10
fuzz: $(VENV)/.full-installed  ## try hostile inputs and interruptions at random for MINUTES; stops at a failure
	end=$$(($$(date +%s) + 60 * $(MINUTES))); while [ $$(date +%s) -lt $$end ]; do \
	    $(BIN)/python -m pytest -q -x --hypothesis-profile long tests/hostile || exit 1; done

lint: $(VENV)/.docs-installed  ## style, imports, and the types of the public API
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

benchmark: $(PEERS)/.installed  ## measure beside other libraries, in 10 minutes; prints which goals are met
	$(PEERS)/bin/python benchmarks/run.py

# An environment of the peers' own: it sees the project's packages and cannot change them.
$(PEERS)/.installed: requirements/benchmark.lock $(VENV)/.core-installed
	$(BIN)/python -m venv $(PEERS)
	printf '%s\n' "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')" "$(CURDIR)" > \
	    "$$($(PEERS)/bin/python -c 'import site; print(site.getsitepackages()[0])')/project.pth"
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes \
	    -r requirements/benchmark.lock
	touch $@

security: $(VENV)/.full-installed $(VENV)/audit/.installed  ## what bandit says, and known advisories of what is pinned
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive mmsimclr tools setup.py
	$(VENV)/audit/bin/pip-audit --disable-pip --no-deps --strict --requirement requirements/full.lock \
	    --requirement requirements/mmcv.lock || { \
	    echo 'pip-audit found advisories, or could not ask PyPI about every package: see above' >&2; exit 1; }

sbom: $(VENV)/audit/.installed  ## write dist/sbom.json, what is installed beside the package, with hashes, for a release
	mkdir -p dist
	cat requirements/full.lock requirements/mmcv.lock | $(VENV)/audit/bin/cyclonedx-py requirements \
	    --output-reproducible --output-format JSON --output-file dist/sbom.json -

$(VENV)/audit/.installed: requirements/audit.lock
	python3 -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	touch $@

$(VENV)/.core-installed: requirements/core.lock requirements/mmcv.lock setup.py tools/install.sh
	VENV=$(VENV) tools/install.sh core

$(VENV)/.full-installed: requirements/full.lock requirements/mmcv.lock setup.py tools/install.sh
	VENV=$(VENV) tools/install.sh full

# Beside what it documents. Sphinx needs Python 3.11; where there is 3.10, the tests of the site are left out.
$(VENV)/.docs-installed: requirements/docs.lock $(VENV)/.full-installed
	! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    $(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements/docs.lock
	touch $@

COMPILE := uv pip compile --universal --python-version 3.10 --no-emit-index-url --no-header --generate-hashes

lock:  ## pin the newest versions that requirements/*.in allow, with the SHA-256 of every file; needs uv
	$(COMPILE) requirements/core.in --upgrade -o requirements/core.lock
	$(COMPILE) requirements/full.in --override requirements/overrides.txt -c requirements/core.lock \
	    -o requirements/full.lock
	$(COMPILE) requirements/mmcv.in --no-deps -o requirements/mmcv.lock
	$(COMPILE) --python-version 3.11 requirements/benchmark.in --no-deps -o requirements/benchmark.lock
	$(COMPILE) requirements/audit.in --upgrade -o requirements/audit.lock
	$(COMPILE) --python-version 3.11 requirements/docs.in -c requirements/full.lock -o requirements/docs.lock

report-map:  ## bundle the library that draws the report's map anew; needs npm
	cd mmsimclr/reporting/assets/build && npm ci --no-audit --no-fund --ignore-scripts && \
	    node node_modules/esbuild/install.js && npm run build

clean:
	rm -rf build *.egg-info .pytest_cache .ruff_cache
