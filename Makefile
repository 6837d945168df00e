# Set up, run, test. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 3000
WEIGHTS ?=
HOST ?= http://127.0.0.1:$(PORT)

# Many tests wait for a service or for time to pass, so one process more than the usual two cores is faster.
TEST_PROCESSES ?= 3

# Options of `make loadtest`, passed on if given; `python -m loadtest.run --help` describes them.
SCENARIO ?= single
CLIENTS ?= $(USERS)
LOAD_OPTIONS = --host='$(HOST)' --scenario='$(SCENARIO)' $(call given,requests,REQUESTS) \
	$(call given,arrivals,ARRIVALS) $(call given,rate,RATE) $(call given,clients,CLIENTS) \
	$(call given,duration,DURATION) $(call given,warm-up,WARM_UP) $(call given,max-in-flight,MAX_IN_FLIGHT) \
	$(call given,objectives,OBJECTIVES) $(call given,report,REPORT)
given = $(if $($(2)),--$(1)='$($(2))')

VENV := .venv
BIN := $(VENV)/bin
REQUIREMENTS := $(VENV)/.requirements
STAMP := $(VENV)/.installed

# The command of `make lock`.
LOCK = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
SERVE_EXTRAS := --extra container --extra signing --extra tracing

# Builds the documentation; a warning, such as a broken link or anchor, is an error. Sphinx only warns about pages that
# it reads, so --fresh-env makes it read all of them.
SITE = $(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --nitpicky --conf-dir docs

export BENTOML_DO_NOT_TRACK := True

.PHONY: help setup serve model test test-container faults check docs format lock loadtest loadtest-ui audit bento \
	bento-container container clean

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo
	@echo "  PORT=3000 chooses the port; WEIGHTS=imagenet, or WEIGHTS=FILE.h5, serves Keras' ImageNet model."

setup: $(STAMP) ## Set up .venv from the pinned, hashed requirements.

$(REQUIREMENTS): requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] in {(3, 11), (3, 12), (3, 13)} else "Python 3.11, 3.12 or 3.13 is needed; this is " + sys.version.split()[0] + ". Choose one with PYTHON=...")'
	@echo "Setting up $(VENV) (about 2.5 GB; takes a few minutes the first time)"
	$(PYTHON) -m venv $(VENV)
	@# The file pins every package, so pip must not resolve: it would fail on releases newer than the pinned ones.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

# An editable install of the project, for the console script `xception-service`. Needs no package index.
$(STAMP): $(REQUIREMENTS) pyproject.toml service/version.py
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-index --no-build-isolation --editable .
	$(BIN)/pip check --quiet --disable-pip-version-check
	@touch $@

serve: $(STAMP) ## Train and publish a model if there is none, then serve it on PORT.
	@PORT='$(PORT)' WEIGHTS='$(WEIGHTS)' PATH="$(CURDIR)/$(BIN):$$PATH" exec ./scripts/demo.sh serve

model: $(STAMP) ## Train and publish a model if there is none, without serving it.
	@PORT='$(PORT)' WEIGHTS='$(WEIGHTS)' PATH="$(CURDIR)/$(BIN):$$PATH" exec ./scripts/demo.sh model

test: $(STAMP) ## Run all tests except those of the images, in TEST_PROCESSES processes.
	$(BIN)/python -m pytest --ignore tests/container --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-container: $(STAMP) ## Build and test the container images; as root, installs the tools that this needs.
	@scripts/container_tools.sh test || [ -z "$${CI:-}" ]
	$(BIN)/python -m pytest tests/container --numprocesses 2 --dist loadfile --no-loadscope-reorder

faults: $(STAMP) ## Inject faults under load, and print what happened to the requests.
	$(BIN)/python -m pytest tests/faults

check: $(STAMP) ## Check format, lint, types, direction of imports, docs and links; changes nothing.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/reference_pages.py --check
	$(SITE) --builder dummy . build/docs-check

docs: $(STAMP) ## Build the documentation site into build/docs.
	$(BIN)/python scripts/reference_pages.py
	$(SITE) --builder html . build/docs
	@echo "Open build/docs/index.html"

format: $(STAMP) ## Format the code and apply the linter's fixes.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(STAMP) ## Resolve and pin the requirements again, with hashes and without index URLs.
	$(LOCK) --extra dev pyproject.toml -o requirements/dev.txt
	$(LOCK) $(SERVE_EXTRAS) pyproject.toml -o requirements/serve.txt
	$(LOCK) -c requirements/serve.txt $(SERVE_EXTRAS) --extra tensorflow pyproject.toml -o requirements/serve-tensorflow.txt
	$(LOCK) -c requirements/dev.txt requirements/loadtest.in -o requirements/loadtest.txt

loadtest: $(STAMP) ## Run a Locust SCENARIO against the service at HOST, and check its objectives.
	@exec $(BIN)/python -m loadtest.run $(LOAD_OPTIONS) $(call given,workers,WORKERS)

loadtest-ui: $(STAMP) ## Start Locust's web UI on port 8089, to choose a scenario there.
	@exec $(BIN)/locust -f loadtest/locustfile.py --web-host '$(or $(BIND),127.0.0.1)' $(LOAD_OPTIONS) \
		$(call given,processes,WORKERS)

audit: $(STAMP) ## Check the serving requirements for known vulnerabilities, with PyPI's database.
	$(BIN)/uv tool run --from pip-audit==2.10.1 pip-audit --strict --disable-pip --require-hashes -r requirements/serve.txt

bento: $(STAMP) ## Build the Bento; it contains no weights.
	$(BIN)/bentoml build

bento-container: $(STAMP) ## Build the image xception-service-bento with podman and `bentoml containerize`.
	@scripts/container_tools.sh
	$(BIN)/python scripts/container_bento.py

container: ## Build the images xception-service and xception-service-tensorflow with podman; TARGETS chooses others.
	@scripts/container_tools.sh
	$(PYTHON) scripts/container_build.py $(or $(TARGETS),serving serving-tensorflow)

clean: ## Remove the virtual environment, the caches and the built docs; models in .local stay.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build/docs build/docs-check
