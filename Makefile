# Targets are one line each; whatever needs an `if` is Python.
PYTHON := .venv/bin/python
READY := .venv/made
# auto: as many as this machine can use; tests are admitted one by one (functests/scheduling).
WORKERS := auto
PARALLEL := -n $(WORKERS)
N := 20
NAME := $(if $(VIRT_CLUSTER_NAME),$(VIRT_CLUSTER_NAME),dev)

.DEFAULT_GOAL := help
.PHONY: bootstrap catalogue check cluster-down cluster-logs cluster-sync cluster-up doctor first-vm functest functest-changed
.PHONY: functest-clean functest-flake help lint mutations report sriov-core status test unit

bootstrap: $(READY)  ## make .venv with the pinned packages

$(READY): requirements.lock scripts/bootstrap
	scripts/bootstrap

cluster-up: $(READY)  ## bring the dev cluster up; LANE=sriov: with a worker that has SR-IOV cards, MACHINES=2: two
	$(PYTHON) -m cluster_up up $(if $(filter sriov,$(LANE)),--machines $(or $(MACHINES),1))

cluster-down: $(READY)  ## take the dev cluster away; the cache stays
	$(PYTHON) -m cluster_up down

cluster-sync: $(READY)  ## roll out what changed in the source
	$(PYTHON) -m cluster_up sync

cluster-logs: $(READY)  ## collect logs into artifacts/logs
	$(PYTHON) -m cluster_up logs

first-vm: $(READY)  ## a small VM in the dev cluster, and its console: Enter for a root shell, Ctrl-] leaves
	$(PYTHON) -m cluster_up first-vm

status: $(READY)  ## what runs in the dev cluster, and whether it is well
	$(PYTHON) -m cluster_up status

doctor: $(READY)  ## what this machine has and lacks
	$(PYTHON) -m cluster_up doctor

lint: $(READY)  ## ruff, mypy, import contracts
	.venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/lint-imports

unit: $(READY)  ## unit tests
	$(PYTHON) -m pytest tests -q -n 2

functest: $(READY)  ## functional tests on a running cluster; LANE=tier1 FILTER=expression WORKERS=4
	$(PYTHON) -m pytest functests $(PARALLEL) $(if $(LANE),--lane '$(LANE)') $(if $(FILTER),-k '$(FILTER)')

functest-flake: $(READY)  ## one test many times: TEST=functests/console/test_console.py N=20
	$(PYTHON) -m pytest $(or $(TEST),$(error TEST is missing: make functest-flake TEST=functests/console/test_console.py N=20)) $(PARALLEL) --repeat '$(N)'

functest-changed: $(READY)  ## tests that a change touches or affects, five times in random order; BASE=main
	$(PYTHON) -m functests.scheduling.changed $(if $(BASE),--base $(BASE)) -- $(PARALLEL)

functest-clean: $(READY)  ## remove what killed functional runs left; every run does so before its first test
	$(PYTHON) -m functests.scheduling.leftovers

sriov-core: $(READY)  ## lane sriov-core with a worker for it, where 8 GiB of memory are free
	$(PYTHON) -m functests.scheduling.core

report: $(READY)  ## verdict of the last functional run
	$(PYTHON) -m functests.verdict

catalogue: $(READY)  ## functional cases: tested, missing, last red; AREA=LIF
	$(PYTHON) -m functests.catalogue $(AREA)

mutations: $(READY)  ## break the product in small ways, one by one: do the tests notice? ID=compute-1a
	$(PYTHON) -m tests.mutations $(ID)

check: lint unit  ## what every change must pass

test: lint unit cluster-up  ## lint, unit tests, cluster, the functional tests that gate every change
	$(PYTHON) -m pytest functests $(PARALLEL) --lane tier1

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed 's/:.*## /\t/' | expand -t 18
