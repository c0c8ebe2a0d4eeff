# `make` alone lists the targets: those with a line behind `##`.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
# Without an NVIDIA driver pip also looks where torch is built for the CPU alone: that build counts as newer, and pip's
# own brings gigabytes of CUDA. Where that place cannot be reached, pip takes its own. TORCH_INDEX names another place.
CPU_TORCH := --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu
HAS_NVIDIA := $(wildcard /proc/driver/nvidia/version /dev/nvidiactl /dev/dxg)
FROM := $(if $(TORCH_INDEX),--index-url "$(TORCH_INDEX)",$(if $(HAS_NVIDIA),,$(CPU_TORCH)))
DONE := $(VENV)/.setup-done
SLIM := $(VENV)/.setup-slim
# What the run needs: the full set-up, or the slim one where only that was asked for.
READY := $(if $(wildcard $(SLIM)),$(SLIM),$(DONE))
# A process a core, eight at most. A file's tests stay together: they share what they train. They are of a CPU, so a GPU is
# hidden from them; those marked cuda are run by benchmarks/gpu_check.py.
PYTEST = CUDA_VISIBLE_DEVICES= $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile

COMPILE = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --override requirements.override \
	--no-header --no-annotate
SLIM_EXTRAS := --extra dvc --extra onnx --extra viz --extra minigrid --extra tensorboard

# As in src/meme57/privacy.py: for the programs that are started here without our code.
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export ORT_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export RAY_USAGE_STATS_ENABLED := 0
export RAY_USAGE_STATS_REPORT_URL := http://127.0.0.1:9
export OMP_NUM_THREADS ?= 1

.PHONY: help run test test-full setup setup-slim own-venv lint benchmark ladder ladder-learning ablations games nightly chaos chaos-ray audit docs docs-serve lock clean

help:  ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY)  ## trains on a real Atari game, through the whole flow; sets up first
	$(BIN)/python -m kedro run

test: $(DONE) lint  ## lint, types, import rules and the tests
	$(PYTEST) -m "not slow and not cuda"

test-full: $(DONE) lint  ## the same with the slow tests
	$(PYTEST) -m "not cuda"

setup: $(DONE)  ## installs everything into .venv

setup-slim: $(if $(wildcard $(DONE)),$(DONE),$(SLIM))  ## the same without Ray and what tests and docs need

# Sizes on disk, measured on Linux with Python 3.11 and the CPU build of torch 2.13.0.
$(DONE): LOCK := requirements.lock
$(DONE): LOCKED_SIZE := 2.0 GB
$(SLIM): LOCK := requirements-slim.lock
$(SLIM): LOCKED_SIZE := 1.5 GB
$(DONE) $(SLIM): pyproject.toml | own-venv
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"meme57 needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: make $(MAKECMDGOALS) PYTHON=python3.11")'
	@echo "set-up 1/4: a virtual environment in $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "set-up 2/4: $(TORCH), $(if $(TORCH_INDEX),from $(TORCH_INDEX),$(if $(HAS_NVIDIA),with CUDA: gigabytes,for the CPU (no NVIDIA driver here): 0.8 GB on disk))"
	@$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install --quiet "$(TORCH)" $(FROM)
	@echo "set-up 3/4: the $$(grep -c == $(LOCK)) packages of $(LOCK), about $(LOCKED_SIZE) on disk"
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r $(LOCK)
	@echo "set-up 4/4: meme57 itself"
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@rm -f $(SLIM)
	@touch $@
	@echo "set up: $(VENV) has $$(du -sh $(VENV) | cut -f 1)"

$(DONE): requirements.lock
$(SLIM): requirements-slim.lock

# A .venv that was copied, moved or linked runs the code of the folder that it was made in, which its pip names.
own-venv:
	@if test -e $(VENV) || test -L $(VENV); then \
	$(BIN)/python -c pass 2>/dev/null && head -n 2 $(BIN)/pip 2>/dev/null | grep -qF "$$(pwd -P)/$(BIN)/" || \
	{ echo "$(VENV) was not made in $$(pwd -P), or its Python is gone: \`make clean\` removes it, then repeat this command" >&2; exit 1; }; fi

lint: $(DONE)  ## ruff, mypy and the import rules
	$(BIN)/ruff check src tests benchmarks docs experiments
	$(BIN)/ruff format --check --quiet src tests benchmarks docs experiments
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

benchmark: $(DONE)  ## measures the figures of docs/performance.md
	$(BIN)/python benchmarks/run.py

# The evidence of docs/results.md and docs/notebook.md; hours. They skip what is done, so they can be stopped and started again.
ladder: $(DONE)  ## the exploration ladder of docs/results.md; hours
	$(BIN)/python benchmarks/exploration.py --processes 2
	$(BIN)/python docs/generate

ladder-learning: $(DONE)  ## the ladder with parts of learning left out; hours
	$(BIN)/python benchmarks/exploration.py --processes 2 --parts learning
	$(BIN)/python docs/generate

ablations: $(DONE)  ## Pong with each part of the agent switched off; hours
	$(BIN)/python -m kedro run --env ablations
	$(BIN)/python benchmarks/evidence.py ablations
	$(BIN)/python docs/generate

games: $(DONE)  ## four real games with three seeds each; hours
	$(BIN)/python -m kedro run --env games
	$(BIN)/python benchmarks/evidence.py games
	$(BIN)/python docs/generate

# All four; by their parts, some sixteen hours on two cores (estimated, not run in one piece).
nightly: ladder ladder-learning games ablations  ## the four before; about sixteen hours

chaos: $(DONE)  ## kills a run sixty times
	$(BIN)/python benchmarks/chaos.py --kills 60 --seed 1

# Breaks actors, machines and cables of a Ray cluster. Needs root, for network namespaces.
chaos-ray: $(DONE)  ## breaks actors, machines and cables of a Ray cluster; needs root
	$(BIN)/python benchmarks/chaos_ray.py --faults 36 --seed 1

# Known vulnerabilities of the locked versions. Without pip-audit or its advisory service: "not run", and why.
audit: $(DONE)  ## known vulnerabilities of the locked versions
	@$(BIN)/python -c "import pip_audit" 2>/dev/null || { echo "audit not run: pip-audit is not installed ($(BIN)/python -m pip install pip-audit)"; exit 0; }; \
	words=$$($(BIN)/python -m pip_audit -r requirements.lock --disable-pip --require-hashes --strict --progress-spinner off 2>&1); status=$$?; \
	case "$$words" in \
	*"No known vulnerabilities"*|*"known vulnerabilit"*) echo "$$words"; exit $$status ;; \
	*) echo "audit not run: $$(echo "$$words" | tail -n 1)" ;; \
	esac

# The generated parts brought up to date, then the site, in build/site. Any broken link stops it.
docs: $(DONE)  ## brings the generated pages up to date and builds the site in build/site
	$(BIN)/python docs/generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(DONE)  ## shows the documentation on 127.0.0.1:8000
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --strict --dev-addr 127.0.0.1:8000

lock:  ## resolves the locked versions again; needs uv
	$(COMPILE) --all-extras -o requirements.lock
	$(COMPILE) $(SLIM_EXTRAS) --constraint requirements.lock -o requirements-slim.lock

clean:  ## removes .venv, build, dist and the caches of the tools
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
