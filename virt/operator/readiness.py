"""When a workload has rolled over: pods of the wanted template are ready and none of an older one runs. Pure.

``pods`` are all pods of the install namespace that the operator's workloads own; each function picks its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from virt.api import core, names, phases
from virt.base.errors import VirtError
from virt.operator import stamps
from virt.operator.resources import Json

CANARY_STEP: Mapping[str, Any] = {"maxUnavailable": 1}
WIDE_STEP: Mapping[str, Any] = {"maxUnavailable": "10%"}


class FailedUpdateError(VirtError):
    """The first pod of a new node agent does not stay up; the other nodes keep the old one."""

    reference = "failed-update"
    hint = "look at the log of the pod that restarted; setting the old version again rolls back"


@dataclass(frozen=True)
class Pods:
    """The pods of one workload that count: running, and not on their way out."""

    new: tuple[core.Pod, ...]
    old: tuple[core.Pod, ...]

    @property
    def ready(self) -> tuple[core.Pod, ...]:
        return tuple(pod for pod in self.new if is_ready(pod))


def pods_of(app: str, stamp: str, pods: Iterable[core.Pod]) -> Pods:
    """The pods with label kubevirt.io=``app``, those that carry ``stamp`` apart from others."""
    mine = [
        pod for pod in pods
        if pod.metadata.labels.get(names.APP_LABEL) == app and pod.metadata.deletion_timestamp is None
        and pod.status.phase not in phases.FINAL
    ]
    return Pods(
        new=tuple(pod for pod in mine if pod.metadata.annotations.get(stamps.IDENTIFIER) == stamp),
        old=tuple(
            pod for pod in mine
            if pod.metadata.annotations.get(stamps.IDENTIFIER) != stamp and pod.status.phase == "Running"
        ),
    )


def is_ready(pod: core.Pod) -> bool:
    statuses = pod.status.container_statuses
    return pod.status.phase == "Running" and bool(statuses) and all(status.ready for status in statuses)


def deployment_lacks(deployment: Json | None, stamp: str, pods: Iterable[core.Pod]) -> str:
    """Why a Deployment has not rolled over to ``stamp``; "" when it has."""
    if deployment is None:
        return "not created"
    name = str(deployment["metadata"]["name"])
    found = pods_of(name, stamp, pods)
    status = deployment.get("status", {})
    if not _is_observed(deployment) or not status.get("readyReplicas") or not found.ready:
        return f"{name} has no ready pod yet"
    if found.old:
        return f"{name} still has old pods"
    return ""


def daemon_set_lacks(daemon_set: Json | None, stamp: str, pods: Iterable[core.Pod]) -> str:
    """Why a DaemonSet has not rolled over to ``stamp``; "" when it has."""
    if daemon_set is None:
        return "not created"
    name = str(daemon_set["metadata"]["name"])
    found = pods_of(name, stamp, pods)
    status = daemon_set.get("status", {})
    desired = status.get("desiredNumberScheduled", 0)
    if not _is_observed(daemon_set) or not desired:
        return f"{name} is not on any node yet"
    if status.get("numberReady", 0) != desired or len(found.ready) < desired:
        return f"{name} is not ready on every node"
    if found.old:
        return f"{name} still has old pods"
    return ""


def daemon_set_step(existing: Json | None, stamp: str, pods: Iterable[core.Pod]) -> Mapping[str, Any]:
    """How many nodes of a DaemonSet may be without it: one until the first new pod is ready, then more.

    Raises :class:`FailedUpdateError` when the first new pod restarts while old ones are there to go back to.
    """
    if existing is None or stamps.template_stamp(existing) != stamp:
        return CANARY_STEP
    found = pods_of(existing["metadata"]["name"], stamp, pods)
    if not found.old:
        return CANARY_STEP
    if found.ready:
        return WIDE_STEP
    for pod in found.new:
        restarts = sum(status.restart_count for status in pod.status.container_statuses)
        if restarts:
            raise FailedUpdateError(f"pod {pod.metadata.name} of the new version restarted {restarts} times")
    return CANARY_STEP


def _is_observed(workload: Json) -> bool:
    seen = int(workload.get("status", {}).get("observedGeneration", 0))
    return seen >= int(workload["metadata"].get("generation", 0))
