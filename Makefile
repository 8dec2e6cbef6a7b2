# Set up, run, test and measure Headrace on one machine. `make` alone lists the targets.

# The first Python 3.11 or later on PATH; choose another with PYTHON=/path/to/python.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
# Package index to install torch from. Without a GPU, use the CPU build, which is a tenth of the size:
#   make setup TORCH_INDEX=URL     (the index URL on torch's installation page for "CPU")
TORCH_INDEX ?=
# Options of `make run`, for example: make run SOURCE=archive ARCHIVE=dir FROM=2026-01-31 TO=2026-01-31
SOURCE ?=
ARCHIVE ?=
BASE_URL ?=
FROM ?=
TO ?=
DATA_DIR ?= .headrace
ARGS ?=
# Of `make docs`: links to code lead there, for example SOURCE_URL=https://HOST/OWNER/headrace/blob/main/
SOURCE_URL ?=
# The tests of a file run in one worker, because they share servers that are slow to start. Four workers for two cores,
# because tests often wait.
PYTEST_ARGS ?= -n 4 --dist loadfile

# Python keeps what it compiled, also where the environment says otherwise: the tests start hundreds of processes, and
# compiling its modules takes each of them a quarter of its start.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Measured size of the environment in MB: with the CPU build of torch, or with the default torch (CUDA libraries).
NEEDED_MB := $(if $(TORCH_INDEX),2000,7000)

SHELL := bash
.SHELLFLAGS := -o pipefail -c
# Drops pip's lines about installed packages.
NEWS := awk '!/^Requirement already satisfied/ { print; fflush() }'

.DEFAULT_GOAL := help
.PHONY: help setup run observability test test-quick test-long faults attack upgrade-test lint images locks \
	compose-test kubernetes-tools kubernetes-test bench bench-fetch bench-broker bench-load bench-growth bench-replay \
	bench-predict bench-scale bench-frames pictures docs dist dist-test clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Create the environment in .venv (fast if it exists)

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or later found: install one, or set PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot create environments: install its venv package (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@free_mb=$$(df -Pm . | awk 'NR == 2 { print $$4 }'); \
	if ! ls -d $(VENV)/lib/python3*/site-packages/torch >/dev/null 2>&1 && test "$$free_mb" -lt $(NEEDED_MB); then \
		echo "make: $$free_mb MB are free here and the environment needs $(NEEDED_MB): free some$(if $(TORCH_INDEX),, or use the CPU build of torch: TORCH_INDEX=URL of its package index)" >&2; exit 1; fi
	@test -x $(BIN)/python || { echo "creating the environment in $(VENV) with $$("$(PYTHON)" --version)"; "$(PYTHON)" -m venv $(VENV); }
	@echo "installing packages into $(VENV); the first time takes a few minutes, most of them for torch"
	@if test -n "$(TORCH_INDEX)"; then \
		torch=$$($(BIN)/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); print(next(d for d in p['project']['optional-dependencies']['predictor'] if d.startswith('torch')))"); \
		echo "$$torch from $(TORCH_INDEX)"; \
		$(BIN)/python -m pip install --disable-pip-version-check --index-url "$(TORCH_INDEX)" "$$torch" | $(NEWS) \
			|| { echo "make: cannot install torch from $(TORCH_INDEX); see the lines above for the cause" >&2; exit 1; }; fi
	@$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]' | $(NEWS) \
		|| { echo "make: cannot install the packages; see the lines above for the cause, then run 'make setup' again" >&2; exit 1; }
	@touch $@
	@echo "the environment is ready"

run: $(STAMP) ## Run the pipeline, by default a demonstration (SOURCE= ARCHIVE= FROM= TO= BASE_URL= DATA_DIR= ARGS=)
	@$(BIN)/headrace run --data-dir "$(DATA_DIR)" $(if $(SOURCE),--source "$(SOURCE)") $(if $(ARCHIVE),--archive "$(ARCHIVE)") \
		$(if $(BASE_URL),--base-url "$(BASE_URL)") $(if $(FROM),--from "$(FROM)") $(if $(TO),--to "$(TO)") \
		$(if $(filter archive,$(SOURCE)),--once) $(ARGS)

observability: $(STAMP) ## Start Prometheus and Alertmanager for a local run (DATA_DIR=; Debian: apt install prometheus)
	@$(BIN)/python -m deploy.prometheus.local --data-dir "$(DATA_DIR)" $(ARGS)

test: $(STAMP) ## Run all tests but the long ones (PYTEST_ARGS= for more)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-quick: $(STAMP) ## Run the fast tests, without Kafka and recorded days (under three minutes)
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not kafka and not recorded and not slow"

test-long: $(STAMP) ## Run the tests that are not in `make test` because they take minutes
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m long

faults: $(STAMP) ## Run the fault suite: kills, cut connections, restarts, accidents (ARGS=, docs/faults.md)
	@$(BIN)/python -m tests.faults $(ARGS)

attack: $(STAMP) ## Attack the admin APIs while a live day runs (two minutes; ARGS=--help)
	@$(BIN)/python -m tests.attack $(ARGS)

upgrade-test: $(STAMP) ## Upgrade an earlier version in place, with records in flight (FROM=REVISION ARGS=)
	@$(BIN)/python -m tests.upgrade $(FROM) $(ARGS)

lint: $(STAMP) ## Check style, format, types and Dockerfiles
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/hadolint deploy/docker/*.Dockerfile
	@$(BIN)/mypy

images: $(STAMP) ## Build all images (needs Docker with compose; TORCH_INDEX_URL= for the CPU build of torch)
	@cd deploy && ./make-secrets && HEADRACE_IMAGE_VERSION=$$(../$(BIN)/headrace --version) \
		HEADRACE_IMAGE_REVISION=$$(git rev-parse HEAD) HEADRACE_IMAGE_SOURCE=$$(git remote get-url origin 2>/dev/null) \
		docker compose --profile '*' build $(ARGS)

locks: $(STAMP) ## Write deploy/locks, the packages of the images (ARGS=--upgrade for the newest versions)
	@deploy/make-locks $(ARGS)

compose-test: $(STAMP) ## Run the compose file, with faults, on a Docker engine (an hour on two cores, 20 GB; ARGS=)
	@HEADRACE_ENGINE=1 $(BIN)/python -m pytest -m engine tests/deploy/containers $(ARGS)

kubernetes-tools: $(STAMP) ## Fetch helm, kubectl, kubeconform and schemas for the tests of the chart (needs Go)
	@$(BIN)/python -m tests.deploy.kubernetes.tools

kubernetes-test: kubernetes-tools ## Install, upgrade and break the chart on a real API server (needs Go; the first build takes 10 minutes)
	@$(BIN)/python -m tests.deploy.kubernetes.control_plane.build
	@HEADRACE_KUBERNETES=1 $(BIN)/python -m pytest -m kubernetes tests/deploy/kubernetes $(ARGS)

bench: $(STAMP) ## Measure speed and memory on a recorded archive
	@$(BIN)/python -m bench $(ARGS)

bench-fetch: $(STAMP) ## Measure a back-fill of recorded days, next to a bare thread pool that downloads (ARGS=)
	@$(BIN)/python -m bench.fetch $(ARGS)

bench-broker: $(STAMP) ## Measure the brokers and a bare Kafka loop (needs Java and Maven, or ARGS="--kafka HOST:PORT")
	@$(BIN)/python -m bench.broker $(ARGS)

bench-load: $(STAMP) ## Measure the loader, next to a bare COPY and other loaders (needs Java and Maven; ARGS=)
	@$(BIN)/python -m bench.load $(ARGS)

bench-growth: $(STAMP) ## Load years of made-up events month by month: rate, sizes, autovacuum (ARGS="--archives 14": ten years)
	@$(BIN)/python -m bench.growth $(ARGS)

bench-replay: $(STAMP) ## Measure live latency with and without a replay (ARGS=)
	@$(BIN)/python -m bench.replay $(ARGS)

bench-predict: $(STAMP) ## Measure the model's quality and speed on a recorded archive (ARGS=)
	@$(BIN)/python -m bench.predict $(ARGS)

bench-scale: $(STAMP) ## Measure each stage by replicas on both brokers (half an hour; ARGS=--write updates docs/scaling.md)
	@$(BIN)/python -m bench.scale $(ARGS)

bench-frames: $(STAMP) ## Measure reading a million rows into pandas, next to pandas.read_sql (ARGS=)
	@$(BIN)/python -m bench.frames $(ARGS)

pictures: $(STAMP) ## Draw the pictures of the documents from a demonstration (needs Chromium; ARGS=--help)
	@$(BIN)/python -m tests.documents.pictures $(ARGS)

docs: $(STAMP) ## Build the documentation site in site/ (SOURCE_URL= address of the repository's files at a Git host)
	@$(BIN)/python -m website --site site $(if $(SOURCE_URL),--source-url "$(SOURCE_URL)")
	@echo "open site/index.html in a browser; the site needs no server and no network"

dist: $(STAMP) ## Build the wheel and the source distribution in dist/
	@rm -rf build dist
	@log=$$($(BIN)/python -m build --no-isolation --outdir dist . 2>&1) || { echo "$$log" >&2; exit 1; }; tail -n 1 <<< "$$log"

dist-test: $(STAMP) ## Install the wheel into an empty environment and run the demonstration there (four minutes)
	@HEADRACE_DEMONSTRATION=1 $(BIN)/python -m pytest tests/distribution $(ARGS)

clean: ## Remove the environment, caches and build output; keep the data
	@rm -rf $(VENV) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.*' -prune -exec rm -rf {} +
	@echo "removed the environment, caches and build output; kept the data in $(DATA_DIR)"
