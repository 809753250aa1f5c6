"""Guests that move in networks of the second layer: for everybody there they stay where they are."""

import re
import time

import pytest

from functests.libs import build, guestnet, moves, patience, segments
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.segments import Segments
from functests.libs.stalls import STALLS

pytestmark = [pytest.mark.needs("two-nodes", "segments")]
MAC = "de:ad:00:00:be:0a"
EVERY_S = 0.05
# Numbers, one after the other, to the guest and back over one connection until /run/enough is there.
_STREAM = (
    "(i=0; while [ ! -e /run/enough ]; do echo $i; i=$((i+1)); usleep 20000; done; echo $i > /run/sent; sleep 1000) | "
    "nc 10.1.1.2 8080 > /run/stream"
)
_PINGS = f"ping -i {EVERY_S} 10.1.1.2 > /run/pings"


def _mover(cluster: Cluster) -> Manifest:
    """It may run anywhere, best where its peer is not."""
    elsewhere = {"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [cluster.workers[0]]}]}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "preference": elsewhere}]}}
    vmi = build.merged(build.kernel_boot_vmi(cluster, "mover"), build.spec_patch(affinity=affinity))
    segments.connected(vmi, "red", macAddress=MAC)
    return segments.connected(vmi, "blue")


def _in_background(shell: Console, script: str) -> None:
    shell.succeed(f"{{ setsid sh -c '{script}' > /dev/null 2>&1 < /dev/null & }}")


def _numbers(shell: Console) -> tuple[int, int]:
    """How many numbers came back, and how many of them were not one more than the one before."""
    seen = shell.succeed("awk '$1 != NR-1 {wrong++} END {print NR, wrong+0}' /run/stream")
    count, wrong = seen.split()
    return int(count), int(wrong)


@pytest.mark.demand(vcpus=3, memory_mib=1200, boots=2, nodes=2, seconds=60)
@pytest.mark.case("MIG-028")
def test_neighbours_in_secondary_networks_do_not_notice(
    layer2: Segments, space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: two guests on the pod network and in the networks red and blue, which span the workers; in red the
        peer pings the other twenty times a second, and sends numbers over one connection, which come back.
    Steps: migrate; ping in blue; end the stream.
    Expected: MACs and addresses are those of before; at most two seconds of pings are lost; all numbers came back in
        their order over the one connection; blue works too.
    """
    for network in ("red", "blue"):
        layer2.define(space, network)
    peer_vmi = build.on_node(build.kernel_boot_vmi(cluster, "peer"), cluster.workers[1])
    space.create(segments.connected(peer_vmi, "red", "blue"))
    _, mover = space.boot(_mover(cluster))
    space.wait_running("peer")
    peer = space.shell("peer", boots=2)
    for number, shell in ((1, peer), (2, mover)):
        for link, network in (("eth1", "10.1.1"), ("eth2", "10.1.2")):
            guestnet.join(shell, link, f"{network}.{number}/24")
    guestnet.serve(mover, 8080)
    assert segments.answered(peer, "10.1.1.2") == 3
    look = "for n in 1 2; do cat /sys/class/net/eth$n/address; ip -4 -o addr show dev eth$n | awk '{print $4}'; done"
    known = mover.succeed(look)
    told = [(entry["name"], entry["mac"]) for entry in space.vmi("mover")["status"]["interfaces"]]
    assert (known.splitlines()[0], told[1]) == (MAC, ("red", MAC))

    STALLS.start()
    began = time.monotonic()
    peer.succeed("touch /run/stream")
    _in_background(peer, _STREAM)
    _in_background(peer, _PINGS)
    patience.eventually("numbers come back", lambda: _numbers(peer)[0], lambda count: count > 20)
    before = moves.home(space, nodes, "mover")
    moves.migrate(space, "mover")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "mover", before, "move")
    count = _numbers(peer)[0]
    patience.eventually("numbers still come back", lambda: _numbers(peer)[0], lambda later: later > count + 20)
    peer.succeed("killall -INT ping")
    summary = patience.eventually(
        "ping tells", lambda: peer.succeed("cat /run/pings"), lambda text: "packets received" in text)
    sent, received = (int(number) for number in re.findall(r"(\d+) packets", summary))
    quiet_s = max(2.0, patience.boot_s() / 2) + STALLS.since(began)
    assert sent - received <= quiet_s / EVERY_S, f"{sent - received} of {sent} pings were lost, or {quiet_s:.1f} s"
    peer.succeed("touch /run/enough; until [ -s /run/sent ]; do usleep 50000; done")
    all_of_them = int(peer.succeed("cat /run/sent"))
    patience.eventually("all numbers came back", lambda: _numbers(peer), lambda seen: seen == (all_of_them, 0))

    mover = space.shell("mover")
    assert mover.succeed(look) == known
    assert [(entry["name"], entry["mac"]) for entry in space.vmi("mover")["status"]["interfaces"]] == told
    assert guestnet.peers(mover, 8080) == ["10.1.1.1"], "the stream was not one connection"
    assert segments.answered(peer, "10.1.2.2") == 3
    assert segments.answered(mover, "10.1.1.1") == 3
