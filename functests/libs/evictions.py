"""Pods that are to be evicted, as people and programs ask for it."""

from collections.abc import Mapping

from functests.libs.kube import Space
from functests.libs.rest import Answer, core_path


def evict(
    space: Space, pod: str, *, namespace: str = "", annotations: Mapping[str, str] | None = None, **options: object
) -> Answer:
    """``options``: of the deletion."""
    where = namespace or space.name
    return space.rest.post(core_path("pods", where, pod) + "/eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": where, **({"annotations": dict(annotations)} if annotations else {})},
        **({"deleteOptions": options} if options else {})})


def drain(node: str, timeout_s: int, *, pods: str = "kubevirt.io=virt-launcher") -> str:
    """Words for kubectl that empty a node of guests, or of the pods that ``pods`` selects, and of nothing else."""
    return (f"drain {node} --ignore-daemonsets --delete-emptydir-data --force --timeout={timeout_s}s "
            f"--pod-selector='{pods}'")
