"""A migration's next step: what is known of it -> its phase, and what to do. Pure.

The phases are KubeVirt's (pkg/virt-controller/watch/migration). One step a pass: every phase is stored, with the time
at which it began. Up to the hand-over the migration is the controller's alone; then the nodes lead, by the VMI's
``status.migrationState``, and the controller follows what they write there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from virt.api import conditions, core, hotplug, migrationstate, names, phases, v1, volumechange
from virt.api.migrationstate import ABORTED
from virt.base.clock import parse_time
from virt.controller.vmi.plan import has_ended, is_final, is_over, is_up
from virt.controller.vmi.pod import volumes

Phase = str
PENDING: Final = "Pending"
SCHEDULING: Final = "Scheduling"
SCHEDULED: Final = "Scheduled"
PREPARING: Final = "PreparingTarget"
READY: Final = "TargetReady"
RUNNING: Final = "Running"
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
FINAL: Final = phases.FINAL
_OF_THE_NODES: Final = (PREPARING, READY, RUNNING)      # after the hand-over

UNSCHEDULABLE_S: Final = 300
PENDING_POD_S: Final = 900
PREPARE_S: Final = 180          # for a node to get ready, or to begin
TARGET_LOST_S: Final = 60       # for the source to say what it makes of a target that ended
UNSCHEDULABLE_ANNOTATION: Final = "kubevirt.io/migrationUnschedulablePodTimeoutSeconds"
PENDING_ANNOTATION: Final = "kubevirt.io/migrationPendingPodTimeoutSeconds"
ABORT_REQUESTED: Final = "migrationAbortRequested"
REJECTED: Final = "migrationRejectedByResourceQuota"
_LOOK_S: Final = 5.0


@dataclass(frozen=True)
class World:
    """``pod``: the target's; ``source``: the one in which the guest runs; ``others``: migrations of the same VMI;
    ``attachment``: the pod that mounts for the target what was hot-plugged, once it does; ``may_start``: the limits
    allow one more; ``missing_claims``: of the VMI; ``lacks``: what the target's pod has too little of for what the
    guest is to have there."""

    migration: v1.VirtualMachineInstanceMigration
    vmi: v1.VirtualMachineInstance | None
    pod: core.Pod | None = None
    source: core.Pod | None = None
    attachment: core.Pod | None = None
    others: Sequence[v1.VirtualMachineInstanceMigration] = ()
    may_start: bool = True
    missing_claims: Sequence[str] = ()
    lacks: str = ""

    @property
    def uid(self) -> str:
        return self.migration.metadata.uid

    @property
    def state(self) -> v1.VirtualMachineInstanceMigrationState | None:
        """The VMI's, if it is this migration's."""
        state = self.vmi.status.migration_state if self.vmi is not None else None
        return state if state is not None and state.migration_uid == self.uid else None

    @property
    def lacks_disks(self) -> bool:
        """The guest has hot-plugged disks, and they are not at the target yet."""
        return self.attachment is None and self.vmi is not None and bool(hotplug.held(self.vmi))

    @property
    def is_leaving(self) -> bool:
        """The VMI runs in the target's pod now."""
        return self.state is not None and self.state.completed and not self.state.failed


@dataclass(frozen=True)
class CreateTarget:
    """Make the target's pod."""


@dataclass(frozen=True)
class DeleteTarget:
    """The pod is not needed; ``why`` is for people, where nothing else tells the reason."""

    why: str = ""


@dataclass(frozen=True)
class HandOver:
    """Tell the nodes, on the VMI."""


@dataclass(frozen=True)
class GiveUp:
    """Tell the nodes that it has failed."""

    why: str


@dataclass(frozen=True)
class RequestAbort:
    """Tell the nodes to give up."""


@dataclass(frozen=True)
class Release:
    """Take the target's label from the VMI."""


Action = CreateTarget | DeleteTarget | HandOver | GiveUp | RequestAbort | Release


@dataclass(frozen=True)
class Plan:
    """``why``: of a failure. ``is_unschedulable``: people are to be told. ``rejected``: what a quota says against the
    target's pod. ``again_s``: look again, whatever happens."""

    phase: Phase
    actions: tuple[Action, ...] = ()
    why: str = ""
    is_unschedulable: bool = False
    rejected: str = ""
    again_s: float | None = None


def plan(world: World, now: datetime) -> Plan:
    migration, vmi, state = world.migration, world.vmi, world.state
    phase = migration.status.phase
    if phase in FINAL:
        return Plan(phase, _leftovers(world))
    if vmi is None or (not world.is_leaving and (vmi.metadata.deletion_timestamp is not None or is_final(vmi))):
        what = "is gone" if vmi is None else "is being deleted" if not is_final(vmi) else f"has {vmi.status.phase}"
        why = f"the VirtualMachineInstance {migration.spec.vmi_name} {what}"
        # The nodes tell no more of a migration whose guest is off.
        is_open = vmi is not None and is_final(vmi) and migrationstate.is_under_way(state)
        return Plan(FAILED, (GiveUp(why),) if is_open else (), why)
    if state is not None and state.failed:
        return Plan(FAILED, why=state.failure_reason)
    if phase in _OF_THE_NODES and state is None:        # it is not the VMI of before, perhaps another one of its name
        return Plan(FAILED, why="the VMI tells of another migration")
    if phase == "":
        return Plan(PENDING)
    is_cancelled = volumechange.is_cancelled(vmi)
    if (migration.metadata.deletion_timestamp is not None or is_cancelled) and not world.is_leaving:
        if state is None:
            return Plan(FAILED, why=ABORTED + (": the change of volumes was taken back" if is_cancelled else ""))
        if not state.abort_requested:
            return Plan(phase, (RequestAbort(),))
    step = _STEPS[phase](world, vmi, now)
    if step.phase == phase and not step.actions and (lost := _lost_target(world, phase, now)):
        return Plan(phase, (GiveUp(lost),))
    return step


def _pending(world: World, vmi: v1.VirtualMachineInstance, _now: datetime) -> Plan:
    if world.pod is not None:
        return Plan(SCHEDULING)             # made by a controller that did not get to say so
    if (other := _in_the_way(world)) is not None:
        return Plan(FAILED, why=f"another migration job is in progress: {other}")
    migratable = conditions.find(vmi.status.conditions, "LiveMigratable")
    if migratable is not None and migratable.status == "False":
        return Plan(FAILED, why=f"the VMI cannot migrate: {migratable.reason}: {migratable.message}")
    if world.missing_claims:
        return Plan(FAILED, why=f"claim {world.missing_claims[0]} does not exist")
    if vmi.status.phase != "Running" or not world.may_start:
        return Plan(PENDING, again_s=_LOOK_S)
    return Plan(SCHEDULING, (CreateTarget(),))


def _in_the_way(world: World) -> str | None:
    """The migration of the same VMI that goes first: one that is further, or was there before."""
    def order(migration: v1.VirtualMachineInstanceMigration) -> tuple[bool, str, str]:
        waits = migration.status.phase in ("", PENDING)
        return waits, migration.metadata.creation_timestamp or "", migration.metadata.uid

    rivals = [other for other in world.others
              if other.status.phase not in FINAL and order(other) < order(world.migration)]
    if rivals:
        return rivals[0].metadata.name
    state = world.vmi.status.migration_state if world.vmi is not None else None
    if state is None or world.state is not None or not migrationstate.is_under_way(state):
        return None
    return state.migration_uid


def _scheduling(world: World, vmi: v1.VirtualMachineInstance, now: datetime) -> Plan:
    pod = world.pod
    if pod is None:
        return Plan(FAILED, why="the target's pod is gone")
    if has_ended(pod) or pod.metadata.deletion_timestamp is not None:
        return Plan(FAILED, why=f"the target's pod {pod.metadata.name} has ended")
    if pod.spec.node_name and pod.spec.node_name == vmi.status.node_name:
        return Plan(FAILED, why=f"the target's pod came to node {pod.spec.node_name}, where the guest is already")
    if is_up(pod) and not world.lacks_disks:
        return Plan(SCHEDULED)
    unschedulable = _is_unschedulable(pod)
    annotation, default = (
        (UNSCHEDULABLE_ANNOTATION, UNSCHEDULABLE_S) if unschedulable else (PENDING_ANNOTATION, PENDING_POD_S)
    )
    limit_s = _seconds(world.migration, vmi, annotation, default)
    age_s = _age_s(pod.metadata.creation_timestamp, now)
    if age_s >= limit_s:
        what = "unschedulable" if unschedulable else "pending"
        why = f"{what} pod {pod.metadata.name}: timeout period exceeded ({limit_s} s)"
        return Plan(FAILED, (DeleteTarget(why),), why=why)
    return Plan(SCHEDULING, is_unschedulable=unschedulable, again_s=max(0.5, min(_LOOK_S, limit_s - age_s)))


def _scheduled(world: World, vmi: v1.VirtualMachineInstance, now: datetime) -> Plan:
    if world.state is not None:
        return Plan(PREPARING)
    if world.pod is None or has_ended(world.pod):
        return Plan(FAILED, why="the target's pod has ended before the hand-over")
    if vmi.status.phase != "Running" or (world.source is not None and has_ended(world.source)):
        return Plan(FAILED, why="the guest does not run any more")
    if not volumes.claims_by_name(vmi.spec).items() <= volumes.mounted(world.pod).items():
        return Plan(FAILED, why=f"the VMI's claims were changed since its pod {world.pod.metadata.name} was made")
    if world.lacks:
        return Plan(FAILED, why=f"the guest was to have more since its pod {world.pod.metadata.name} was made: "
                                f"{world.lacks}")
    if world.lacks_disks:                   # one more has come meanwhile
        if _phase_age_s(world.migration, SCHEDULED, now) >= PREPARE_S:
            return Plan(FAILED, why=f"the guest's hot-plugged disks were not at the target within {PREPARE_S} s")
        return Plan(SCHEDULED, again_s=_LOOK_S)
    return Plan(SCHEDULED, (HandOver(),))


def _preparing(world: World, _vmi: v1.VirtualMachineInstance, now: datetime) -> Plan:
    state = world.state
    if state is not None and state.target_node_address:
        return Plan(READY)
    return _within(world, PREPARING, now, "the target node did not get ready")


def _ready(world: World, _vmi: v1.VirtualMachineInstance, now: datetime) -> Plan:
    state = world.state
    if state is not None and state.start_timestamp:
        return Plan(RUNNING)
    return _within(world, READY, now, "the source node did not begin")


def _running(world: World, _vmi: v1.VirtualMachineInstance, _now: datetime) -> Plan:
    return Plan(SUCCEEDED) if world.is_leaving else Plan(RUNNING, again_s=_LOOK_S)


_STEPS: Final = {
    PENDING: _pending, SCHEDULING: _scheduling, SCHEDULED: _scheduled, PREPARING: _preparing, READY: _ready,
    RUNNING: _running,
}


def _within(world: World, phase: Phase, now: datetime, why: str) -> Plan:
    if _phase_age_s(world.migration, phase, now) >= PREPARE_S:
        return Plan(phase, (GiveUp(f"{why} within {PREPARE_S} s"),))
    return Plan(phase, again_s=_LOOK_S)


def _lost_target(world: World, phase: Phase, now: datetime) -> str:
    """Why a migration that the nodes lead cannot succeed: its target's launcher is gone.

    Once it runs, the source is the first to know, and alone knows whether the guest has left.
    """
    if phase not in _OF_THE_NODES or world.state is None or world.state.completed:
        return ""
    pod = world.pod
    if pod is not None and not has_ended(pod):
        return ""
    if phase == RUNNING and _phase_age_s(world.migration, RUNNING, now) < TARGET_LOST_S:
        return ""
    what = "it is gone" if pod is None else f"{pod.metadata.name} has ended"
    return f"Target pod is down: {what}"


def _leftovers(world: World) -> tuple[Action, ...]:
    """What is left to do for a migration that is over."""
    actions: list[Action] = []
    vmi, pod = world.vmi, world.pod
    if world.migration.status.phase == FAILED:
        is_home = vmi is not None and pod is not None and world.is_leaving
        if pod is not None and not is_over(pod) and pod.metadata.deletion_timestamp is None and not is_home:
            actions.append(DeleteTarget())
    if vmi is not None and names.MIGRATION_TARGET_NODE_LABEL in vmi.metadata.labels and world.state is not None:
        actions.append(Release())
    return tuple(actions)


def is_clean(world: World) -> bool:
    """Nothing is left to do for a migration that is over."""
    return world.migration.status.phase in FINAL and not _leftovers(world)


def _is_unschedulable(pod: core.Pod) -> bool:
    found = conditions.find(pod.status.conditions, "PodScheduled")
    return found is not None and found.status == "False" and found.reason == "Unschedulable"


def _seconds(
    migration: v1.VirtualMachineInstanceMigration, vmi: v1.VirtualMachineInstance, annotation: str, default: int
) -> int:
    """Seconds in the migration's annotation, or the VMI's; a value that is no number counts as none."""
    for meta in (migration.metadata, vmi.metadata):
        text = meta.annotations.get(annotation, "")
        if text.isascii() and text.isdecimal():
            return int(text)
    return default


def _age_s(since: str | None, now: datetime) -> float:
    return (now - parse_time(since)).total_seconds() if since else 0.0


def _phase_age_s(migration: v1.VirtualMachineInstanceMigration, phase: Phase, now: datetime) -> float:
    return _age_s(phases.entered_at(migration.status.phase_transition_timestamps, phase), now)
