# Two commands: `make run` builds the example dataset, `make test` runs the tests.
# Everything else: make dev, lint, kills, crash, storm, clean, lock. See the README.

SET ?= showcase
PYTHON ?= python3
PORT ?= 3000
PAGES_PORT ?= $(shell expr $(PORT) + 1)
WAN_PROFILE ?= emulator
WAN_DATA_DIR ?= data
DAGSTER_HOME ?= $(abspath $(WAN_DATA_DIR)/$(WAN_PROFILE)/dagster)
export WAN_PROFILE WAN_DATA_DIR
VENV := .venv
BIN := $(VENV)/bin
# Two `make` at once must not install into one environment at the same time.
LOCK := $(shell command -v flock >/dev/null 2>&1 && echo flock .venv.lock)

.PHONY: run test dev kills crash storm lint clean lock

run: $(VENV)/run.stamp
	@WAN_PAGES_URL="$${WAN_PAGES_URL:-http://127.0.0.1:$(PAGES_PORT)}" $(BIN)/wan run $(SET)

test: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -n 4 --dist worksteal

# The UI of the profile's own instance, and the pages that it links to. Planning first is free and
# registers every prompt set.
dev: $(VENV)/run.stamp
	@$(BIN)/wan plan
	@DAGSTER_HOME="$(DAGSTER_HOME)" PATH="$(abspath $(BIN)):$$PATH" \
		$(BIN)/wan pages --port $(PAGES_PORT) dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

# Bill against ledger after every kill; the last line is the sum.
KILLS ?= 20
kills: $(VENV)/dev.stamp
	@$(BIN)/python -m wan_pipeline_tests.crash.kills --kills $(KILLS)

# The engine killed at every point, and at every pair of kinds of points (half an hour). PAIRS=all takes
# every pair of points (most of a day), PAIRS=100 takes some by seed.
SEED ?= 7
PAIRS ?= kinds
crash: $(VENV)/dev.stamp
	@$(BIN)/python -m wan_pipeline_tests.crash.crash --pairs $(PAIRS) --seed $(SEED)

# The engine killed at random under random faults.
storm: KILLS = 200
storm: $(VENV)/dev.stamp
	@$(BIN)/python -m wan_pipeline_tests.crash.storm --kills $(KILLS) --seed $(SEED)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/dg check defs

clean:
	rm -rf $(VENV) .venv.lock .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find wan_pipeline wan_pipeline_tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# Versions that were tested together. After a change of pyproject.toml: make lock, make test, commit.
lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-lock/bin/python -m pip install --quiet -e . --group dev
	$(VENV)-lock/bin/python -m pip freeze --exclude-editable --exclude pip > constraints.txt
	rm -rf $(VENV)-lock

$(VENV)/run.stamp: pyproject.toml constraints.txt
	@$(LOCK) sh deploy/install.sh "$(PYTHON)" "$(VENV)" run

$(VENV)/dev.stamp: pyproject.toml constraints.txt
	@$(LOCK) sh deploy/install.sh "$(PYTHON)" "$(VENV)" dev
