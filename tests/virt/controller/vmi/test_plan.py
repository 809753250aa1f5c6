from datetime import UTC, datetime, timedelta

import pytest

from virt.api import conditions, core, names, v1
from virt.controller.vmi.conditions import Fault, pod_trouble, ready
from virt.controller.vmi.plan import CreatePod, DeletePod, World, is_up, look_again_s, plan
from virt.controller.vmi.status import kept_finalizers, next_phase, updated

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
STAMP = "2026-01-01T12:00:00Z"
BOTH = (names.VM_CONTROLLER_FINALIZER, names.VMI_FINALIZER)
CLAIM = v1.Volume(name="d", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name="data"))


def vmi(
    phase: str, *, leaving: bool = False, volumes: tuple[v1.Volume, ...] = (), finalizers: tuple[str, ...] = BOTH
) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="x", namespace="n", uid="u", finalizers=finalizers,
                                 deletion_timestamp=STAMP if leaving else None),
        spec=v1.VirtualMachineInstanceSpec(volumes=volumes),
        status=v1.VirtualMachineInstanceStatus(
            phase=phase,
            phase_transition_timestamps=(v1.PhaseTransitionTimestamp(phase=phase, phase_transition_timestamp=STAMP),)),
    )


def status(name: str, state: str, *, is_ready: bool = True, reason: str = "", code: int = 0) -> core.ContainerStatus:
    states = {
        "running": core.ContainerState(running=core.ContainerStateRunning()),
        "waiting": core.ContainerState(waiting=core.ContainerStateWaiting(reason=reason)),
        "terminated": core.ContainerState(terminated=core.ContainerStateTerminated(exit_code=code, message="no file")),
    }
    return core.ContainerStatus(name=name, state=states[state], ready=is_ready)


def pod(
    phase: str = "Running", *statuses: core.ContainerStatus, node: str = "n1", leaving: bool = False,
    containers: tuple[str, ...] = ("compute",), found: tuple[core.Condition, ...] = (),
) -> core.Pod:
    return core.Pod(
        metadata=core.ObjectMeta(name="p", namespace="n", uid="pu", deletion_timestamp=STAMP if leaving else None),
        spec=core.PodSpec(
            node_name=node, containers=tuple(core.Container(name=name, image="i") for name in containers)),
        status=core.PodStatus(phase=phase, container_statuses=statuses, conditions=found),
    )


UP = pod("Running", status("compute", "running"))
ENDED = pod("Running", status("compute", "terminated", code=1))


@pytest.mark.parametrize(("world", "actions"), [
    (World(vmi("Pending")), (CreatePod(),)),
    (World(vmi("")), (CreatePod(),)),
    (World(vmi("Pending", volumes=(CLAIM,)), claims={"data": None}), ()),
    (World(vmi("Pending", volumes=(CLAIM,)), claims={"data": core.PersistentVolumeClaim()}), (CreatePod(),)),
    (World(vmi("Pending"), (UP,)), ()),
    (World(vmi("Pending", leaving=True)), ()),
    (World(vmi("Scheduling")), ()),
    (World(vmi("Running"), (UP,)), ()),
    (World(vmi("Running", leaving=True), (UP,)), (DeletePod(UP),)),
    (World(vmi("Running", leaving=True), (pod(leaving=True),)), ()),
    (World(vmi("Succeeded"), (UP,)), ()),
])
def test_actions(world: World, actions: tuple[object, ...]) -> None:
    assert plan(world, NOW) == actions


def test_a_launcher_that_outlives_its_guest_is_deleted_in_the_end() -> None:
    world = World(vmi("Failed"), (ENDED,))
    assert look_again_s(world, NOW) == 31.0
    assert plan(world, NOW + timedelta(seconds=31)) == (DeletePod(ENDED),)
    over = World(vmi("Failed"), (pod("Succeeded"),))
    assert look_again_s(over, NOW) is None
    assert plan(over, NOW + timedelta(days=1)) == ()


def test_the_handler_kills_a_guest_without_a_grace_period_before_its_pod_is_told() -> None:
    given = vmi("Running", leaving=True)
    killed = v1.VirtualMachineInstance(
        metadata=given.metadata, status=given.status,
        spec=v1.VirtualMachineInstanceSpec(termination_grace_period_seconds=0))
    world = World(killed, (UP,))
    assert plan(world, NOW) == ()
    assert look_again_s(world, NOW) == 5.1
    assert plan(world, NOW + timedelta(seconds=5)) == (DeletePod(UP),)


@pytest.mark.parametrize(("world", "phase"), [
    (World(vmi("")), "Pending"),
    (World(vmi("Pending")), "Pending"),
    (World(vmi("Pending", leaving=True)), "Failed"),
    (World(vmi("Pending"), (pod("Pending"),)), "Scheduling"),
    (World(vmi("Scheduling"), (pod("Pending"),)), "Scheduling"),
    (World(vmi("Scheduling"), (UP,)), "Scheduled"),
    (World(vmi("Scheduling", leaving=True), (UP,)), "Scheduling"),
    (World(vmi("Scheduling"), (pod("Running", status("compute", "running"), leaving=True),)), "Scheduling"),
    (World(vmi("Scheduling")), "Failed"),
    (World(vmi("Scheduling"), (pod("Failed"),)), "Failed"),
    (World(vmi("Scheduling"), (ENDED,)), "Failed"),
    (World(vmi("Scheduled")), "Scheduled"),
    (World(vmi("Scheduled"), unheard=True), "Failed"),
    (World(vmi("Scheduled"), (ENDED,)), "Scheduled"),
    (World(vmi("Running")), "Running"),
    (World(vmi("Running"), unheard=True), "Failed"),
    (World(vmi("Running"), node_lost=True), "Failed"),
    (World(vmi("Running"), (ENDED,)), "Running"),
    (World(vmi("Running"), (ENDED,), node_lost=True), "Failed"),
    (World(vmi("Running"), (UP,), node_lost=True), "Running"),
    (World(vmi("Succeeded")), "Succeeded"),
])
def test_phases(world: World, phase: str) -> None:
    assert next_phase(world) == phase


def test_a_handler_has_time_to_say_how_a_guest_ended_whose_pod_is_gone() -> None:
    assert look_again_s(World(vmi("Running")), NOW) == 15.0
    assert look_again_s(World(vmi("Running"), unheard=True), NOW) is None
    assert look_again_s(World(vmi("Running"), (UP,)), NOW) is None


def test_a_pod_that_ended_without_a_word_of_the_handler_is_looked_at_again() -> None:
    """Whether the handler is lost the passing of time decides; the node may show nothing new by then."""
    for given in (vmi("Running"), vmi("Scheduled")):
        assert look_again_s(World(given, (ENDED,)), NOW) == 60.0
        assert look_again_s(World(given, (pod("Failed"),)), NOW) == 60.0


def test_a_guest_of_a_lost_node_says_why_it_failed() -> None:
    lost = updated(World(vmi("Running"), (ENDED,), node_lost=True), None, STAMP).status
    assert (lost.phase, lost.reason) == ("Failed", "NodeUnresponsive")
    assert updated(World(vmi("Running")), None, STAMP).status.reason == ""


@pytest.mark.parametrize(("containers", "statuses", "expected"), [
    (("compute",), (status("compute", "running"),), True),
    (("compute", "volumeroot"), (status("compute", "running"),), False),
    (("compute", "volumeroot"), (status("compute", "running"), status("volumeroot", "waiting", is_ready=False)), False),
    (("compute", "volumeroot"), (status("compute", "running", is_ready=False), status("volumeroot", "running")), True),
    (("compute", "guest-console-log"), (status("compute", "running"),), True),
    (("compute",), (status("compute", "waiting"),), False),
])
def test_a_pod_is_up_without_waiting_for_the_guests_probe(
    containers: tuple[str, ...], statuses: tuple[core.ContainerStatus, ...], expected: bool
) -> None:
    assert is_up(pod("Running", *statuses, containers=containers)) is expected


@pytest.mark.parametrize(("world", "kept"), [
    (World(vmi("Running", leaving=True), owned=True), BOTH),
    (World(vmi("Failed"), owned=False), BOTH),
    (World(vmi("Failed", leaving=True), owned=True), BOTH),
    (World(vmi("Failed", leaving=True), owned=False), ()),
    (World(vmi("Failed", leaving=True), (UP,), owned=False), (names.VMI_FINALIZER,)),
    (World(vmi("Failed", leaving=True, finalizers=(names.VMI_FINALIZER,)), owned=True), ()),
])
def test_finalizers_go_in_order(world: World, kept: tuple[str, ...]) -> None:
    assert kept_finalizers(world) == kept


@pytest.mark.parametrize(("of", "phase", "reason", "is_ready"), [
    (None, "Pending", "PodNotExists", "False"),
    (pod(leaving=True), "Running", "PodTerminating", "False"),
    (pod(), "Scheduled", "GuestNotRunning", "False"),
    (pod(), "Running", "PodConditionMissing", "False"),
    (pod(found=(core.Condition(type="Ready", status="False", reason="ReadinessGatesNotReady"),)), "Running",
     "ReadinessGatesNotReady", "False"),
    (pod(found=(core.Condition(type="Ready", status="True"),)), "Running", "", "True"),
])
def test_ready(of: core.Pod | None, phase: str, reason: str, is_ready: str) -> None:
    found = ready(of, phase)
    assert (found.reason, found.status) == (reason, is_ready)


def test_what_keeps_a_pod_down_is_named() -> None:
    pulling = pod("Pending", status("volumeroot", "waiting", is_ready=False, reason="ErrImagePull"),
                  containers=("compute", "volumeroot"))
    assert pod_trouble(pulling, "Scheduling") == Fault(
        "ErrImagePull", "container volumeroot cannot pull image i")
    ended = pod("Running", status("volumeroot", "terminated", code=1))
    assert pod_trouble(ended, "Scheduling") == Fault("ContainerDiskFailed", "container volumeroot ended: no file")
    assert pod_trouble(ended, "Running") is None


def test_only_own_words_are_taken_back() -> None:
    def with_reason(reason: str) -> World:
        known = v1.Condition(type="Synchronized", status="False", reason=reason, message="m")
        given = vmi("Scheduled")
        return World(v1.VirtualMachineInstance(
            metadata=given.metadata,
            status=v1.VirtualMachineInstanceStatus(phase="Scheduled", conditions=(known,))), (UP,))

    handlers = updated(with_reason("Synchronizing with the Domain failed."), None, STAMP)
    assert conditions.find(handlers.status.conditions, "Synchronized") is not None
    ours = updated(with_reason("ImagePullBackOff"), None, STAMP)
    assert conditions.find(ours.status.conditions, "Synchronized") is None


def test_a_second_look_changes_nothing() -> None:
    first = updated(World(vmi("Scheduling"), (UP,)), None, STAMP)
    assert first.status.active_pods == {"pu": "n1"}
    assert updated(World(first, (UP,)), None, "2026-01-02T00:00:00Z") == first
