# Each target is one command that works alone on a fresh machine with python3 (3.11 or newer).
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ACCELERATOR := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
APT := openssl libfaketime orthanc orthanc-python orthanc-dicomweb chromium dcmtk dicom3tools openjph-tools libopenjp2-tools postgresql systemd nginx-light caddy libpixelmed-java default-jre-headless

.PHONY: help demo test lint types check-tools conformance clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.node: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[$(ACCELERATOR)]"
	touch $@

$(VENV)/.tests: $(VENV)/.node
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[$(ACCELERATOR),dev,train]"
	touch $@

demo: $(VENV)/.node  ## Send a phantom study through the node into a PACS; results in demo-out/
	$(BIN)/lumbar-node demo --out demo-out $(DEMO)

check-tools:  ## Install the Debian packages that the tests talk to (as root), or name them
	@missing=$$(for p in $(APT); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends $$missing; \
	  else echo "the tests need these Debian packages; install them as root: $$missing"; exit 1; fi; \
	fi

lint: $(VENV)/.tests  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.tests  ## mypy, strict
	$(BIN)/mypy

test: check-tools lint types  ## Lint, types and every test, on real components
	$(BIN)/pytest -n 2 --dist loadfile

conformance: check-tools $(VENV)/.tests  ## Show results to others' software; STUDY=DIR: those of that study
	$(BIN)/pytest tests/conformance $(if $(STUDY),--study $(STUDY))

clean:  ## Remove what the other targets made
	rm -rf $(VENV) demo-out
