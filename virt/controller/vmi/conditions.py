"""Conditions that this controller writes on a VMI. The handler writes others into the same list. Pure."""

from dataclasses import dataclass
from typing import Final

from virt.api import conditions, core, names, v1
from virt.controller.vmi.plan import World

READY: Final = "Ready"
SYNCHRONIZED: Final = "Synchronized"
POD_SCHEDULED: Final = "PodScheduled"
PAUSED: Final = "Paused"

FAILED_CREATE: Final = "FailedCreate"
FAILED_DELETE: Final = "FailedDelete"
FAILED_PVC: Final = "FailedPvcNotFound"
FAILED_HOTPLUG: Final = "FailedHotplugSync"
IMAGE_REASONS: Final = ("ErrImagePull", "ImagePullBackOff")
DISK_CONTAINER_ENDED: Final = "ContainerDiskFailed"

# Synchronized False with one of these is ours to take back; other reasons are the handler's.
OURS: Final = frozenset({
    FAILED_CREATE, FAILED_DELETE, FAILED_PVC, FAILED_HOTPLUG, DISK_CONTAINER_ENDED, *IMAGE_REASONS})
_GENTLE: Final[dict[str, str]] = {"ErrImagePull": "cannot pull image", "ImagePullBackOff": "waits to pull image again"}


@dataclass(frozen=True)
class Fault:
    """Why a pass could not do what it wanted. ``reason``: one of the words above."""

    reason: str
    message: str


def updated(world: World, fault: Fault | None, phase: str, now: str) -> tuple[v1.Condition, ...]:
    """``phase``: the one the VMI will have after this pass; ``now``: RFC 3339."""
    found = world.vmi.status.conditions
    found = conditions.with_condition(found, ready(world.pod, phase), now)
    scheduled = pod_scheduled(world, fault)
    if scheduled is None:
        found = conditions.without(found, POD_SCHEDULED)
    else:
        found = conditions.with_condition(found, scheduled, now)
    trouble = fault or pod_trouble(world.pod, phase)
    known = conditions.find(found, SYNCHRONIZED)
    if trouble is not None:
        failed = v1.Condition(type=SYNCHRONIZED, status="False", reason=trouble.reason, message=trouble.message)
        return conditions.with_condition(found, failed, now)
    if known is not None and known.reason in OURS:
        return conditions.without(found, SYNCHRONIZED)
    return found


def ready(pod: core.Pod | None, phase: str) -> v1.Condition:
    def no(reason: str, message: str) -> v1.Condition:
        return v1.Condition(type=READY, status="False", reason=reason, message=message)

    if pod is None:
        return no("PodNotExists", "virt-launcher pod has not yet been scheduled")
    if pod.metadata.deletion_timestamp is not None:
        return no("PodTerminating", "virt-launcher pod is terminating")
    if phase != "Running":
        return no("GuestNotRunning", "Guest VM is not reported as running")
    of_pod = conditions.find(pod.status.conditions, "Ready")
    if of_pod is None:
        return no("PodConditionMissing", "virt-launcher pod is missing the Ready condition")
    return v1.Condition(type=READY, status=of_pod.status, reason=of_pod.reason, message=of_pod.message)


def pod_scheduled(world: World, fault: Fault | None) -> v1.Condition | None:
    """Shown only when False: no node takes the pod, or there can be no pod yet."""
    if fault is not None and fault.reason == FAILED_PVC:
        return v1.Condition(type=POD_SCHEDULED, status="False", reason="Unschedulable", message=fault.message)
    of_pod = conditions.find(world.pod.status.conditions, POD_SCHEDULED) if world.pod else None
    if of_pod is None or of_pod.status != "False":
        return None
    return v1.Condition(type=POD_SCHEDULED, status="False", reason=of_pod.reason, message=of_pod.message)


def pod_trouble(pod: core.Pod | None, phase: str) -> Fault | None:
    """What keeps a pod from coming up: an image that cannot be pulled, a disk container that gave up."""
    if pod is None or phase not in ("Pending", "Scheduling"):
        return None
    images = {container.name: container.image for container in pod.spec.containers}
    for status in pod.status.container_statuses:
        waiting, ended = status.state.waiting, status.state.terminated
        if waiting is not None and waiting.reason in IMAGE_REASONS:
            image = images.get(status.name, status.image)
            detail = f": {waiting.message}" if waiting.message else ""
            return Fault(waiting.reason, f"container {status.name} {_GENTLE[waiting.reason]} {image}{detail}")
        if status.name != names.COMPUTE_CONTAINER and ended is not None and ended.exit_code != 0:
            detail = ended.message.strip() or f"exit status {ended.exit_code}"
            return Fault(DISK_CONTAINER_ENDED, f"container {status.name} ended: {detail}")
    return None
