from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from virt.api import conditions, core, v1
from virt.controller.vm.plan import Plan, World
from virt.controller.vm.printable import printable_status
from virt.controller.vm.status import delay_s, start_failure, updated

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def vm(strategy: str = "Always", *, deleted: bool = False, **status: object) -> v1.VirtualMachine:
    return v1.VirtualMachine(
        metadata=core.ObjectMeta(
            name="vm", generation=3, deletion_timestamp="2026-01-01T00:00:00Z" if deleted else None),
        spec=v1.VirtualMachineSpec(run_strategy=strategy),
        status=v1.VirtualMachineStatus(**{"run_strategy": strategy, **status}),  # type: ignore[arg-type]
    )


def vmi(
    phase: str, *found: v1.Condition, leaving: bool = False, ran: bool = False, generation: str = "3"
) -> v1.VirtualMachineInstance:
    phases = ("Pending", "Running", phase) if ran else ("Pending", phase)
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(
            name="vm", uid="u1", deletion_timestamp="2026-01-01T00:00:00Z" if leaving else None,
            annotations={"kubevirt.io/vm-generation": generation}),
        status=v1.VirtualMachineInstanceStatus(
            phase=phase, conditions=found,
            phase_transition_timestamps=tuple(v1.PhaseTransitionTimestamp(phase=name) for name in phases)),
    )


def false(type_: str, reason: str) -> v1.Condition:
    return v1.Condition(type=type_, status="False", reason=reason)


PAUSED = v1.Condition(type="Paused", status="True")
FAILURE = v1.VirtualMachineStartFailure(consecutive_fail_count=1, last_failed_vmi_uid="u0", retry_after_timestamp="x")
PENDING_CLAIM = {"data": core.PersistentVolumeClaim(status=core.PersistentVolumeClaimStatus(phase="Pending"))}


@pytest.mark.parametrize(("world", "failure", "word"), [
    (World(vm(deleted=True), vmi("Running")), None, "Terminating"),
    (World(vm(), vmi("Running", leaving=True)), None, "Stopping"),
    (World(vm(), vmi("Running", PAUSED)), None, "Paused"),
    (World(vm(), vmi("Running")), None, "Running"),
    (World(vm(), vmi("Pending", false("Synchronized", "FailedPvcNotFound"), false("PodScheduled", "Unschedulable"))),
     None, "ErrorPvcNotFound"),
    (World(vm(), vmi("Scheduling", false("PodScheduled", "Unschedulable"))), None, "ErrorUnschedulable"),
    (World(vm(), vmi("Scheduling"), PENDING_CLAIM), None, "WaitingForVolumeBinding"),
    (World(vm("Halted"), None, PENDING_CLAIM), None, "Stopped"),
    (World(vm(), vmi("Scheduling", false("Synchronized", "ErrImagePull"))), None, "ErrImagePull"),
    (World(vm(), vmi("Scheduling", false("Synchronized", "ImagePullBackOff"))), None, "ImagePullBackOff"),
    (World(vm(), vmi("Scheduled")), None, "Starting"),
    (World(vm(), vmi("Failed")), FAILURE, "CrashLoopBackOff"),
    (World(vm()), FAILURE, "CrashLoopBackOff"),
    (World(vm("Manual"), vmi("Succeeded")), None, "Stopped"),
    (World(vm("Manual"), vmi("Failed", PAUSED, false("Synchronized", "ErrImagePull"))), None, "Stopped"),
    (World(vm(), vmi("Odd")), None, "Unknown"),
])
def test_the_word_that_kubectl_shows(world: World, failure: v1.VirtualMachineStartFailure | None, word: str) -> None:
    assert printable_status(world, v1.VirtualMachineStatus(start_failure=failure)) == word


@pytest.mark.parametrize(("count", "least", "most"), [(1, 10, 15), (2, 40, 60), (3, 90, 135), (6, 300, 300)])
def test_delays_grow_with_the_square(count: int, least: float, most: float) -> None:
    assert (delay_s(count, 0.0), delay_s(count, 1.0)) == (least, most)


def test_each_failed_start_is_counted_once() -> None:
    first = start_failure(vm(start_failure=FAILURE), vmi("Failed"), NOW, 0.0)
    assert first == v1.VirtualMachineStartFailure(
        consecutive_fail_count=2, last_failed_vmi_uid="u1", retry_after_timestamp="2026-01-01T12:00:40Z")
    assert start_failure(vm(start_failure=first), vmi("Failed"), NOW, 0.0) == first
    assert start_failure(vm(start_failure=first), None, NOW, 0.0) == first


def test_a_guest_that_ran_or_another_strategy_forgets_failures() -> None:
    assert start_failure(vm(start_failure=FAILURE), vmi("Failed", ran=True), NOW, 0.0) is None
    assert start_failure(vm("Manual", start_failure=FAILURE), None, NOW, 0.0) is None
    assert start_failure(vm("Halted", start_failure=FAILURE, run_strategy="Always"), None, NOW, 0.0) is None
    assert start_failure(vm("Manual"), vmi("Failed"), NOW, 0.0) is None


@pytest.mark.parametrize("reached", ["Pending", "Scheduling", "Scheduled"])
def test_a_guest_that_only_had_a_pod_counts_as_failed(reached: str) -> None:
    stamps = tuple(v1.PhaseTransitionTimestamp(phase=name) for name in ("Pending", reached, "Failed"))
    ended = vmi("Failed")
    ended = replace(ended, status=replace(ended.status, phase_transition_timestamps=stamps))
    failed = start_failure(vm(start_failure=FAILURE), ended, NOW, 0.0)
    assert failed is not None
    assert failed.consecutive_fail_count == 2


def test_conditions_of_the_vmi_come_and_go_with_it() -> None:
    ready = v1.Condition(type="Ready", status="True", last_transition_time="2026-01-01T00:00:00Z")
    agent = v1.Condition(type="AgentConnected", status="True", last_transition_time="2026-01-01T00:00:00Z")
    first = updated(World(vm(), vmi("Running", ready, agent)), Plan(), None, now=NOW, chance=0.0)
    assert first.created
    assert first.ready
    assert conditions.find(first.conditions, "AgentConnected") == agent
    then = vm(conditions=first.conditions, created=True, ready=True)
    last = updated(World(then), Plan(), None, now=NOW, chance=0.0)
    assert not last.created
    assert not last.ready
    assert [(entry.type, entry.status, entry.reason) for entry in last.conditions] == [
        ("Ready", "False", "VMINotExists")]


def test_generations() -> None:
    running = updated(World(vm(), vmi("Running", generation="2")), Plan(), None, now=NOW, chance=0.0)
    assert (running.observed_generation, running.desired_generation) == (2, 3)
    assert updated(World(vm()), Plan(), None, now=NOW, chance=0.0).observed_generation == 3


def test_a_start_that_failed_is_still_owed() -> None:
    refused = v1.Condition(type="Failure", status="True", reason="FailedCreate")
    from_halted = vm("RerunOnFailure", run_strategy="Halted")
    chosen = Plan(actions=("create",))  # type: ignore[arg-type]
    assert updated(World(from_halted), chosen, refused, now=NOW, chance=0.0).run_strategy == "Halted"
    done = updated(World(from_halted, vmi("Pending")), chosen, None, now=NOW, chance=0.0)
    assert done.run_strategy == "RerunOnFailure"


def test_the_same_world_gives_the_same_status() -> None:
    world = World(vm(), vmi("Running", v1.Condition(type="Ready", status="True")))
    first = updated(world, Plan(), None, now=NOW, chance=0.3)
    again = v1.VirtualMachine(metadata=world.vm.metadata, spec=world.vm.spec, status=first)
    later = datetime(2026, 1, 2, tzinfo=UTC)
    assert updated(World(again, world.vmi), Plan(), None, now=later, chance=0.9) == first
