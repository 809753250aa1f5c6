"""The table of run strategies, row by row."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from virt.api import core, names, v1
from virt.controller.vm.plan import (
    CreateVmi,
    DeleteVmi,
    Plan,
    SetRunning,
    World,
    kept_finalizers,
    lets_go,
    pending,
    plan,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
START = v1.VirtualMachineStateChangeRequest(action="Start")
START_PAUSED = v1.VirtualMachineStateChangeRequest(action="Start", data={"paused": "true"})
STOP = v1.VirtualMachineStateChangeRequest(action="Stop", uid="u1")
STOP_OTHER = v1.VirtualMachineStateChangeRequest(action="Stop", uid="u0")


def vm(
    strategy: str, *requests: v1.VirtualMachineStateChangeRequest, acted_on: str | None = None,
    retry: str | None = None, finalizers: tuple[str, ...] = (names.VM_CONTROLLER_FINALIZER,), deleted: bool = False,
) -> v1.VirtualMachine:
    failure = v1.VirtualMachineStartFailure(consecutive_fail_count=1, retry_after_timestamp=retry) if retry else None
    return v1.VirtualMachine(
        metadata=core.ObjectMeta(
            name="vm", namespace="n", finalizers=finalizers,
            deletion_timestamp="2026-01-01T00:00:00Z" if deleted else None),
        spec=v1.VirtualMachineSpec(run_strategy=strategy),
        status=v1.VirtualMachineStatus(
            state_change_requests=requests, run_strategy=strategy if acted_on is None else acted_on,
            start_failure=failure),
    )


def vmi(phase: str, *, leaving: bool = False) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="vm", uid="u1", deletion_timestamp="2026-01-01T00:00:00Z" if leaving else None,
                                 finalizers=(names.VM_CONTROLLER_FINALIZER,)),
        status=v1.VirtualMachineInstanceStatus(phase=phase),
    )


@pytest.mark.parametrize(("machine", "creates"), [
    (vm("Always"), True),
    (vm("Halted"), False),
    (vm("Once"), True),
    (vm("Manual"), False),
    (vm("Manual", START), True),
    (vm("RerunOnFailure"), False),
    (vm("RerunOnFailure", START), True),
    (vm("RerunOnFailure", acted_on=""), True),
    (vm("RerunOnFailure", acted_on="Halted"), True),
    (vm("Manual", acted_on="Halted"), False),
    (vm("Manual", STOP, START), True),
    (vm("Always", deleted=True), False),
    (vm("Always", deleted=True, finalizers=("foreign",)), False),
])
def test_without_a_vmi(machine: v1.VirtualMachine, creates: bool) -> None:
    assert plan(World(machine), NOW).actions == ((CreateVmi(),) if creates else ())


@pytest.mark.parametrize(("strategy", "requests", "phase", "deletes"), [
    ("Always", (), "Running", False), ("Always", (), "Succeeded", True), ("Always", (), "Failed", True),
    ("Always", (STOP, START), "Running", True), ("Always", (STOP_OTHER,), "Running", False),
    ("Halted", (), "Running", True), ("Halted", (), "Failed", True), ("Halted", (), "Pending", True),
    ("RerunOnFailure", (), "Running", False), ("RerunOnFailure", (), "Succeeded", True),
    ("RerunOnFailure", (START,), "Failed", True), ("RerunOnFailure", (STOP,), "Running", True),
    ("Manual", (), "Succeeded", False), ("Manual", (), "Failed", False), ("Manual", (STOP,), "Running", True),
    ("Manual", (STOP, START), "Succeeded", True),
    ("Once", (), "Succeeded", False), ("Once", (), "Failed", False), ("Once", (), "Running", False),
])
def test_with_a_vmi(
    strategy: str, requests: tuple[v1.VirtualMachineStateChangeRequest, ...], phase: str, deletes: bool
) -> None:
    there = vmi(phase)
    assert plan(World(vm(strategy, *requests), there), NOW).actions == ((DeleteVmi(there),) if deletes else ())
    leaving = vmi(phase, leaving=True)
    assert plan(World(vm(strategy, *requests), leaving), NOW).actions == ()


def test_a_failed_guest_is_noted_as_a_wish_to_start_before_it_is_deleted() -> None:
    assert plan(World(vm("RerunOnFailure"), vmi("Failed")), NOW) == Plan((), (START,))
    assert plan(World(vm("RerunOnFailure"), vmi("Failed", leaving=True)), NOW) == Plan()


def test_running_true_and_false_are_always_and_halted() -> None:
    machine = vm("Always")
    assert plan(World(replace(machine, spec=v1.VirtualMachineSpec(running=True))), NOW).actions == (CreateVmi(),)
    assert plan(World(replace(machine, spec=v1.VirtualMachineSpec(running=False))), NOW).actions == ()


def test_a_halted_vm_that_shall_start_paused() -> None:
    assert plan(World(vm("Halted", START_PAUSED)), NOW).actions == (SetRunning(),)
    assert plan(World(vm("Always", START_PAUSED)), NOW).actions == (CreateVmi(paused=True),)


@pytest.mark.parametrize(("requests", "phase", "left"), [
    ((START,), "Running", ()), ((START,), "Failed", (START,)), ((START,), None, (START,)),
    ((STOP, START), "Running", (STOP, START)), ((STOP, START), None, (START,)), ((STOP_OTHER, START), "Running", ()),
    ((STOP_OTHER, START), "Failed", (START,)),
])
def test_what_is_done_leaves_the_queue(
    requests: tuple[v1.VirtualMachineStateChangeRequest, ...], phase: str | None,
    left: tuple[v1.VirtualMachineStateChangeRequest, ...],
) -> None:
    assert pending(requests, vmi(phase) if phase else None) == left


def test_a_start_waits_for_the_back_off_unless_the_strategy_changed() -> None:
    later = "2026-01-01T12:00:07Z"
    assert plan(World(vm("Always", retry=later)), NOW) == Plan((), (), 7.0)
    assert plan(World(vm("Always", retry="2026-01-01T11:59:59Z")), NOW).actions == (CreateVmi(),)
    assert plan(World(vm("Always", retry=later, acted_on="Halted")), NOW).actions == (CreateVmi(),)


def test_a_back_off_that_a_wrong_clock_wrote_keeps_no_vm_down() -> None:
    longest, never = "2026-01-01T12:05:00Z", "2027-01-01T12:00:00Z"
    assert plan(World(vm("Always", retry=longest)), NOW).wait_s == 300
    assert plan(World(vm("Always", retry=never)), NOW).actions == (CreateVmi(),)


def test_deletion_takes_the_vmi_first_and_then_lets_go() -> None:
    machine = vm("Always", deleted=True)
    there = vmi("Running")
    assert plan(World(machine, there), NOW).actions == (DeleteVmi(there),)
    assert kept_finalizers(World(machine, there)) == (names.VM_CONTROLLER_FINALIZER,)
    assert kept_finalizers(World(machine)) == ()


def test_an_orphaned_vmi_is_left_alone() -> None:
    machine = vm("Always", deleted=True, finalizers=(names.VM_CONTROLLER_FINALIZER, "orphan"))
    world = World(machine, vmi("Running"))
    assert plan(world, NOW).actions == ()
    assert kept_finalizers(world) == ("orphan",)


@pytest.mark.parametrize(("phase", "leaving", "goes"), [
    ("Running", True, False), ("Failed", False, False), ("Failed", True, True), ("Succeeded", True, True),
])
def test_a_vmi_is_let_go_once_its_end_was_seen(phase: str, leaving: bool, goes: bool) -> None:
    assert lets_go(vmi(phase, leaving=leaving)) is goes
