"""Waits until the operator says that the whole stack runs, and shows meanwhile what is missing."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster_up.actions.step import Run, Step
from cluster_up.errors import StepFailed
from cluster_up.images import components
from cluster_up.kube import NAMESPACE, KubeError, condition, phase_of, seconds_of, unless_away
from virt.base import waiting

_DEADLINE_S = 900.0
_CRASHES = 3
_LOST_S = 120.0                  # a node that was just started, or stood still, has said a word by then
_LOST_HINT = "`up` starts a node that is stopped; `up --machines 0` takes a machine away"
_LOG_IS_GONE = "unable to retrieve container logs"


@dataclass(frozen=True)
class _Seen:
    """``unready``: a line for each such pod. ``crashed``: (pod, container). ``lost``: (node, pod)."""

    phase: str = ""
    unready: tuple[str, ...] = ()
    crashed: Sequence[tuple[str, str]] = ()
    lost: Sequence[tuple[str, str]] = ()
    is_rolled_out: bool = False


_NOTHING = _Seen(unready=("the API server is away",))


def summary(kubevirts: list[dict[str, Any]], pods: list[dict[str, Any]]) -> tuple[str, tuple[str, ...]]:
    """Phase of the KubeVirt object ("" without one), and a line for each pod that is not ready. Pure."""
    return phase_of(kubevirts), tuple(line for pod in pods if (line := _unready(pod)))


def without_stale(pods: list[dict[str, Any]], started: Mapping[str, float]) -> list[dict[str, Any]]:
    """``pods`` without the containers that their node lost when it was started (seconds since 1970, by name). Pure.

    The API shows them as ready until the node's kubelet has looked.
    """

    def is_stale(pod: dict[str, Any], status: dict[str, Any]) -> bool:
        since = status.get("state", {}).get("running", {}).get("startedAt")
        return since is not None and seconds_of(since) < int(started.get(pod["spec"].get("nodeName", ""), 0))

    found = []
    for pod in pods:
        statuses = pod.get("status", {}).get("containerStatuses") or []
        now = [{**status, "ready": status["ready"] and not is_stale(pod, status)} for status in statuses]
        found.append({**pod, "status": {**pod.get("status", {}), "containerStatuses": now}})
    return found


def _pods(run: Run) -> list[dict[str, Any]]:
    started = {view.name: view.started for view in run.provider.nodes()}
    return without_stale(run.kube.pods(NAMESPACE), started)


def _unready(pod: dict[str, Any]) -> str:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    if statuses and all(status["ready"] for status in statuses):
        return ""
    waiting_for = [s["state"]["waiting"].get("reason", "") for s in statuses if "waiting" in s.get("state", {})]
    restarts = max((status["restartCount"] for status in statuses), default=0)
    reason = waiting_for[0] if waiting_for else pod.get("status", {}).get("phase", "Pending")
    return f"{pod['metadata']['name']}: {reason}" + (f", {restarts} restarts" if restarts else "")


def crashed(images: Mapping[str, str], pods: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(pod, container) of ``images`` that crashed again and again: waiting longer will not help. Pure.

    Pods of other images are what an earlier roll-out left; this one replaces them.
    """
    return [
        (pod["metadata"]["name"], status["name"])
        for pod in pods
        for status in pod.get("status", {}).get("containerStatuses") or []
        if not status["ready"]
        and status["restartCount"] >= _CRASHES
        and any(c["name"] == status["name"] and c["image"] in images.values() for c in pod["spec"]["containers"])
    ]


def lost(
    nodes: list[dict[str, Any]], pods: list[dict[str, Any]], began: float, now: float
) -> list[tuple[str, str]]:
    """(node, pod): nodes that have not been ready for a while, with a pod of the stack. Pure.

    One such node keeps the node agents of all others from being replaced, which happens one by one. What was before
    ``began`` does not count: a node that was started just now is called lost until its first word.
    """
    since = {
        node["metadata"]["name"]: max(began, seconds_of(one["lastTransitionTime"]))
        for node in nodes if condition(node, "Ready") != "True"
        for one in node.get("status", {}).get("conditions") or [] if one["type"] == "Ready"
    }
    return [
        (node, pod["metadata"]["name"]) for pod in pods
        if now - since.get(node := pod["spec"].get("nodeName", ""), now) > _LOST_S
    ]


def _look(run: Run, began: float) -> _Seen:
    kubevirts, pods = run.kube.kubevirts(), _pods(run)
    phase, unready = summary(kubevirts, pods)
    run.report.detail(f"KubeVirt {phase or 'new'}; {'; '.join(unready) or 'all pods ready'}")
    return _Seen(
        phase, unready, crashed(_images(run), pods), lost(run.kube.nodes(), pods, began, time.time()),
        is_rolled_out(_images(run), kubevirts, pods))


def _images(run: Run) -> dict[str, str]:
    """Reference of each service's image, by the service's name."""
    return {one.name: run.state.component_images.get(one.name, "") for one in components.SERVICES}


def is_rolled_out(images: Mapping[str, str], kubevirts: list[dict[str, Any]], pods: list[dict[str, Any]]) -> bool:
    """Deployed, every pod ready, and every service on its one image of ``images`` (by name). Pure."""
    if phase_of(kubevirts) != "Deployed":
        return False
    used = {
        container["image"]
        for pod in pods
        if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        for container in pod["spec"]["containers"]
        if container["image"].rpartition("/")[2].partition(":")[0] in images
    }
    return used == set(images.values()) and not any(_unready(pod) for pod in pods)


def _is_done(run: Run) -> bool:
    return is_rolled_out(_images(run), run.kube.kubevirts(), _pods(run))


def _perform(run: Run) -> None:
    began = time.time()
    try:
        waiting.wait_for(
            lambda: unless_away(lambda: _look(run, began), _NOTHING), lambda seen: seen.is_rolled_out,
            stop=lambda seen: bool(seen.crashed or seen.lost), deadline_s=_DEADLINE_S, every_s=1.0,
            what="KubeVirt to be Deployed",
        )  # fmt: skip
    except (waiting.WaitTimeout, waiting.WaitStopped) as error:
        seen = unless_away(lambda: _look(run, began), _NOTHING)
        if seen.lost:
            where = "; ".join(f"node {node} is not ready, and has {pod}" for node, pod in seen.lost)
            raise StepFailed(f"{error}\n{where}", hint=_LOST_HINT) from error
        logs = [f"--- {pod} {container}\n{_tail(run, pod, container)}" for pod, container in seen.crashed]
        raise StepFailed("\n".join([str(error), *logs])) from error


def _tail(run: Run, pod: str, container: str) -> str:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log"
    return last_words(lambda: run.kube.text(path, container=container, tailLines="20", previous="true"))


def last_words(read: Callable[[], str]) -> str:
    """What a container said before it died. When it has just died once more the API still names one whose log the
    kubelet has removed: it says so with status 200, and puts it right within seconds."""
    try:
        return waiting.wait_for(
            read, lambda text: not text.startswith(_LOG_IS_GONE), deadline_s=15, what="the log of a container"
        )
    except (KubeError, waiting.WaitTimeout) as error:
        return f"(no log: {error})"


STEP = Step("rollout", "components running", _is_done, _perform)
