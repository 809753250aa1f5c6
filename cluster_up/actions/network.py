"""The pod network: on each node a bridge-less ptp network of its own pod CIDR, a route to each other node's, one rule.

No daemon: what a node needs is in files on it, and a unit applies them whenever the node starts. NetworkPolicy is not
enforced. Source addresses stay as they are between pods (ipMasq would change them across nodes).
"""

import json
from collections.abc import Sequence
from typing import Any

from cluster_up.actions.step import Run, Step
from cluster_up.images.recipe import RECIPES, digest
from cluster_up.kube import unless_away
from cluster_up.providers import files
from cluster_up.state import Node
from virt.base import waiting

_READY_S = 600.0
_FILES = RECIPES / "node" / "files"
_SCRIPT = "usr/local/bin/pod-network"
_UNIT = "etc/systemd/system/pod-network.service"


def conflist(pod_cidr: str) -> dict[str, Any]:
    """CNI configuration of the node that owns ``pod_cidr``."""
    ipam = {
        "type": "host-local",
        "dataDir": "/run/cni-ipam",        # on tmpfs: a restarted node forgets addresses of pods that are gone
        "ranges": [[{"subnet": pod_cidr}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    ptp = {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.3.1", "name": "pods", "plugins": [ptp, portmap]}


def routes(node: Node, nodes: Sequence[Node]) -> str:
    """Lines ``<pod CIDR> <address>``, one per other node."""
    return "".join(f"{other.pod_cidr} {other.address}\n" for other in nodes if other.name != node.name)


def script(node: Node, nodes: Sequence[Node], cluster_cidr: str, service_cidr: str) -> str:
    """What a node runs to take part in the pod network. Running it again changes nothing."""
    contents = {
        f"/{_SCRIPT}": (_FILES / _SCRIPT).read_bytes(),
        f"/{_UNIT}": (_FILES / _UNIT).read_bytes(),
        "/etc/pod-network/cidr": cluster_cidr.encode() + b"\n",
        "/etc/pod-network/services": service_cidr.encode() + b"\n",
        "/etc/pod-network/routes": routes(node, nodes).encode(),
        "/etc/cni/net.d/10-pods.conflist": json.dumps(conflist(node.pod_cidr), indent=1).encode() + b"\n",
    }
    return (
        f"{files.script(contents)}chmod 755 /{_SCRIPT}\nsystemctl daemon-reload\n"
        "systemctl enable --quiet pod-network\nsystemctl restart pod-network\n"
    )


def _identity(run: Run, nodes: Sequence[Node]) -> str:
    return digest(*(_script(run, node, nodes) for node in nodes))


def _script(run: Run, node: Node, nodes: Sequence[Node]) -> str:
    return script(node, nodes, str(run.config.pod_cidr), str(run.config.service_cidr))


def _is_done(run: Run) -> bool:
    known = {node.name: node for node in run.state.nodes}
    here = run.provider.nodes()
    if set(known) != {view.name for view in here} or any(known[view.name].address != view.address for view in here):
        return False                      # a restart of the engine may give nodes other addresses
    return run.state.applied.get("network") == _identity(run, run.state.nodes) and run.kube.all_nodes_ready()


def _perform(run: Run) -> None:
    views = run.provider.nodes()
    run.report.detail("waiting for each node's pod CIDR")
    nothing: dict[str, str] = {}
    cidrs = waiting.wait_for(
        lambda: unless_away(run.kube.pod_cidrs, nothing), lambda found: all(found.get(view.name) for view in views),
        deadline_s=_READY_S, every_s=1.0, what="a pod CIDR for every node",
    )  # fmt: skip
    nodes = tuple(Node(name=v.name, role=v.role, address=v.address, pod_cidr=cidrs[v.name]) for v in views)
    for node in nodes:
        run.provider.run(node.name, _script(run, node, nodes))
    run.report.detail("waiting for the nodes to be ready")
    waiting.wait_for(
        lambda: unless_away(run.kube.all_nodes_ready, False), bool, deadline_s=_READY_S, every_s=0.5,
        what="all nodes to be Ready",
    )  # fmt: skip
    run.remember(nodes=nodes)
    run.mark_applied("network", _identity(run, nodes))


STEP = Step("network", "pod network", _is_done, _perform)
