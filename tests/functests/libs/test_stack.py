"""When the whole stack is well: not while a pod that was deleted has no successor yet."""

from types import SimpleNamespace
from typing import Any

from functests.libs.rest import Answer
from functests.libs.stack import API, COMPONENTS, HANDLER, Stack

WELL = [{"type": kind, "status": status} for kind, status in (
    ("Available", "True"), ("Degraded", "False"), ("Progressing", "False"))]  # fmt: skip


def pod(component: str, number: int, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{component}-{number}", **metadata},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


class Rest:
    """Two pods of each Deployment, two of the DaemonSet."""

    def __init__(self) -> None:
        self.pods = {component: [pod(component, number) for number in range(2)] for component in COMPONENTS}

    def get(self, path: str) -> Answer:
        for component in COMPONENTS:
            if path.endswith(f"labelSelector=kubevirt.io%3D{component}"):
                return answer({"items": self.pods[component]})
        if path.endswith("/deployments"):
            found = [{"metadata": {"name": each}, "spec": {"replicas": 2}} for each in COMPONENTS if each != HANDLER]
            return answer({"items": found})
        if path.endswith("/daemonsets"):
            return answer({"items": [{"metadata": {"name": HANDLER}, "status": {"desiredNumberScheduled": 2}}]})
        if path.endswith("/kubevirts"):
            return answer({"items": [{"status": {"conditions": WELL}}]})
        return answer({
            "metadata": {"labels": {"kubevirt.io/schedulable": "true"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                       "allocatable": {"devices.kubevirt.io/tun": "1000"}},
        })  # fmt: skip


def answer(body: dict[str, Any]) -> Answer:
    return Answer(200, body, "", {})


def stack(rest: Rest) -> Stack:
    return Stack(rest, None, SimpleNamespace(workers=("worker",)))  # type: ignore[arg-type]


def test_a_pod_that_goes_is_missed_before_its_successor_is_made() -> None:
    rest = Rest()
    assert stack(rest).faults() == []
    rest.pods[API][0]["metadata"]["deletionTimestamp"] = "now"
    rest.pods[HANDLER].pop()
    assert stack(rest).faults() == [f"{API} has 1 pods, not 2", f"{HANDLER} has 1 pods, not 2"]
    rest.pods[API].append(pod(API, 2))
    rest.pods[HANDLER].append(pod(HANDLER, 2))
    assert stack(rest).faults() == []
