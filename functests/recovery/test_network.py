"""A guest's network while the handler that made it is away, and after another one has come."""

import pytest

from functests.libs import build, patience, pods
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.nodes import Node, Nodes
from functests.libs.stack import Stack

pytestmark = pytest.mark.serial

PORT = 7100
# One connection for good: a line each half second, and its number once it has come back. Ends when anything fails.
_TALK = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as s:
    s.settimeout(20)
    lines = s.makefile()
    for number in range(10**6):
        s.sendall(b"%d\\n" % number)
        if lines.readline().strip() != str(number):
            sys.exit("broke after %d" % number)
        print(number, flush=True)
        time.sleep(0.5)
"""


def _said(space: Space) -> int:
    """The number of the last line that came back; -1 before the first."""
    return int((pods.log(space, "client").split() or ["-1"])[-1])


def _network(node: Node, pid: int) -> tuple[list[str], str]:
    """The devices of the pod of ``pid``, and how many rules each chain of its nat table has."""
    counts = "nft list table ip nat | awk '/^\\tchain/ {chain=$2} /counter|masquerade|snat|dnat|jump/ {n[chain]++} " \
             "END {for (chain in n) print chain, n[chain]}' | sort"
    return sorted(node.links(pid)), node.run_in(pid, counts)


def _leased(shell: Console) -> None:
    patience.eventually(
        "eth0 has its address",
        lambda: shell.run("ip -4 -o addr show dev eth0").out,
        lambda text: "inet 10.0.2.2/24" in text,
        within_s=patience.boots(1),
    )


@pytest.mark.demand(boots=2)
@pytest.mark.case("NET-053")
def test_a_guests_network_outlives_its_handler(space: Space, cluster: Cluster, nodes: Nodes, stack: Stack) -> None:
    """
    Preconditions: a running VMI that serves an echo; a pod with a connection to it.
    Steps: delete the handler's pod of its node; reboot the guest when another one serves.
    Expected: the connection goes on; devices and rules in the pod are as they were; the guest gets its lease again.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    _leased(shell)
    shell.succeed(f"{{ setsid witness tcp-echo {PORT} > /tmp/echo.log 2>&1 < /dev/null & }}")
    pod = space.pod(vmi)
    node = nodes[vmi["status"]["nodeName"]]
    pods.start(space, pods.python_pod(cluster, "client", _TALK, pod["status"]["podIP"], str(PORT), node=node.name))
    patience.eventually("the client is answered", lambda: _said(space), lambda number: number >= 2)
    qemu = node.qemu(pod["metadata"]["uid"])
    before = _network(node, qemu.pid)
    assert before[1], f"no nat rules in the pod: {before}"

    stack.replace(stack.handler(node.name))
    stack.wait_well()
    last = _said(space)
    patience.eventually("the connection goes on", lambda: _said(space), lambda number: number >= last + 3)
    client = pods.wait_phase(space, "client", ("Running", "Succeeded", "Failed"))
    assert client["status"]["phase"] == "Running", pods.log(space, "client")
    # A handler that acts on the guest has met its launcher, so whatever it makes of the pod's network is made.
    assert space.act_on_vmi("vm", "pause").code == 200
    space.wait_condition("vm", "Paused", "True")
    assert space.act_on_vmi("vm", "unpause").code == 200
    space.wait_condition("vm", "Paused", "")
    assert _network(node, qemu.pid) == before

    shell = space.shell("vm")
    since = shell.position
    shell.send("reboot -f\n")
    shell.wait_for("tiny: ready", within_s=patience.boots(1), since=since)
    _leased(shell.login(within_s=patience.boots(1)))
    assert node.qemu(pod["metadata"]["uid"]).pid == qemu.pid
