"""Start, stop and restart: the table of behaviour, one row at a time, and what the patches do to an object."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes import patches
from virt.api import codec, core, kinds, v1
from virt.api.subresources import RestartOptions, StartOptions, StopOptions
from virt.apiserver import runstate
from virt.kube.http import RefusedError


def vm(strategy: str | None = None, *, running: bool | None = None, **status: Any) -> v1.VirtualMachine:
    return v1.VirtualMachine(
        metadata=core.ObjectMeta(name="vm1", namespace="ns", resource_version="7"),
        spec=v1.VirtualMachineSpec(run_strategy=strategy, running=running),
        status=v1.VirtualMachineStatus(**{"printable_status": "Stopped", **status}),
    )


def vmi(phase: str = "Running", grace: int | None = 30) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="vm1", namespace="ns", uid="u1"),
        spec=v1.VirtualMachineInstanceSpec(termination_grace_period_seconds=grace),
        status=v1.VirtualMachineInstanceStatus(phase=phase),
    )


def patched(machine: v1.VirtualMachine, writes: tuple[runstate.Write, ...]) -> v1.VirtualMachine:
    document = codec.to_json(machine)
    for write in writes:
        if write.kind is kinds.VM:
            document = patches.patched(document, write.operations)
    return codec.from_json(document, v1.VirtualMachine)


def requests(machine: v1.VirtualMachine) -> list[tuple[str, str | None]]:
    return [(request.action, request.uid) for request in machine.status.state_change_requests]


def refused(decide: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(RefusedError) as caught:
        decide()
    return caught.value.status.code, caught.value.status.message


def test_start_switches_a_halted_vm_on_in_the_field_that_it_uses() -> None:
    by_strategy, by_running = vm("Halted"), vm(running=False)
    assert patched(by_strategy, runstate.start(by_strategy, None, StartOptions())).spec.run_strategy == "Always"
    started = patched(by_running, runstate.start(by_running, None, StartOptions())).spec
    assert (started.running, started.run_strategy) == (True, None)


def test_start_paused_is_a_request() -> None:
    halted = vm("Halted")
    (request,) = patched(halted, runstate.start(halted, None, StartOptions(paused=True))).status.state_change_requests
    assert (request.action, request.data) == ("Start", {"paused": "true"})


@pytest.mark.parametrize(
    ("strategy", "left", "wanted"),
    [
        ("Manual", None, [("Start", None)]),
        ("Manual", "Failed", [("Stop", "u1"), ("Start", None)]),
        ("Manual", "Succeeded", [("Stop", "u1"), ("Start", None)]),
        ("RerunOnFailure", None, [("Start", None)]),
        ("RerunOnFailure", "Succeeded", [("Stop", "u1"), ("Start", None)]),
    ],
)
def test_start_is_queued_where_the_strategy_waits_for_it(
    strategy: str, left: str | None, wanted: list[tuple[str, str | None]]
) -> None:
    failed = v1.VirtualMachineStartFailure(consecutive_fail_count=2)
    for machine in (vm(strategy), vm(strategy, start_failure=failed), vm(strategy, printable_status="")):
        after = patched(machine, runstate.start(machine, vmi(left) if left else None, StartOptions()))
        assert requests(after) == wanted
        assert after.status.start_failure is None


@pytest.mark.parametrize(
    ("machine", "instance", "code", "message"),
    [
        (vm("Always"), vmi(), 409, "VM is already running"),
        (vm("Halted"), vmi("Scheduling"), 409, "VM is already running"),
        (vm("Always"), None, 409, "Always does not support manual start requests"),
        (vm(running=True), None, 409, "Always does not support manual start requests"),
        (vm("Once"), vmi("Failed"), 409, "Once does not support manual start requests"),
        (vm("RerunOnFailure"), vmi("Failed"), 409, "does not support starting VM from failed state"),
        (vm("Manual", state_change_requests=(v1.VirtualMachineStateChangeRequest(action="Start"),)), None, 500,
         "stop/start already underway"),
        (vm("Halted", conditions=(v1.Condition(type="ManualRecoveryRequired", status="True"),)), None, 409,
         "VM recovery required"),
    ],
)
def test_start_is_refused(
    machine: v1.VirtualMachine, instance: v1.VirtualMachineInstance | None, code: int, message: str
) -> None:
    answered, said = refused(lambda: runstate.start(machine, instance, StartOptions()))
    assert answered == code
    assert message in said


def test_a_restart_in_the_middle_of_a_change_of_volumes_is_refused() -> None:
    moved = v1.StorageMigratedVolumeInfo(volume_name="data")
    state = v1.VolumeUpdateState(volume_migration_state=v1.VolumeMigrationState(migrated_volumes=(moved,)))
    answered, said = refused(
        lambda: runstate.restart(vm("Always", volume_update_state=state), vmi(), RestartOptions()))
    assert answered == 409
    assert "VM recovery required" in said
    assert runstate.restart(vm("Always", volume_update_state=v1.VolumeUpdateState()), vmi(), RestartOptions())


def test_a_conflict_reads_as_kubernetes_writes_it() -> None:
    _, said = refused(lambda: runstate.start(vm("Always"), vmi(), StartOptions()))
    assert said == 'Operation cannot be fulfilled on virtualmachine.kubevirt.io "vm1": VM is already running'


def test_stop_switches_off_or_queues() -> None:
    for machine, instance in ((vm("Always"), None), (vm("Once"), vmi())):
        assert patched(machine, runstate.stop(machine, instance, StopOptions())).spec.run_strategy == "Halted"
    manual = vm("Manual", state_change_requests=(v1.VirtualMachineStateChangeRequest(action="Start"),))
    assert requests(patched(manual, runstate.stop(manual, vmi(), StopOptions()))) == [("Stop", "u1")]


def test_stop_writes_a_grace_period_to_the_vmi_first() -> None:
    first, second = runstate.stop(vm("Always"), vmi(grace=30), StopOptions(grace_period=0))
    assert (first.kind, second.kind) == (kinds.VMI, kinds.VM)
    assert first.operations[-1]["value"] == 0
    (only,) = runstate.stop(vm("Halted"), vmi(grace=30), StopOptions(grace_period=5))
    assert only.kind is kinds.VMI


@pytest.mark.parametrize(
    ("machine", "instance", "grace", "message"),
    [
        (vm("Halted"), None, None, "VM is not running"),
        (vm("Halted"), vmi(), None, "shorter graceperiod"),
        (vm("Halted"), vmi(), 60, "shorter graceperiod"),
        (vm("Manual"), None, None, "VM is not running"),
        (vm("RerunOnFailure"), vmi("Failed"), 0, "VM is not running"),
    ],
)
def test_stop_is_refused(
    machine: v1.VirtualMachine, instance: v1.VirtualMachineInstance | None, grace: int | None, message: str
) -> None:
    code, said = refused(lambda: runstate.stop(machine, instance, StopOptions(grace_period=grace)))
    assert code == 409
    assert message in said


def test_restart_queues_both_and_can_force() -> None:
    machine = vm("Always")
    assert requests(patched(machine, runstate.restart(machine, vmi(), RestartOptions()))) == [
        ("Stop", "u1"), ("Start", None)]
    grace, _ = runstate.restart(machine, vmi(), RestartOptions(grace_period_seconds=0))
    assert grace.operations[-1]["value"] == runstate.FORCED_GRACE_S


@pytest.mark.parametrize(
    ("machine", "instance", "grace", "code", "message"),
    [
        (vm("Always"), vmi(), 3, 400, "only gracePeriod=0"),
        (vm("Halted"), vmi(), None, 409, "Halted does not support manual restart requests"),
        (vm("Once"), vmi(), None, 409, "Once does not support"),
        (vm("Always"), None, None, 409, "VM is not running: Halted"),
    ],
)
def test_restart_is_refused(
    machine: v1.VirtualMachine, instance: v1.VirtualMachineInstance | None, grace: int | None, code: int, message: str
) -> None:
    answered, said = refused(lambda: runstate.restart(machine, instance, RestartOptions(grace_period_seconds=grace)))
    assert answered == code
    assert message in said
