"""What the benchmarks of a guest's cost share: a namespace of their own, and a guest's processes on its node."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from functests.libs import patience
from functests.libs import rest as rests
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.nodes import Node, Nodes, Process
from functests.libs.slots import SLOTS


@contextlib.contextmanager
def space(cluster: Cluster, name: str) -> Iterator[Space]:
    """A namespace that goes away with everything in it. Its guests wait for no core: benchmarks have the machine."""
    SLOTS.count = 0
    admin = rests.Rest(cluster.api)
    patience.eventually(
        f"namespace {name} of an earlier run has gone", lambda: admin.get(f"/api/v1/namespaces/{name}").code,
        lambda code: code == 404, within_s=120)
    admin.post("/api/v1/namespaces", {"metadata": {"name": name}}).ok()
    made = Space(admin, name)
    try:
        yield made
    finally:
        for console in made.opened:
            console.close()
        admin.delete(f"/api/v1/namespaces/{name}").ok()


@dataclass(frozen=True)
class OnNode:
    """The launcher pod of a running guest."""

    node: Node
    pod_uid: str
    vmi_uid: str

    @property
    def qemu(self) -> Process:
        return self.node.qemu(self.pod_uid)

    def started_at(self, pid: int) -> float:
        """When the process was started, seconds since 1970, to a hundredth."""
        now, uptime, stat = self.node.run(f"date +%s.%N; cat /proc/uptime /proc/{pid}/stat").split("\n", 2)
        ticks = int(stat.rpartition(")")[2].split()[19])
        return float(now) - float(uptime.split()[0]) + ticks / 100

    def serial_log(self, command: str) -> str:
        """What a command says of the transcript of the serial console, whose path is its last argument."""
        # Not /var/run: in the launcher's image that is a link, which would lead to the node's own /run from here.
        log = f"/run/kubevirt-private/{self.vmi_uid}/virt-serial0-log"
        return self.node.run(f"{command} /proc/{self.qemu.pid}/root{log}")


def on_node(space: Space, nodes: Nodes, vmi: Object) -> OnNode:
    pod = space.pod(vmi)
    return OnNode(nodes[vmi["status"]["nodeName"]], pod["metadata"]["uid"], vmi["metadata"]["uid"])


def ready_at(guest: OnNode, *, within_s: float = 180) -> float:
    """When ``tiny`` said on its serial console that it is ready: the time of change of its transcript, which is silent
    from then on. Seconds since 1970."""
    patience.eventually(
        "the guest is ready", lambda: guest.serial_log("cat"), lambda text: "tiny: ready" in text, within_s=within_s
    )
    return float(guest.serial_log("stat -c %.9Y"))
