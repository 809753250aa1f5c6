# Targets are one line each; whatever needs an `if` is Python.
PYTHON := .venv/bin/python
WORKERS := 2
# One test at a time to each worker: tests marked serial are sent last, and take the cluster for themselves.
PARALLEL := -n $(WORKERS) --maxschedchunk 1
NAME := $(if $(VIRT_CLUSTER_NAME),$(VIRT_CLUSTER_NAME),dev)

.DEFAULT_GOAL := help
.PHONY: bootstrap catalogue check cluster-down cluster-logs cluster-sync cluster-up doctor functest help lint report
.PHONY: status test unit

bootstrap: $(PYTHON)  ## make .venv with the pinned packages

$(PYTHON): requirements.lock scripts/bootstrap
	scripts/bootstrap

cluster-up: $(PYTHON)  ## bring the dev cluster up
	$(PYTHON) -m cluster_up up

cluster-down: $(PYTHON)  ## take it away
	$(PYTHON) -m cluster_up down

cluster-sync: $(PYTHON)  ## roll out what changed in the source
	$(PYTHON) -m cluster_up sync

cluster-logs: $(PYTHON)  ## collect logs into artifacts/logs
	$(PYTHON) -m cluster_up logs

status: $(PYTHON)  ## what runs
	$(PYTHON) -m cluster_up status

doctor: $(PYTHON)  ## what this machine has and lacks
	$(PYTHON) -m cluster_up doctor

lint: $(PYTHON)  ## ruff, mypy, import contracts
	.venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports

unit: $(PYTHON)  ## unit tests
	$(PYTHON) -m pytest tests

functest: $(PYTHON)  ## functional tests on a running cluster; FILTER=expression
	$(PYTHON) -m pytest functests $(PARALLEL) $(if $(FILTER),-k '$(FILTER)')

report: $(PYTHON)  ## verdict of the last functional run
	$(PYTHON) -m functests.verdict

catalogue: $(PYTHON)  ## functional cases: tested, missing, last red; AREA=LIF
	$(PYTHON) -m functests.catalogue $(AREA)

check: lint unit  ## what every change must pass

test: lint cluster-up  ## lint, cluster, unit tests, functional tests
	$(PYTHON) -m pytest tests functests $(PARALLEL)

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed 's/:.*## /\t/' | expand -t 16
