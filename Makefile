# Liuhen. `make help` lists what there is.
VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= python3
# Most tests wait for real processes: a few files at a time, also on two cores.
TEST_PROCESSES ?= 4
STAMP := $(VENV)/.installed
# What running needs: the broker, the voice, and what PyAudio is built with.
APT_RUN := ca-certificates espeak-ng gcc mosquitto openssl portaudio19-dev python3-dev python3-venv
# What tests and measurements need besides: a network camera, a sound server, real footage, players.
APT_TEST := ffmpeg gir1.2-gst-rtsp-server-1.0 gpsd gpsd-clients gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly iproute2 libasound2-plugins libfaketime opencv-doc pulseaudio \
	pulseaudio-utils python3-gi xz-utils
.DEFAULT_GOAL := help
.PHONY: help demo test check format bench setup setup-test clean

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Install system packages and the virtual environment

$(STAMP): pyproject.toml Makefile scripts/apt-install
	scripts/apt-install $(APT_RUN)
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[source,panel,uplink,central,dev]'
	touch $(STAMP)

setup-test: $(STAMP)
	scripts/apt-install $(APT_TEST)

demo: setup ## Record, send, receipt, free and prove a short session, all on this machine
	$(PY) -m tests.demo

test: setup-test ## Run all tests
	$(PY) -m pytest -n $(TEST_PROCESSES) --dist loadfile

check: setup ## Lint, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: setup ## Format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: setup-test ## Measure, as ratios in one run
	$(PY) -m tests.bench

clean: ## Remove what the targets above made here
	rm -rf $(VENV) demo-out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
