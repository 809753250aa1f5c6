"""Nodes with a control plane. An interrupted creation is started over; stopped nodes are started."""

from collections.abc import Mapping, Sequence

from cluster_up.actions.step import Run, Step
from cluster_up.errors import ForeignCluster, StepFailed
from cluster_up.exec import RunError
from cluster_up.kube import unless_away
from cluster_up.providers.api import Existence, NodeView
from virt.base import waiting

_API_S = 600.0
_PORT_TAKEN = ("port is already allocated", "address already in use")     # Docker's words


def _is_done(run: Run) -> bool:
    existence = run.provider.existence()
    if existence is Existence.FOREIGN:
        raise ForeignCluster(f"there is a cluster {run.config.name!r} already that was not made by this command")
    if not run.state.kubeconfig:
        return False            # the state file was lost, or nothing was made yet
    if existence is not Existence.OURS or not all(node.running for node in run.provider.nodes()):
        return False
    return run.kube.is_ready() and not _silent(run)


def silent(nodes: Sequence[NodeView], heartbeats: Mapping[str, float]) -> list[str]:
    """Nodes whose kubelet has not been heard of since they were started. Pure.

    The API goes on to call a node ready for forty seconds, so what it says of a node just started may be of before.
    """
    return [node.name for node in nodes if heartbeats.get(node.name, 0.0) <= node.started]


def _silent(run: Run) -> list[str]:
    return silent(run.provider.nodes(), run.kube.heartbeats())


def _perform(run: Run) -> None:
    existence = run.provider.existence()
    if existence is Existence.PARTIAL:
        run.report.detail("an interrupted creation is taken away first")
        run.provider.delete()
    if existence is Existence.OURS:
        _start(run)
    else:
        # Nothing that an earlier cluster of this name had is in the new one.
        run.remember(applied={}, nodes=())
        run.provider.create(run.config, run.state.node_image, run.state.registry_port)
    run.remember(
        kubeconfig=str(run.provider.kubeconfig),
        kubernetes_version=run.config.kubernetes_version,
        pod_cidr=str(run.config.pod_cidr),
        service_cidr=str(run.config.service_cidr),
        workers=run.config.workers,
    )
    run.report.detail("waiting for the API server")
    waiting.wait_for(run.kube.is_ready, bool, deadline_s=_API_S, every_s=1.0, what="the API server")
    run.report.detail("waiting for word of each node")
    waiting.wait_for(
        lambda: unless_away(lambda: _silent(run), ["unknown"]), lambda nodes: not nodes, deadline_s=_API_S, every_s=0.5,
        what="word of each node",
    )  # fmt: skip


def _start(run: Run) -> None:
    try:
        run.provider.start()
    except RunError as error:
        if any(text in str(error) for text in _PORT_TAKEN):
            hint = "end the program that has the port (`ss -ltnp` names it), or begin anew: `down`, `up`"
            raise StepFailed(f"a node's port is taken by another program: {error}", hint=hint) from error
        raise


STEP = Step("cluster", "nodes and control plane", _is_done, _perform)
