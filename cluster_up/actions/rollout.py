"""Waits until the operator says that the whole stack runs, and shows meanwhile what is missing."""

from typing import Any

from cluster_up.actions.step import Run, Step
from cluster_up.errors import StepFailed
from cluster_up.images import components
from cluster_up.kube import KubeError
from virt.base import waiting

_DEADLINE_S = 300.0
NAMESPACE = "kubevirt"
_PATH = f"/apis/kubevirt.io/v1/namespaces/{NAMESPACE}/kubevirts"
_CRASHES = 3


def summary(kubevirts: list[dict[str, Any]], pods: list[dict[str, Any]]) -> tuple[str, tuple[str, ...]]:
    """Phase of the KubeVirt object ("" without one), and a line for each pod that is not ready. Pure."""
    phase = str(kubevirts[0].get("status", {}).get("phase", "")) if kubevirts else ""
    return phase, tuple(line for pod in pods if (line := _unready(pod)))


def _unready(pod: dict[str, Any]) -> str:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    if statuses and all(status["ready"] for status in statuses):
        return ""
    waiting_for = [s["state"]["waiting"].get("reason", "") for s in statuses if "waiting" in s.get("state", {})]
    restarts = max((status["restartCount"] for status in statuses), default=0)
    reason = waiting_for[0] if waiting_for else pod.get("status", {}).get("phase", "Pending")
    return f"{pod['metadata']['name']}: {reason}" + (f", {restarts} restarts" if restarts else "")


def crashed(image: str, pods: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(pod, container) of ``image`` that crashed again and again: waiting longer will not help. Pure.

    Pods of another image are what an earlier roll-out left; this one replaces them.
    """
    return [
        (pod["metadata"]["name"], status["name"])
        for pod in pods
        for status in pod.get("status", {}).get("containerStatuses") or []
        if not status["ready"]
        and status["restartCount"] >= _CRASHES
        and any(c["name"] == status["name"] and c["image"] == image for c in pod["spec"]["containers"])
    ]


def _look(run: Run) -> tuple[str, tuple[str, ...], list[tuple[str, str]], bool]:
    kubevirts = run.kube.get(_PATH)["items"]
    pods = run.kube.pods(NAMESPACE)
    phase, unready = summary(kubevirts, pods)
    run.report.detail(f"KubeVirt {phase or 'new'}; {'; '.join(unready) or 'all pods ready'}")
    return phase, unready, crashed(_image(run), pods), is_rolled_out(_image(run), kubevirts, pods)


def _image(run: Run) -> str:
    return run.state.component_images.get(components.VIRT.name, "")


def is_rolled_out(image: str, kubevirts: list[dict[str, Any]], pods: list[dict[str, Any]]) -> bool:
    """Deployed, every pod ready, and none still on another service image than ``image``. Pure."""
    if not kubevirts or kubevirts[0].get("status", {}).get("phase") != "Deployed":
        return False
    used = {
        container["image"]
        for pod in pods
        if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        for container in pod["spec"]["containers"]
        if f"/{components.VIRT.name}:" in container["image"]
    }
    return used == {image} and not any(_unready(pod) for pod in pods)


def _is_done(run: Run) -> bool:
    return is_rolled_out(_image(run), run.kube.get(_PATH)["items"], run.kube.pods(NAMESPACE))


def _perform(run: Run) -> None:
    try:
        waiting.wait_for(
            lambda: _look(run), lambda seen: seen[3], stop=lambda seen: bool(seen[2]), deadline_s=_DEADLINE_S,
            every_s=1.0, what="KubeVirt to be Deployed",
        )  # fmt: skip
    except (waiting.WaitTimeout, waiting.WaitStopped) as error:
        logs = [f"--- {pod} {container}\n{_tail(run, pod, container)}" for pod, container in _look(run)[2]]
        raise StepFailed("\n".join([str(error), *logs])) from error


def _tail(run: Run, pod: str, container: str) -> str:
    try:
        return run.kube.text(
            f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log", container=container, tailLines="20", previous="true"
        )
    except KubeError as error:
        return f"(no log: {error})"


STEP = Step("rollout", "components running", _is_done, _perform)
