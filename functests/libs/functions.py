"""Virtual functions of network cards: guests that have some, the cards on their node, and a peer to talk to.

The lane's node is a machine of its own (docs/sriov-lane.md) that is often emulated, and a guest on it twice.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from functests.libs import build, guestnet, patience, undo
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Object, Space
from functests.libs.nodes import Node
from functests.libs.rest import Rest
from functests.libs.slots import SLOTS

GROUP, PLURAL = "k8s.cni.cncf.io", "network-attachment-definitions"
RESOURCE_ANNOTATION = "k8s.v1.cni.cncf.io/resourceName"
TAINT = "virt-harness/machine"
LABEL = {"virt-harness/sriov": "true"}
# One resource for each card of the machine; both cards are on one wire.
RESOURCES = {"pf1": "intel.com/net1", "pf2": "intel.com/net2"}
ON_EACH = 7
# A boot under two emulations takes so many times that under one (measured: 45 to 62 s against 1.75).
TWICE_EMULATED = 12
# Two emulations calibrate slowly and wrongly. Programs stay at one address: where each start has another, QEMU
# translates all of the program again, which twice emulated takes seconds (`ip`: 3800 blocks at each start, else 20).
_ARGUMENTS = "tsc=reliable lpj=1000000 norandmaps"
PEER, GUEST, OTHER_GUEST = "192.0.2.1", "192.0.2.2", "192.0.2.3"


def patient(count: float = 1) -> float:
    """Seconds that so many boots on the machine may take."""
    return patience.boots(count * TWICE_EMULATED)


def define(space: Space, name: str, card: str, **config: Any) -> None:
    """A network of functions of ``card``; ``config``: fields of the plugin ``sriov``."""
    manifest: Manifest = {
        "apiVersion": f"{GROUP}/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "annotations": {RESOURCE_ANNOTATION: RESOURCES[card]}},
        "spec": {"config": json.dumps({"type": "sriov", **config})},
    }  # fmt: skip
    space.rest.post(f"/apis/{GROUP}/v1/namespaces/{space.name}/{PLURAL}", manifest).ok()


def guest(
    cluster: Cluster, name: str, *interfaces: Mapping[str, Any], memory: str = "96Mi", on: str | None = "",
    kernel_args: str = "",
) -> Manifest:
    """``tiny`` with an SR-IOV interface for each of ``interfaces``, whose ``name`` is its network's. ``on``: the
    machine, "" for the first, None for any."""
    manifest = build.kernel_boot_vmi(cluster, name, memory=memory, kernel_args=f"{_ARGUMENTS} {kernel_args}".strip())
    spec = manifest["spec"]
    spec["nodeSelector"] = LABEL if on is None else {"kubernetes.io/hostname": on or cluster.machines[0]}
    spec["tolerations"] = [{"key": TAINT, "operator": "Exists"}]
    for number, interface in enumerate(interfaces):
        link = {**interface, "name": f"fast{number}", "sriov": {}}
        spec["domain"]["devices"]["interfaces"].append(link)
        spec["networks"].append({"name": f"fast{number}", "multus": {"networkName": interface["name"]}})
    return manifest


def boot(space: Space, manifest: Manifest) -> tuple[Object, Console]:
    """Create a guest on the machine and wait for its shell."""
    name = manifest["metadata"]["name"]
    space.create(manifest)
    try:
        vmi = space.wait_running(name, within_s=patient())
        return vmi, space.console(name).login(within_s=patient())
    finally:
        SLOTS.give(f"{space.name}/{name}")


def offered(admin: Rest, node: str) -> dict[str, int]:
    """How many functions of each card the node has to give to pods, by resource."""
    found = admin.get(f"/api/v1/nodes/{node}").ok()["status"]["allocatable"]
    return {resource: int(found.get(resource, "0")) for resource in RESOURCES.values()}


@dataclass(frozen=True)
class Function:
    """What a card says of one of its functions."""

    number: int
    mac: str
    vlan: int
    spoof_check: bool
    trust: bool

    @property
    def is_neutral(self) -> bool:
        """As before any guest had it."""
        return (self.mac, self.vlan, self.trust) == ("00:00:00:00:00:00", 0, False)


def functions(node: Node, card: str) -> list[Function]:
    """All functions of a card, as ``ip link`` tells them."""
    (link,) = json.loads(node.run(f"ip -j link show dev {card}"))
    return [
        Function(
            each["vf"], each.get("address") or each.get("mac", ""),
            max((one.get("vlan", 0) for one in each.get("vlan_list", [])), default=0), each["spoofchk"], each["trust"],
        )
        for each in link.get("vfinfo_list", [])
    ]  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a function is on the node: its driver, its IOMMU group, and how many devices share that."""

    address: str
    driver: str
    group: str
    sharing: int


def places(node: Node, card: str) -> list[Place]:
    """Of all functions of a card, by number."""
    said = node.run(
        f"cd /sys/class/net/{card}/device; n=0; while [ -e virtfn$n ]; do d=$(readlink -f virtfn$n); "
        "echo ${d##*/} $(basename $(readlink $d/driver)) $(basename $(readlink $d/iommu_group)) "
        "$(ls $d/iommu_group/devices | wc -l); n=$((n + 1)); done"
    )
    found = []
    for line in said.splitlines():
        address, driver, group, sharing = line.split()
        found.append(Place(address, driver, group, int(sharing)))
    return found


def pci_ids(shell: Console) -> list[str]:
    """vendor:device of each PCI function in the guest, read by one program: each costs a second there."""
    said = shell.succeed("cut -f2 /proc/bus/pci/devices", within_s=patient(0.5))
    return [f"{line[:4]}:{line[4:8]}" for line in said.split()]


def boot_id(shell: Console) -> str:
    return shell.succeed("cat /proc/sys/kernel/random/boot_id", within_s=patient(0.5))


def links(shell: Console) -> dict[str, str]:
    """Network links of the guest that are virtual functions: name by MAC address."""
    said = shell.succeed(
        "for n in /sys/class/net/*; do case $(readlink $n/device/driver) in */igbvf) "
        "echo $(cat $n/address) ${n##*/};; esac; done",
        within_s=patient(0.5),
    )
    return dict(line.split() for line in said.splitlines())


def address(shell: Console, link: str, own: str) -> None:
    """Give the link an address and wait for its carrier."""
    guestnet.join(shell, link, f"{own}/24", within_s=patient())


def answered(shell: Console, peer: str, count: int = 5) -> int:
    """How many of so many pings were answered."""
    said = shell.run(f"ping -c {count} -W 10 {peer}", within_s=patient(1)).out
    line = next((line for line in said.splitlines() if "packets received" in line), "")
    assert line, f"ping said: {said}"
    return int(line.split(",")[1].split()[0])


@contextmanager
def peer(node: Node, card: str, own: str = PEER) -> Iterator[None]:
    """The card itself answers at an address inside the block."""
    gone = f"ip addr del {own}/24 dev {card}; ip neigh flush dev {card}"
    with done_on(node, f"ip addr add {own}/24 dev {card}", f"{{ {gone}; }} 2> /dev/null || true", f"address {own}"):
        yield


@contextmanager
def done_on(node: Node, script: str, back: str, of: str) -> Iterator[None]:
    """``script`` is in force on the node inside the block. ``back`` undoes it, also where it was undone already, or the
    machine has been started anew; ``of``: what it takes away."""
    note = undo.noted(undo.Script(node=node.name, script=back, of=of, late=True))
    node.run(script)
    try:
        yield
    finally:
        node.run(back)
        note.done()


def neighbour(node: Node, card: str, other: str) -> str:
    """The MAC address under which the card saw ``other``; "" when it did not."""
    found = json.loads(node.run(f"ip -j neigh show to {other} dev {card}") or "[]")
    return str(found[0].get("lladdr", "")) if found else ""
