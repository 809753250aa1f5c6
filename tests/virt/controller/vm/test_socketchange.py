"""A template with other sockets than its running guest: each case of it."""

from typing import Any

import pytest
from msgspec.structs import replace

from virt.api import codec, conditions, resize, v1
from virt.api.clusterconfig import ClusterConfig
from virt.controller.vm import socketchange
from virt.controller.vm.liveupdate import as_admitted
from virt.controller.vm.socketchange import Change, change

NOW = "2026-01-01T12:00:00Z"
CONFIG = ClusterConfig()
MIGRATING = v1.VirtualMachineInstanceMigrationState(migration_uid="m")
MOVED = replace(MIGRATING, completed=True)


def spec(**domain: Any) -> v1.VirtualMachineInstanceSpec:
    return as_admitted(codec.from_json({"architecture": "amd64", "domain": {
        "cpu": {"sockets": 2}, **domain}}, v1.VirtualMachineInstanceSpec))


def vmi(
    *told: v1.Condition, state: v1.VirtualMachineInstanceMigrationState | None = None, **domain: Any
) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        spec=spec(**{"cpu": {"sockets": 2, "maxSockets": 8}, **domain}),
        status=v1.VirtualMachineInstanceStatus(
            phase="Running", conditions=told, migration_state=state))


def condition(kind: str, status: str = "True") -> v1.Condition:
    return v1.Condition(type=kind, status=status, message="so")


def test_a_guest_that_has_what_is_asked_for_is_left_alone() -> None:
    assert change(spec(), vmi(), CONFIG, NOW) == Change()
    assert change(spec(), vmi(state=MIGRATING), CONFIG, NOW) == Change()


def test_more_sockets_are_written_with_the_condition_and_what_was_asked_of_the_node() -> None:
    given = vmi(state=MOVED, cpu={"sockets": 2, "cores": 3, "maxSockets": 8}, resources={
        "requests": {"cpu": "1500m", "memory": "2Gi"}, "limits": {"cpu": "6"}})
    found = change(spec(cpu={"sockets": 4, "cores": 3}), given, CONFIG, NOW)
    assert found.vmi is not None
    assert (found.restart, found.fault) == ("", None)
    assert found.vmi.spec.domain.cpu == replace(given.spec.domain.cpu or v1.CPU(), sockets=4)
    assert found.vmi.spec.domain.resources.requests == {"cpu": "2100m", "memory": "2Gi"}
    assert found.vmi.spec.domain.resources.limits == {"cpu": "6600m"}
    assert conditions.is_true(found.vmi.status.conditions, resize.CPUS)


@pytest.mark.parametrize(("asked", "given", "restart"), [
    (spec(cpu={"sockets": 9}), vmi(), socketchange.TOO_MANY_SOCKETS),
    (spec(cpu={"sockets": 3}), vmi(cpu={"sockets": 2}), socketchange.TOO_MANY_SOCKETS),
    (spec(cpu={"sockets": 1}), vmi(), socketchange.FEWER_SOCKETS),
    (spec(cpu={"sockets": 3}, devices={"networkInterfaceMultiqueue": True}), vmi(), socketchange.SOCKETS_OF_QUEUES),
    (spec(cpu={"sockets": 3}), vmi(condition("LiveMigratable", "False")), "leave its node: so"),
    (spec(), vmi(condition(resize.CPUS, "False")), socketchange.CPUS_FAILED),
])
def test_what_takes_a_restart(
    asked: v1.VirtualMachineInstanceSpec, given: v1.VirtualMachineInstance, restart: str
) -> None:
    found = change(asked, given, CONFIG, NOW)
    assert restart in found.restart
    assert found.restart
    assert (found.vmi, found.fault) == (None, None)


@pytest.mark.parametrize(("given", "words"), [
    (vmi(condition(resize.CPUS)), "another CPU hotplug is in progress"),
    (vmi(state=MIGRATING), "CPU hotplug is not allowed while VMI is migrating"),
])
def test_a_second_change_waits_for_the_first(given: v1.VirtualMachineInstance, words: str) -> None:
    found = change(spec(cpu={"sockets": 3}), given, CONFIG, NOW)
    assert (found.vmi, found.restart) == (None, "")
    assert found.fault is not None
    assert (found.fault.type, found.fault.reason) == ("Failure", "HotPlugCPUError")
    assert words in found.fault.message
