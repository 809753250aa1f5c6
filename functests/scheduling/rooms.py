"""How much CPU the cluster's workers still have for guests, in vCPUs as launcher pods ask for them.

Workers of the dev cluster give away half a CPU each and a launcher asks for a tenth of one: a test that pins several
guests to one worker waits for ever when others fill it. The scheduler of Kubernetes sends all other guests elsewhere.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from virt.api import quantity

VCPU_MILLI = 106            # `compute` with one vCPU, and the small containers beside it
_OVER = ("Succeeded", "Failed")
_WORKERS = "/api/v1/nodes?labelSelector=%21node-role.kubernetes.io/control-plane"


def free_vcpus(nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """By node: what it can give minus what its pods ask for that are not over."""
    left = {node["metadata"]["name"]: _milli(node["status"]["allocatable"]["cpu"]) for node in nodes}
    for pod in pods:
        name = pod["spec"].get("nodeName")
        if name in left and pod["status"].get("phase") not in _OVER:
            left[name] -= _asked(pod["spec"])
    return {name: max(milli, 0) // VCPU_MILLI for name, milli in left.items()}


def _asked(spec: Mapping[str, Any]) -> int:
    def of(containers: Iterable[Mapping[str, Any]]) -> list[int]:
        return [_milli(one.get("resources", {}).get("requests", {}).get("cpu", 0)) for one in containers]

    return max(sum(of(spec["containers"])), max(of(spec.get("initContainers", [])), default=0))


def _milli(text: str | int) -> int:
    return int(quantity.parse(text) * 1000)


@cache
def _api() -> Any:
    from functests.libs import cluster as clusters  # only here: a run of unit tests needs no cluster
    from functests.libs.rest import Rest

    return Rest(clusters.load().api)


def node_vcpus() -> int | None:
    """Of the fullest worker now; None where that cannot be had: then the tests' own waits tell what is wrong."""
    try:
        nodes, pods = (_api().get(path).ok()["items"] for path in (_WORKERS, "/api/v1/pods"))
    except Exception:  # noqa: BLE001 - no cluster, or one that is restarting
        return None
    return min(free_vcpus(nodes, pods).values(), default=None)
