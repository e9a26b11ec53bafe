# `make help` lists the targets. They need Linux, Rust, and Python 3.10 or newer.
# PYTHON=python3.13 chooses one of several.
#
# Installed and built files go into .venv and target. A target does its work again only when
# its sources have changed.

VENV ?= .venv
PORT ?= 8000
HOST ?= 127.0.0.1
# More arguments for pytest: make test ARGS="-k origin -x"
ARGS ?=
# The number of tests that run at a time. It may exceed the cores: tests mostly wait.
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores < 3 ? cores + 1 : 4)))
# Whether the tests measure coverage: make test COVERAGE=1
COVERAGE ?=
# Whether the figures of instructions are written anew: make instructions UPDATE=1
UPDATE ?=
# The time of each fuzz target: make fuzz FUZZ_SECONDS=60
FUZZ_SECONDS ?= 1800
# What make bench measures: make bench PEERS=ours,picows SCENARIOS=echo CORES=one. Empty:
# everything. FULL=1 is the thorough run, REPORT=FILE the report of saved results.
PEERS ?=
SCENARIOS ?=
CORES ?=
ROUNDS ?=
SECONDS ?=
FULL ?=
REPORT ?=
OUT ?=

# Without MAKEFLAGS: cargo and the tests' own makes cannot reach the job server of `make --jobs`.
CARGO_TEST := MAKEFLAGS= cargo test --locked --no-default-features --features redis,nats
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := $(shell find src -name '*.rs') Cargo.toml Cargo.lock pyproject.toml
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# Make the virtual environment anew if its Python has gone or it was moved.
ifneq ($(shell $(BIN)/python -c 'import sys; print(sys.prefix)' 2>/dev/null),$(abspath $(VENV)))
$(shell rm -f $(VENV)/.created)
endif
# Make it anew, too, if it has another Python than PYTHON.
ifdef PYTHON
whose := -c 'import sys; print(sys.base_prefix, *sys.version_info)' 2>/dev/null
ifneq ($(shell $(BIN)/python $(whose)),$(shell "$(PYTHON)" $(whose)))
$(VENV)/.created: FORCE
endif
endif

.DELETE_ON_ERROR:
.PHONY: help demo test test-rust build-test-rust test-python coverage coverage-floors coverage-all lint format docs third-party wheel bench instructions conformance fuzz clean FORCE

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | \
		while IFS='	' read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done

# Set-up: each stamp file marks a finished installation.

$(VENV)/.created: tools/make-venv.sh
	@python=$$(tools/check-tools.sh) && tools/make-venv.sh "$$python" $(VENV)
	@touch $@

$(VENV)/.build: $(VENV)/.created pyproject.toml
	@echo "installing what the build needs"
	@$(PIP) --group build
	@touch $@

$(VENV)/.test: $(VENV)/.build pyproject.toml tools/install-uwsgi.sh
	@echo "installing what the tests need"
	@$(PIP) --group test
	@tools/install-uwsgi.sh $(VENV)
	@touch $@

$(VENV)/.lint: $(VENV)/.build pyproject.toml
	@echo "installing what the linters need"
	@$(PIP) --group lint
	@touch $@

$(VENV)/.engine: $(VENV)/.build $(SOURCES)
	@tools/check-tools.sh >/dev/null
	@echo "building the engine (the first time takes a minute or two)"
	@MAKEFLAGS= VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --release --locked --quiet \
		>$(VENV)/engine.log 2>&1 || { cat $(VENV)/engine.log >&2; exit 1; }
	@touch $@

demo: $(VENV)/.engine ## build, and serve the chat at http://127.0.0.1:8000/
	@echo "The chat: http://$(HOST):$(PORT)/  (open it in two windows; Ctrl-C ends it)"
	@cd examples/chat && \
		exec $(abspath $(BIN))/python -u manage.py runserver --noreload $(HOST):$(PORT)

test: test-rust test-python ## build, and run every test

test-rust: $(VENV)/.test ## run the engine's tests
	REDIS_SERVER=$(abspath $(BIN))/redis-server NATS_SERVER=$(abspath $(BIN))/nats-server \
		$(CARGO_TEST) --no-fail-fast

build-test-rust: ## build the engine's tests, and do not run them
	$(CARGO_TEST) --no-run

test-python: $(VENV)/.engine $(VENV)/.test ## run the tests of the package and of the servers
	MAKEFLAGS= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(if $(CI),-p tests.no_skips) \
		$(if $(COVERAGE),--cov --cov-report=) $(ARGS)

coverage: ## run tests/python, and print the coverage of each room of the package
	$(MAKE) --no-print-directory test-python COVERAGE=1 ARGS="tests/python $(ARGS)"
	$(BIN)/python tools/coverage.py

coverage-floors: ## set the floors of the rooms to the result of `make coverage`
	$(BIN)/python tools/coverage.py --floors

coverage-all: $(VENV)/.engine $(VENV)/.test ## print the coverage of all tests, with servers and greenlets
	rm -rf .cache/coverage-all
	mkdir -p .cache/coverage-all
	$(BIN)/coverage run --rcfile=tools/coverage-all.ini -m \
		pytest -n $(WORKERS) --dist worksteal $(ARGS)
	$(BIN)/coverage combine --quiet --rcfile=tools/coverage-all.ini
	$(BIN)/python tools/coverage.py --config tools/coverage-all.ini

lint: $(VENV)/.engine $(VENV)/.test $(VENV)/.lint ## check format, style, types and stubs
	tools/lint.sh $(BIN)

format: $(VENV)/.lint ## format Rust and Python code
	cargo fmt
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

third-party: $(VENV)/.created ## write THIRD-PARTY.md, after a change of Cargo.lock
	$(BIN)/python tools/third_party.py

wheel: $(VENV)/.build ## build a wheel for CPython 3.10 and newer, into dist/
	@tools/check-tools.sh >/dev/null
	@VIRTUAL_ENV=$(abspath $(VENV)) CARGO_PROFILE_RELEASE_STRIP=symbols \
		$(BIN)/maturin build --release --locked --out dist
	@ls -l dist/*.whl

bench: $(VENV)/.created ## compare with other servers: PEERS= SCENARIOS= CORES= run a part
	$(BIN)/python benches/bench.py \
		$(if $(PEERS),--peers "$(PEERS)") $(if $(SCENARIOS),--scenarios "$(SCENARIOS)") \
		$(if $(CORES),--cores "$(CORES)") $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(FULL),--full) \
		$(if $(REPORT),--report $(REPORT)) $(if $(OUT),--out "$(OUT)")

instructions: $(VENV)/.created ## count the engine's instructions, and compare with the committed figures
	@tools/check-tools.sh >/dev/null
	$(BIN)/python benches/instructions.py $(if $(UPDATE),--update)

conformance: $(VENV)/.engine $(VENV)/.test ## run the whole Autobahn suite (ten minutes)
	$(BIN)/python tests/autobahn/conformance.py all

fuzz: ## fuzz each target for FUZZ_SECONDS (1800)
	@tools/check-tools.sh >/dev/null
	fuzz/run.sh $(FUZZ_SECONDS)

clean: ## remove all built and installed files
	rm -rf $(VENV) target fuzz/target dist .cache .mypy_cache .ruff_cache .pytest_cache
	rm -f python/dwebsocket/_engine*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
