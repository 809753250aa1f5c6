"""What the cluster under test can do: measured or read once per run, kept in ``artifacts/capabilities.json``.

That file alone decides which tests are skipped, and says why. A claim of the cluster's state file counts only where the
cluster itself agrees.
"""

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from functests.libs.cluster import Cluster
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import Rest

FILE = Path(__file__).parents[2] / "artifacts" / "capabilities.json"
_CORE_DEVICES = ("kvm", "tun", "vhost-net", "vhost-vsock", "userfaultfd", "container-disk")
_USERFAULTFD = "devices.kubevirt.io/userfaultfd"
_FUNCTIONS = "intel.com/net1"


@dataclass(frozen=True)
class Capability:
    """``why``: what was seen, also where it can."""

    can: bool
    why: str


Capabilities = Mapping[str, Capability]


def known(cluster: Cluster, admin: Rest, *, file: Path = FILE, run: str = "") -> Capabilities:
    """Those of this run: read when a process of it has measured them, else measured and written."""
    run = run or os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"process {os.getpid()}"
    file.parent.mkdir(exist_ok=True)
    with file.open("a+") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        found = _parsed(shared.read())
        if (found.get("run"), found.get("cluster")) != (run, cluster.name):
            can = {name: asdict(capability) for name, capability in sorted(measured(cluster, admin).items())}
            found = {"run": run, "cluster": cluster.name, "capabilities": can}
            shared.truncate(0)
            shared.write(json.dumps(found, indent=1) + "\n")
    return {name: Capability(**row) for name, row in found["capabilities"].items()}


def _parsed(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError:
        return {}


def missing(capabilities: Capabilities, needs: tuple[str, ...]) -> list[str]:
    """Reasons why a test with these needs cannot run. A need that nobody measures is a mistake: KeyError."""
    return [f"{name} ({capabilities[name].why})" for name in needs if not capabilities[name].can]


def measured(cluster: Cluster, admin: Rest) -> dict[str, Capability]:
    nodes = admin.get("/api/v1/nodes").ok()["items"]
    groups = {group["name"] for group in admin.get("/apis").ok()["groups"]}
    classes = admin.get("/apis/storage.k8s.io/v1/storageclasses").ok()["items"]
    return {
        **of_status(cluster),
        **of_nodes(nodes),
        **of_api(groups, [item["metadata"] for item in classes], dict(cluster.capabilities)),
        "sriov": _agreed("sriov", cluster.capabilities, lambda: _offering(nodes, _FUNCTIONS)),
        "two-sriov": two_sriov(nodes),
        "mdev": of_machines([Nodes(cluster)[name] for name in cluster.machines]),
        "kvm": _agreed("kvm", cluster.capabilities, lambda: _offering(nodes, "devices.kubevirt.io/kvm")),
    }


def of_status(cluster: Cluster) -> dict[str, Capability]:
    """Read from ``cluster_up status``: what it set up itself, workers and guest images."""
    told = {
        name: Capability(can, f"the cluster's state file says {str(can).lower()}")
        for name, can in cluster.capabilities.items()
    }
    images = ", ".join(sorted(cluster.images)) or "none"
    return {
        **told,
        "two-nodes": Capability(len(cluster.workers) > 1, f"{len(cluster.workers)} workers"),
        "agent": Capability("tiny-kernel" in cluster.images, f"guest images: {images}"),
        "debian": Capability("debian" in cluster.images, f"guest images: {images}"),
    }


def of_nodes(nodes: list[Mapping[str, Any]]) -> dict[str, Capability]:
    """What nodes offer: address families of pods, devices of the host."""
    ranges = sorted({one for node in nodes for one in node["spec"].get("podCIDRs", [])})
    devices = sorted(
        {
            name
            for node in nodes
            for name, count in node["status"].get("allocatable", {}).items()
            if "/" in name and name.partition("/")[2] not in _CORE_DEVICES and count not in ("0", 0)
        }
    )
    return {
        "ipv6": Capability(any(":" in one for one in ranges), f"ranges of pods: {', '.join(ranges) or 'none'}"),
        "post-copy": Capability(_offering(nodes, _USERFAULTFD), f"whether nodes offer {_USERFAULTFD}"),
        "hostdev": Capability(bool(devices), f"devices that nodes offer: {', '.join(devices) or 'none'}"),
    }


def two_sriov(nodes: list[Mapping[str, Any]]) -> Capability:
    """Whether a guest with a virtual function can move."""
    count = sum(_offering([node], _FUNCTIONS) for node in nodes)
    return Capability(count > 1, f"nodes that offer {_FUNCTIONS}: {count}")


def of_machines(machines: list[Node]) -> Capability:
    """Whether workers that are virtual machines have the kernel's sample driver of mediated devices."""
    if not machines:
        return Capability(False, "no worker is a virtual machine")
    look = "test -d /sys/class/mdev_bus/mtty || modprobe --dry-run --quiet mtty"
    lacking = [node.name for node in machines if node.try_run(look)[0] != 0]
    said = f"its kernel has no module mtty: {', '.join(lacking)}" if lacking else "module mtty is there"
    return Capability(not lacking, said)


def of_api(groups: set[str], classes: list[Mapping[str, Any]], told: Mapping[str, bool]) -> dict[str, Capability]:
    """What is installed: kinds that are served, storage classes."""
    names = sorted(item["name"] for item in classes)
    return {
        "shared": _agreed("shared", told, lambda: "shared" in names),
        "block": Capability("block" in names, f"storage classes: {', '.join(names) or 'none'}"),
        "snapshot": _agreed("snapshot", told, lambda: "snapshot.storage.k8s.io" in groups),
        "prom": Capability("monitoring.coreos.com" in groups, "whether monitoring.coreos.com is served"),
    }


def _offering(nodes: list[Mapping[str, Any]], device: str) -> bool:
    return any(node["status"].get("allocatable", {}).get(device, "0") not in ("0", 0) for node in nodes)


def _agreed(name: str, told: Mapping[str, bool], look: Callable[[], bool]) -> Capability:
    says, seen = bool(told.get(name)), look()
    return Capability(says and seen, f"state file: {str(says).lower()}, seen in the cluster: {str(seen).lower()}")
