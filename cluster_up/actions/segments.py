"""Secondary networks: the kind that describes them, and a bridge on each worker that is one network with the others'.

Elsewhere multus brings the kind, and whoever runs the nodes joins their bridges, with a switch. Here a bridge of each
worker has a VXLAN port to the others'. Where the kernel has no VXLAN there is no such bridge, and tests that need one
are skipped.
"""

from collections.abc import Sequence

import yaml

from cluster_up.actions.step import Run, Step
from cluster_up.images.recipe import RECIPES, digest
from cluster_up.providers import files
from cluster_up.state import Node

BRIDGE, _NUMBER = "lab", 1
_DEFINITION = RECIPES / "machine" / "networks.yaml"
_FILES = RECIPES / "segments"
_PLACES = {"segment": "/usr/local/bin/segment", "segments.service": "/etc/systemd/system/segments.service"}
_WORKS = "segments work"


def script(node: Node, nodes: Sequence[Node]) -> str:
    """What a worker runs; the last line of its output tells whether it could. Running it again changes nothing."""
    peers = [other.address for other in nodes if other.name != node.name]
    contents = {place: (_FILES / name).read_bytes() for name, place in _PLACES.items()} | {
        "/etc/segments/own": f"{node.address}\n".encode(),
        "/etc/segments/peers": "".join(f"{address}\n" for address in peers).encode(),
        "/etc/segments/list": f"{BRIDGE} {_NUMBER}\n".encode(),
    }
    return (
        f"{files.script(contents)}chmod 755 {_PLACES['segment']}\nsystemctl daemon-reload\n"
        f"systemctl enable --quiet segments\nsystemctl restart segments && echo {_WORKS} || echo no VXLAN\n"
    )


def workers(nodes: Sequence[Node]) -> tuple[Node, ...]:
    return tuple(node for node in nodes if node.role != "control-plane")


def _identity(run: Run) -> str:
    there = workers(run.state.nodes)
    return digest(_DEFINITION.read_bytes(), *(script(node, there) for node in there))


def _is_done(run: Run) -> bool:
    return run.state.applied.get("segments") == _identity(run)


def _perform(run: Run) -> None:
    run.kube.apply(yaml.safe_load_all(_DEFINITION.read_text()))
    there = workers(run.state.nodes)
    said = [run.provider.run(node.name, script(node, there)) for node in there]
    can = all(_WORKS in each for each in said)
    run.report.detail(f"bridge {BRIDGE} on every worker" if can else "no VXLAN in this kernel: no network spans nodes")
    run.learn(segments=can)
    run.mark_applied("segments", _identity(run))


STEP = Step("segments", "secondary networks", _is_done, _perform)
