"""Networks of the second layer that span the workers, and how guests get into them.

Each is a bridge on every worker, joined with the others' by what the dev cluster's nodes have for that (``segment``,
docs/secondary-networks.md). A test has networks of its own, so that nobody else's frames are in them.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from functests.libs import patience, undo
from functests.libs.build import Manifest
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.nodes import Node

GROUP, PLURAL = "k8s.cni.cncf.io", "network-attachment-definitions"
_PATH = f"/apis/{GROUP}/v1/namespaces/{{}}/{PLURAL}"


@dataclass
class Segments:
    """``made``: on which node, the script that takes a bridge away when the guests are gone, and its note."""

    workers: Sequence[Node]
    made: list[tuple[Node, str, undo.Note]] = field(default_factory=list)

    def make(self) -> str:
        """A new network; returns its bridge's name."""
        number = 1000 + secrets.randbelow(2**24 - 1000)
        bridge = f"ft{number:06x}"
        for node in self.workers:
            gone = f"segment remove {bridge} {number}"
            note = undo.noted(undo.Script(node=node.name, script=gone, of=f"network {bridge}", late=True))
            self.made.append((node, gone, note))
            node.run(f"segment add {bridge} {number}")
        return bridge

    def define(self, space: Space, name: str, **config: Any) -> str:
        """A new network that guests of the namespace know as ``name``; ``config``: fields of the plugin ``bridge``."""
        bridge = self.make()
        attachment(space, name, bridge, **config)
        return bridge

    def remove(self) -> None:
        for node, gone, note in self.made:
            node.run(gone)
            note.done()


def attachment(space: Space, name: str, bridge: str, **config: Any) -> None:
    """Describe the nodes' bridge ``bridge`` to the namespace."""
    plugin = {"cniVersion": "0.3.1", "name": name, "type": "bridge", "bridge": bridge, **config}
    manifest: Manifest = {
        "apiVersion": f"{GROUP}/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name}, "spec": {"config": json.dumps(plugin)},
    }  # fmt: skip
    space.rest.post(_PATH.format(space.name), manifest).ok()


def connected(vmi: Manifest, *networks: str, **interface: Any) -> Manifest:
    """``vmi`` with one more bridged interface in each of ``networks``, called like it. ``interface``: of the last."""
    spec = vmi["spec"]
    for network in networks:
        entry = {"name": network, "bridge": {}, **(interface if network == networks[-1] else {})}
        spec["domain"]["devices"]["interfaces"].append(entry)
        spec["networks"].append({"name": network, "multus": {"networkName": network}})
    return vmi


def count(node: Node, pid: int, match: str) -> None:
    """From here on count the frames that match (nft's words) on their way to a port of any bridge in the namespace of
    ``pid``; the counter goes with the namespace."""
    hook = "type filter hook postrouting priority 0"
    node.run_in(pid, f"echo 'table bridge functest {{ chain seen {{ {hook}; {match} counter; }}; }}' | nft -f -")


def counted(node: Node, pid: int) -> int:
    listing = node.run_in(pid, "nft list table bridge functest")
    return int(listing.partition("counter packets ")[2].split()[0])


def answered(shell: Console, peer: str, count: int = 3, *, within_s: int = 30) -> int:
    """How many of so many pings were answered."""
    said = shell.run(f"ping -c {count} -W {within_s} {peer}", within_s=patience.boots(2)).out
    line = next((line for line in said.splitlines() if "packets received" in line), "")
    assert line, f"ping said: {said}"
    return int(line.split(",")[1].split()[0])
