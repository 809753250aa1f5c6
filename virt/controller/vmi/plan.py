"""What to do about a VMI's pods: facts in, actions out. Pure.

KubeVirt: pkg/virt-controller/watch/vmi/lifecycle.go (sync).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from virt.api import core, names, phases, v1
from virt.base.clock import parse_time
from virt.controller.vmi.pod import volumes
from virt.controller.vmi.pod.sidecars import CONSOLE_LOG

LIVE_PHASES: Final = ("Scheduled", "Running")
# A launcher ends by itself when its guest has ended. One that has not by then is stuck, or its handler is lost.
LINGER: Final = timedelta(seconds=30)
# A guest without a grace period is killed by the handler. Deleting its pod at once would have the launcher press the
# power button first: both are told at the same moment.
KILL: Final = timedelta(seconds=5)
# The kubelet may take a deleted pod away before the handler has written how its guest ended.
LAST_WORDS: Final = timedelta(seconds=15)
# While a handler that is away may still come back and say it. Whether it is lost only the time of its heartbeat tells,
# and no change of an object does.
HANDLER_AWAY: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class World:
    """A VMI and what belongs to it.

    ``pods``: its launcher pods, oldest first; ``claims``: its PVCs by name, None for one that is missing;
    ``owned``: a VirtualMachine that exists controls it; ``node_lost``: no heartbeat comes from its node any more;
    ``attachments``: pods that mount hot-plugged claims for one of ``pods``;
    ``unheard``: its pod has been gone for so long that no handler will say any more how the guest ended.
    """

    vmi: v1.VirtualMachineInstance
    pods: tuple[core.Pod, ...] = ()
    claims: Mapping[str, core.PersistentVolumeClaim | None] = field(default_factory=dict)
    attachments: tuple[core.Pod, ...] = ()
    owned: bool = False
    node_lost: bool = False
    unheard: bool = False

    @property
    def pod(self) -> core.Pod | None:
        """The pod the guest runs in, or will run in; None when there is none (any more)."""
        node = self.vmi.status.node_name
        candidates = [pod for pod in self.pods if names.MIGRATION_JOB_UID_LABEL not in pod.metadata.labels] or self.pods
        if node:
            candidates = [pod for pod in self.pods if pod.spec.node_name == node] or candidates
        return next((pod for pod in candidates if not is_over(pod)), candidates[0] if candidates else None)

    @property
    def missing_claims(self) -> tuple[str, ...]:
        return tuple(name for name in volumes.needed_claims(self.vmi.spec) if self.claims.get(name) is None)


@dataclass(frozen=True)
class CreatePod:
    """Make the launcher pod."""


@dataclass(frozen=True)
class DeletePod:
    pod: core.Pod


Action = CreatePod | DeletePod


def plan(world: World, now: datetime) -> tuple[Action, ...]:
    vmi = world.vmi
    leaving = [pod for pod in world.pods if pod.metadata.deletion_timestamp is None]
    if vmi.metadata.deletion_timestamp is not None:
        return () if _kill_left(vmi, now) > timedelta() else tuple(DeletePod(pod) for pod in leaving)
    if is_final(vmi):
        if now < final_since(vmi) + LINGER:
            return ()
        return tuple(DeletePod(pod) for pod in leaving if not is_over(pod))
    if vmi.status.phase in ("", "Pending") and not world.pods and not world.missing_claims:
        return (CreatePod(),)
    return ()


def look_again_s(world: World, now: datetime) -> float | None:
    """Seconds until :func:`plan` may want something although nothing has changed by then."""
    kill_left = _kill_left(world.vmi, now)
    if kill_left > timedelta():
        return kill_left.total_seconds() + 0.1
    if is_podless(world.vmi, world.pods) and not world.unheard:
        return LAST_WORDS.total_seconds()
    if world.vmi.status.phase in LIVE_PHASES and world.pod is not None and has_ended(world.pod):
        return HANDLER_AWAY.total_seconds()
    if not is_final(world.vmi) or all(is_over(pod) for pod in world.pods):
        return None
    left = (final_since(world.vmi) + LINGER - now).total_seconds()
    return left + 1.0 if left >= 0 else None


def _kill_left(vmi: v1.VirtualMachineInstance, now: datetime) -> timedelta:
    """How long its pod is left alone for the handler to kill the guest."""
    deleted = vmi.metadata.deletion_timestamp
    if not deleted or vmi.spec.termination_grace_period_seconds != 0 or vmi.status.phase not in LIVE_PHASES:
        return timedelta()
    return parse_time(deleted) + KILL - now


def is_podless(vmi: v1.VirtualMachineInstance, pods: Sequence[core.Pod]) -> bool:
    """Whether the VMI should have a pod and has none."""
    return vmi.status.phase in LIVE_PHASES and not pods


def is_final(vmi: v1.VirtualMachineInstance) -> bool:
    return vmi.status.phase in phases.FINAL


def final_since(vmi: v1.VirtualMachineInstance) -> datetime:
    """When the VMI came to its final phase; the beginning of time when that is not known."""
    entered = phases.entered_at(vmi.status.phase_transition_timestamps, vmi.status.phase)
    return parse_time(entered or "1970-01-01T00:00:00Z")


def is_over(pod: core.Pod) -> bool:
    return pod.status.phase in phases.FINAL


def has_ended(pod: core.Pod) -> bool:
    """Whether the launcher has: what is beside it may take a moment longer, or wait for a launcher that never came."""
    compute = _statuses(pod).get(names.COMPUTE_CONTAINER)
    return is_over(pod) or (compute is not None and compute.state.terminated is not None)


def is_up(pod: core.Pod) -> bool:
    """Whether the launcher runs and the guest's disks are ready.

    The pod's own Ready is no measure: it waits for the guest's readiness probe. Nor is the log reader.
    """
    statuses = _statuses(pod)
    compute = statuses.get(names.COMPUTE_CONTAINER)
    if not pod.spec.node_name or is_over(pod) or compute is None or compute.state.running is None:
        return False
    beside = {container.name for container in pod.spec.containers} - {names.COMPUTE_CONTAINER, CONSOLE_LOG}
    return all(name in statuses and statuses[name].ready for name in beside)


def _statuses(pod: core.Pod) -> Mapping[str, core.ContainerStatus]:
    return {status.name: status for status in pod.status.container_statuses}
