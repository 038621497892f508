# conduit-gateway: every task by one command. `make help` lists them.
# Each target does the set-up that it needs (Debian packages, virtual environment, compilation) and is quick when
# nothing changed: stamps in .venv and build/ remember what was done.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DELETE_ON_ERROR:

PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input
PACKAGES := gateway fastpath rules deploy
NATIVE := $(wildcard fastpath/*.pyx fastpath/*.pxd fastpath/*.h fastpath/*/*.pyx fastpath/*/*.pxd fastpath/*/*.h)
PYTEST := $(PY) -m pytest
LAB_SOCKET := /run/conduit-lab-cg/gateway/run/control.sock
# Rings that a run may not skip, as the tests' `require` reads it; .ci/rings finds out what this machine can run.
RINGS := .ci/rings
# Of `make fuzz-messages` and `make asan`: how many inputs, and for which inspectors (none: all of them).
COUNT ?= 1000000
SUBJECTS ?=

.PHONY: help setup build demo run test test-vm lint bench endurance differential evasion truth fuzz fuzz-messages asan ci clean system-build system-run system-count system-vm

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- set-up ------------------------------------------------------------------------------------------------------

setup: system-run build ## install what is needed and compile

system-build:
	@.ci/packages build
system-run:
	@.ci/packages build run
system-count:
	@.ci/packages build run count
system-vm:
	@.ci/packages build run vm

$(VENV)/.created: | system-build
	@echo "Creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.tools: constraints-build.txt $(VENV)/.created
	@echo "Installing the compilers' Python packages"
	@$(PIP) install --quiet --no-deps --require-hashes -r constraints-build.txt
	@touch $@

$(VENV)/.packages: constraints.txt $(VENV)/.tools
	@echo "Installing the Python packages of constraints.txt"
	@$(PIP) install --quiet --no-deps --no-build-isolation --require-hashes -r constraints.txt
	@touch $@

# The extension modules are built beside their sources; the editable install only puts the project on the path.
build/.compiled: pyproject.toml $(NATIVE) $(VENV)/.packages
	@mkdir -p build
	@echo "Compiling fastpath (log: build/compile.log)"
	@$(PY) -c 'import setuptools; setuptools.setup()' build_ext --inplace --parallel 2 \
	  $(if $(filter pyproject.toml %.pxd,$?),--force) >build/compile.log 2>&1 \
	  || { grep -vE '^(copying|creating|running) ' build/compile.log | tail -60; exit 1; }
	@touch $@

$(VENV)/.installed: pyproject.toml build/.compiled
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

build: $(VENV)/.installed ## compile the data path where its sources changed

# ---- use ---------------------------------------------------------------------------------------------------------

demo: setup ## the story: a small water works, staged from monitor to enforce, with asserted steps
	@$(PY) -m deploy.demo

run: setup ## the laboratory with its gateway, to try conduitctl by hand
	@$(VENV)/bin/conduitctl lab up
	@echo "Try:  $(VENV)/bin/conduitctl --socket $(LAB_SOCKET) status"
	@echo "End:  $(VENV)/bin/conduitctl lab down"

# ---- proof -------------------------------------------------------------------------------------------------------

# What needs no namespace shares the processors; what does has the machine for itself, or its deadlines would not hold.
test: setup system-count ## unit, property, contract, fuzz, integration and namespace rings (under 15 minutes)
	@$(PYTEST) tests -m 'not slow and not vm and not netns' --numprocesses 2
	@$(PYTEST) tests -m 'netns and not slow and not vm'

test-vm: setup system-vm ## the namespace and vm rings on Debian's stock kernel in QEMU (about 10 minutes)
	@$(PY) -m tests.support.vm.ring

lint: build ## style, types, layers, and a clean compile
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet . || { echo 'ruff format would change files'; exit 1; }
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-logo
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint fastpath
	@.ci/compile-strictly

bench: setup ## every suite of the bench against its peers (under 15 minutes); method in bench/README.md
	@$(PY) -m bench

endurance: setup ## polls under a minute each of spoofed flows and forbidden traffic, and a minute of mixed traffic
	@$(PY) -m bench --endurance

differential: setup ## 1,000,000 random packets: engine against twin, 100,000 of them against the kernel's static rules
	@$(PY) -m bench.differential --frames 1000000 --kernel 100000

evasion: setup ## forbidden operations in 3,600 disguises, judged at real servers, and permitted ones in 1,800 (5 minutes)
	@$(PY) -m tests.evasion.matrix

fuzz: setup ## 5,000 mutated policies (YAML, includes, CSV), half of them sent to a control plane: none taken, no traceback
	@$(PY) -m tests.fuzz.policies --count 5000 --daemon

truth: setup ## messages of recorded traffic as we read them beside Wireshark's rows: table by capture, what differs
	@$(PY) -m tests.truth

fuzz-messages: setup ## mutated messages through each inspector under AddressSanitizer and UBSan (COUNT=1000000, SUBJECTS=all)
	@$(PY) -m tests.fuzz.sanitize --only tests.fuzz.inspection --count $(COUNT) --subjects $(SUBJECTS)

asan: setup ## mutated frames through the engine's parsers under AddressSanitizer and UBSan (COUNT=1000000)
	@$(PY) -m tests.fuzz.sanitize --count $(COUNT)

ci: lint ## what .ci/run runs: lint, test and test-vm, skipping no ring that this machine can run
	@CONDUIT_REQUIRE="$$($(RINGS))" $(MAKE) test
	@CONDUIT_REQUIRE="$$($(RINGS))" $(MAKE) test-vm

clean: ## remove everything that was built (the kernel images in .cache stay)
	@rm -rf build $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find $(PACKAGES) tests bench \( -name __pycache__ -o -name '*.so' \) -prune -exec rm -rf {} +
	@find fastpath -name '*.pyx' | sed 's/pyx$$/c/' | xargs -r rm -f
