# Targets are one line each; whatever needs an `if` is Python.
PYTHON := .venv/bin/python
READY := .venv/made
WORKERS := 2
# One test at a time to each worker: tests marked serial are sent last, and take the cluster for themselves.
PARALLEL := -n $(WORKERS) --maxschedchunk 1
NAME := $(if $(VIRT_CLUSTER_NAME),$(VIRT_CLUSTER_NAME),dev)

.DEFAULT_GOAL := help
.PHONY: bootstrap check cluster-down cluster-logs cluster-sync cluster-up doctor functest help lint status test unit

bootstrap: $(READY)  ## make .venv with the pinned packages

$(READY): requirements.lock scripts/bootstrap
	scripts/bootstrap

cluster-up: $(READY)  ## bring the dev cluster up
	$(PYTHON) -m cluster_up up

cluster-down: $(READY)  ## take it away
	$(PYTHON) -m cluster_up down

cluster-sync: $(READY)  ## roll out what changed in the source
	$(PYTHON) -m cluster_up sync

cluster-logs: $(READY)  ## collect logs into artifacts/logs
	$(PYTHON) -m cluster_up logs

status: $(READY)  ## what runs
	$(PYTHON) -m cluster_up status

doctor: $(READY)  ## what this machine has and lacks
	$(PYTHON) -m cluster_up doctor

lint: $(READY)  ## ruff, mypy, import contracts
	.venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports

unit: $(READY)  ## unit tests
	$(PYTHON) -m pytest tests

functest: $(READY)  ## functional tests on a running cluster; FILTER=expression
	$(PYTHON) -m pytest functests $(PARALLEL) $(if $(FILTER),-k '$(FILTER)')

check: lint unit  ## what every change must pass

test: lint cluster-up  ## lint, cluster, unit tests, functional tests
	$(PYTHON) -m pytest tests functests $(PARALLEL)

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed 's/:.*## /\t/' | expand -t 16
