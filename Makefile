# make run: trains on a real Atari game through the whole pipeline.   make test: proves it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
DONE := $(VENV)/.setup-done
# A process a core, eight at most. A file's tests stay together: they share what they train.
PYTEST = $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile

# As in src/meme57/privacy.py: for the programs that are started here without our code.
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export ORT_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0
export RAY_USAGE_STATS_REPORT_URL := http://127.0.0.1:9
export OMP_NUM_THREADS ?= 1

.PHONY: run test test-full setup own-venv lint benchmark ladder ladder-learning ablations games nightly chaos chaos-ray audit ui viz docs docs-serve lock clean

run: $(DONE)
	$(BIN)/python -m kedro run

test: $(DONE) lint
	$(PYTEST) -m "not slow and not cuda"

test-full: $(DONE) lint
	$(PYTEST) -m "not cuda"

setup: $(DONE)

$(DONE): requirements.lock pyproject.toml | own-venv
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"meme57 needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: make $(MAKECMDGOALS) PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet "$(TORCH)" $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)")
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $(DONE)

# A .venv that was copied, moved or linked runs the code of the folder that it was made in, which its pip names.
own-venv:
	@if test -e $(VENV) || test -L $(VENV); then \
	$(BIN)/python -c pass 2>/dev/null && head -n 2 $(BIN)/pip 2>/dev/null | grep -qF "$$(pwd -P)/$(BIN)/" || \
	{ echo "$(VENV) was not made in $$(pwd -P), or its Python is gone: \`make clean\` removes it, then type make again" >&2; exit 1; }; fi

lint: $(DONE)
	$(BIN)/ruff check src tests benchmarks docs experiments
	$(BIN)/ruff format --check --quiet src tests benchmarks docs experiments
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

benchmark: $(DONE)
	$(BIN)/python benchmarks/run.py

# The evidence of docs/results.md and docs/notebook.md; hours. They skip what is done, so they can be stopped and started again.
ladder: $(DONE)
	$(BIN)/python benchmarks/exploration.py --processes 2
	$(BIN)/python docs/generate

ladder-learning: $(DONE)
	$(BIN)/python benchmarks/exploration.py --processes 2 --parts learning
	$(BIN)/python docs/generate

ablations: $(DONE)
	$(BIN)/python -m kedro run --env ablations
	$(BIN)/python benchmarks/evidence.py ablations
	$(BIN)/python docs/generate

games: $(DONE)
	$(BIN)/python -m kedro run --env games
	$(BIN)/python benchmarks/evidence.py games
	$(BIN)/python docs/generate

# All four; by their parts, some sixteen hours on two cores (estimated, not run in one piece).
nightly: ladder ladder-learning games ablations

chaos: $(DONE)
	$(BIN)/python benchmarks/chaos.py --kills 60 --seed 1

# Breaks actors, machines and cables of a Ray cluster. Needs root, for network namespaces.
chaos-ray: $(DONE)
	$(BIN)/python benchmarks/chaos_ray.py --faults 36 --seed 1

# Known vulnerabilities of the locked versions. Without pip-audit or its advisory service: "not run", and why.
audit: $(DONE)
	@$(BIN)/python -c "import pip_audit" 2>/dev/null || { echo "audit not run: pip-audit is not installed ($(BIN)/python -m pip install pip-audit)"; exit 0; }; \
	words=$$($(BIN)/python -m pip_audit -r requirements.lock --disable-pip --require-hashes --strict --progress-spinner off 2>&1); status=$$?; \
	case "$$words" in \
	*"No known vulnerabilities"*|*"known vulnerabilit"*) echo "$$words"; exit $$status ;; \
	*) echo "audit not run: $$(echo "$$words" | tail -n 1)" ;; \
	esac

ui: $(DONE)
	$(BIN)/mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///mlruns/mlflow.db

viz: $(DONE)
	$(BIN)/meme57 ui --no-mlflow --no-optuna

# The generated parts brought up to date, then the site, in build/site. Any broken link stops it.
docs: $(DONE)
	$(BIN)/python docs/generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(DONE)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --strict --dev-addr 127.0.0.1:8000

lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--override requirements.override --no-header --no-annotate -o requirements.lock

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
