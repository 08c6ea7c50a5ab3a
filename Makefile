# One target a task; `make help` lists them. From a fresh clone with Python >= 3.11 and make, each of them works.
#
# .venv holds the locked tools and, installed as a wheel and never editable, Equipoise itself: compiled by mypyc where there
# is a C compiler. The interpreted mode needs no installation: PYTHONPATH=src puts the plain files first. No extension is
# ever built into src, so neither mode can shadow the other.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)/.tools-installed
PRODUCT := $(VENV)/.equipoise-installed
REPORTS := build/reports
# Tests at a time. Most of a scenario's time is somebody waiting for somebody, so there are two for each processor of CI.
JOBS ?= 4
# Every scenario starts processes. Without kept bytecode each of them would compile every file that it imports.
unexport PYTHONDONTWRITEBYTECODE

# What the installed product is made of. The list itself is a prerequisite, so that a deleted file also rebuilds it.
# The dashboard's own files count; what is brought in from npm follows from dashboard/.
SOURCES := $(sort $(shell find src -name '*.py' -o -name py.typed -o -path '*/static/*' -type f -not -path '*vendor*')) \
	$(wildcard dashboard/*) setup.py compiled_modules.py pyproject.toml
SOURCE_LIST := build/sources.txt
$(shell mkdir -p build; echo '$(SOURCES)' | cmp -s - $(SOURCE_LIST) || echo '$(SOURCES)' > $(SOURCE_LIST))

.PHONY: help demo test check lint types audit test-compiled test-interpreted bench compile lock format clean docs llms package no-stale-extensions system-packages vendor

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 20

# Installation #########################################################################################################

$(TOOLS): requirements/dev.lock
	@.ci/make-venv $(PYTHON) $(VENV)
	@echo "installing the locked tools into $(VENV)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@

# The stamp's text says which mode was built. setuptools keeps what an earlier build left in build/lib, so that goes first.
$(PRODUCT): $(TOOLS) $(SOURCES) $(SOURCE_LIST)
	@rm -rf build/lib* build/bdist* build/wheel
	@echo "building the wheel; compiling takes a minute or two (log: build/wheel.log)"
	@$(BIN)/python -m build --wheel --no-isolation --skip-dependency-check --outdir build/wheel . >build/wheel.log 2>&1 \
		|| { grep -E '^(src/|equipoise:)|error:' build/wheel.log | tail -40 || tail -40 build/wheel.log; exit 1; }
	@grep -E '^equipoise:' build/wheel.log || true
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --force-reinstall build/wheel/*.whl
	@if ls build/lib*/equipoise/errors.*.so >/dev/null 2>&1; then echo compiled; else echo interpreted; fi >$@
	@echo "equipoise is installed in $(VENV): $$(cat $@)"

compile: $(TOOLS) ## Build with mypyc and install into .venv; a failure is an error (EQUIPOISE_OPT_LEVEL=0: faster to build)
	@[ ! -f $(PRODUCT) ] || [ "$$(cat $(PRODUCT))" = compiled ] || rm -f $(PRODUCT)
	@EQUIPOISE_REQUIRE_COMPILE=1 $(MAKE) $(PRODUCT)

# What the dashboard uses of others, brought into src for the interpreted mode (the wheel's build does it for itself). The
# manifest is written last; where npm is missing there is none, and the script says so again each time.
VENDOR := src/equipoise/admin/static/vendor/manifest.json

$(VENDOR): $(TOOLS) $(wildcard dashboard/*)
	@$(BIN)/python dashboard/vendor.py && touch -c $@

vendor: $(VENDOR) ## Bring the dashboard's third-party code into the package (needs npm; without it there is no dashboard)

# The main job #########################################################################################################

demo: $(PRODUCT) ## The main job on real traffic, about a minute (make demo ARGS="--duration 300 --kill-at 100 ...")
	@[ "$$(cat $(PRODUCT))" = compiled ] || echo "INTERPRETED: no extension could be built here (see build/wheel.log); slower, otherwise alike"
	@$(BIN)/equipoise demo $(ARGS)

# The peers that come as wheels live in an environment of their own: none of them is a dependency of ours.
PEERS := .bench-venv/.installed

$(PEERS): benchmarks/requirements.lock
	@.ci/make-venv $(PYTHON) .bench-venv
	@.bench-venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench: compile $(PEERS) ## Benchmarks beside the peers (ARGS=--help lists the options); results go to benchmarks/results
	@.ci/system-packages nginx haproxy wrk nghttp2-client nghttp2-server nghttp2-proxy apache2-utils varnish
	@$(BIN)/python -m benchmarks $(ARGS)

# Documentation and packages ###########################################################################################

# The site's generator is a tool for this alone, in an environment of its own.
SITE := build/docs-venv

docs: ## The documentation as a site in build/site; a link that leads nowhere is an error
	@.ci/make-venv $(PYTHON) $(SITE)
	@$(SITE)/bin/python -m pip install -qq --disable-pip-version-check "$$($(SITE)/bin/python .ci/docs_pages.py --needs)"
	@$(SITE)/bin/python .ci/docs_pages.py build/docs-pages
	@$(SITE)/bin/zensical build --clean --strict

llms: ## llms.txt, the map of the documentation for language models
	@$(PYTHON) .ci/docs_pages.py --llms >llms.txt

package: ## sdist and wheel into dist, each installed into an empty environment and tried (some minutes)
	@.ci/package $(PYTHON) dist

# Checks ###############################################################################################################

# The tests of a file share what is dear, so a file stays with one process; tests/conftest.py says which files begin.
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder
# What is the same Python in both modes is tested once: the units of folders that are never compiled in the interpreted
# run, the scenarios of the control plane (a browser, many processes) over the compiled data path where there can be one;
# and so are the long ones of HTTP/2, gRPC, TLS and the cache, whose units and properties run in both modes. Where nothing
# can be compiled, all of them run interpreted.
PLAIN_UNITS = --ignore tests/architecture --ignore tests/golden --ignore tests/unit/test_build.py \
	$(foreach folder,admin benchmarks cli config demo deploy docs library,--ignore tests/unit/$(folder)) \
	$(foreach subject,config overlay token,--ignore tests/property/test_$(subject).py)
PLAIN_SCENARIOS = $(foreach feature,admin cache client control dashboard docs examples faults grpc http2 metrics shipping smuggling/test_differential.py tls,--ignore tests/scenarios/$(feature))
# $(call run_tests,MODE,WORDS,UNITS,SCENARIOS): WORDS before python put it in that mode; the others are pytest's options.
define run_tests
	@echo "== tests, $(1)"
	@mkdir -p $(REPORTS); rm -f $(REPORTS)/*-$(1).xml
	@status=0; \
	$(2) EQUIPOISE_EXPECT=$(1) $(PYTEST) --ignore tests/scenarios $(3) \
		--junit-xml $(REPORTS)/units-$(1).xml $(PYTEST_ARGS) || status=1; \
	if [ -d tests/scenarios ]; then \
		$(2) EQUIPOISE_EXPECT=$(1) $(PYTEST) tests/scenarios $(4) --junit-xml $(REPORTS)/scenarios-$(1).xml $(PYTEST_ARGS) || status=1; \
	fi; exit $$status
endef

lint: $(TOOLS) ## ruff: rules and format
	@status=0; $(BIN)/ruff check . || status=1; $(BIN)/ruff format --check . || status=1; exit $$status

format: $(TOOLS) ## Let ruff repair what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(TOOLS) ## mypy over everything
	@$(BIN)/mypy

# It asks a service in the internet, whose answers change while nothing here does: so it is no part of `check`.
AUDIT := build/audit-venv

audit: ## Known weaknesses of what the locks pin, by pip-audit and npm; says so where nobody can be asked
	@.ci/make-venv $(PYTHON) $(AUDIT)
	@$(AUDIT)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/audit.lock
	@PATH="$(CURDIR)/$(AUDIT)/bin:$$PATH" python .ci/audit.py

no-stale-extensions:
	@stale=$$(find src -name '*.so' -o -name '*.pyd'); \
	[ -z "$$stale" ] || { echo "extensions in src shadow the files beside them; remove them: $$stale" >&2; exit 1; }

system-packages: # What the scenarios start; without it they are skipped, and pytest names each with its reason.
	@.ci/can-compile $(PYTHON) || .ci/system-packages gcc libc6-dev python3-dev || true
	@.ci/system-packages nginx haproxy curl chromium jq nghttp2-client nghttp2-server iproute2 || echo "the scenarios that need them are LEFT OUT; see 'SKIPPED' in the summary"

test-interpreted: $(TOOLS) $(VENDOR) no-stale-extensions ## Tests on the plain files
	$(call run_tests,interpreted,PYTHONPATH=src,,$$(.ci/can-compile $(BIN)/python && echo "$(PLAIN_SCENARIOS)"))

test-compiled: $(TOOLS) no-stale-extensions ## Tests on the installed extensions; left out, and said so, where there is no C compiler
	@if [ -z "$${CI:-}" ] && ! .ci/can-compile $(BIN)/python; then \
		echo "== tests, compiled: LEFT OUT, no C compiler that finds Python.h, and none may be installed"; \
	else \
		$(MAKE) compile && $(MAKE) run-compiled; \
	fi

.PHONY: run-compiled
run-compiled:
	$(call run_tests,compiled,env -u PYTHONPATH,$(PLAIN_UNITS))

# Each step runs even if one before it failed, so that one run shows all there is to repair; then the sum is printed.
# Compiling takes one processor: it is begun beside lint and types, which take another. What it says is for test-compiled to
# say again, which finds everything built or fails likewise.
check: $(TOOLS) system-packages ## What CI runs: lint, types, tests in both modes
	@rm -rf $(REPORTS); mkdir -p build; status=0; compiling=; \
	if .ci/can-compile $(BIN)/python; then \
		$(MAKE) compile >build/compile.log 2>&1 & compiling=$$!; trap "kill $$compiling 2>/dev/null || true" EXIT; \
	fi; \
	for step in lint types test-interpreted test-compiled; do \
		if [ $$step = test-interpreted ] && [ -n "$$compiling" ]; then wait $$compiling || true; fi; \
		echo "== $$step"; $(MAKE) $$step || { status=1; failed="$${failed:-} $$step"; }; \
	done; \
	$(BIN)/python .ci/summary.py $(REPORTS) || status=1; \
	[ $$status -eq 0 ] || { echo "failed:$${failed:-}" >&2; exit 1; }

test: check ## Likewise, for people

clean: ## Remove everything that was built, .venv included
	@rm -rf $(VENV) .bench-venv $(dir $(VENDOR)) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage*

# Locking ##############################################################################################################

LOCKER := build/lock-venv
LOCK := $(LOCKER)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --custom-compile-command "make lock"

lock: ## Resolve the dependencies of pyproject.toml anew into requirements/*.lock (make lock UPGRADE=--upgrade: newest)
	@.ci/make-venv $(PYTHON) $(LOCKER)
	@$(LOCKER)/bin/python -m pip install -qq --disable-pip-version-check uv
	@$(LOCK) $(UPGRADE) pyproject.toml -o requirements/runtime.lock
	@$(LOCK) $(UPGRADE) pyproject.toml --extra dev -c requirements/runtime.lock -o requirements/dev.lock
	@# The image's: what its demo needs besides, and what a build takes. Both of the versions that the tests ran on.
	@$(LOCK) pyproject.toml --extra demo -c requirements/dev.lock -o requirements/demo.lock
	@$(LOCKER)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
		| $(LOCK) - -c requirements/dev.lock -o requirements/build.lock
	@$(LOCKER)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["audit"], sep="\n")' \
		| $(LOCK) $(UPGRADE) - -c requirements/dev.lock -o requirements/audit.lock
	@[ ! -f benchmarks/requirements.in ] || $(LOCK) $(UPGRADE) benchmarks/requirements.in -o benchmarks/requirements.lock
