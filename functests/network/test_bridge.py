"""The bridge binding on the pod network: a guest that is its pod for all others."""

import secrets

import pytest

from functests.libs import build, guestnet, pods
from functests.libs.cluster import Cluster
from functests.libs.guestnet import addressed
from functests.libs.kube import Space

MAC = "de:ad:00:00:be:af"
_ASK = "udhcpc -n -q -i eth0 -t 5 -T 4 > /dev/null 2>&1"


@pytest.mark.needs("two-nodes")
@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2, nodes=2)
@pytest.mark.case("NET-011")
@pytest.mark.case("NET-022")
@pytest.mark.case("NET-023")
def test_a_bridged_guest_with_a_chosen_mac(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI with a bridge and a MAC of its own; its pod's card is point to point. A VMI and two pods, one
        of them on the same node.
    Steps: read MAC, address and routes; ping the gateway; exchange nonces with all; look for a double of its address;
        change the MAC, ask DHCP, put the MAC back and ask again.
    Expected: the MAC of the spec in guest and status; the pod's address; the default route by a gateway that answers
        and has no route through itself; all nonces arrive; nobody else has the address; no lease for another MAC, one
        at once for the old.
    """
    here, there = cluster.workers[:2]
    interface = {"name": "default", "bridge": {}, "macAddress": MAC}
    bridged = build.merged(
        build.on_node(build.kernel_boot_vmi(cluster, "bridged"), here),
        {"spec": {"domain": {"devices": {"interfaces": [interface]}}}},
    )
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "other"), there))
    vmi, shell = space.boot(bridged)
    addressed(shell)
    space.wait_running("other")
    other = space.shell("other")
    addressed(other)
    own = space.pod(vmi)["status"]["podIP"]
    told = guestnet.interface(space, "bridged")
    assert (told["mac"], told["ipAddress"]) == (MAC, own)
    assert shell.succeed("cat /sys/class/net/eth0/address") == MAC
    assert f"inet {own}/" in shell.succeed("ip -4 -o addr show dev eth0")

    routes = [line.split() for line in shell.succeed("ip -4 route show dev eth0").splitlines()]
    gateway = next(words[words.index("via") + 1] for words in routes if words[0] == "default")
    loops = [words for words in routes if words[0].startswith(gateway) and "via" in words]
    assert not loops, f"the way to the gateway is the gateway: {loops}"
    assert "2 packets received" in shell.succeed(f"ping -c 2 -W 5 {gateway}")

    guestnet.serve(shell, 8080)
    guestnet.serve(other, 8080)
    nonce = secrets.token_hex(8)
    for node in (here, there):
        assert pods.ask(cluster, space, own, 8080, nonce, name=f"on-{node}", node=node)["answer"] == nonce
    assert other.succeed(f"echo {nonce} | nc -w 5 {own} 8080") == nonce
    assert shell.succeed(f"echo {nonce} | nc -w 5 {guestnet.address(space, 'other')} 8080") == nonce
    doubles = shell.succeed(f"arping -D -I eth0 -c 2 -w 3 {own}")
    assert "Received 0 " in doubles, doubles

    shell.run("killall udhcpc")
    shell.succeed("ip link set eth0 down && ip link set eth0 address 02:aa:bb:cc:dd:ee && ip link set eth0 up")
    assert shell.run(_ASK).code != 0, "another MAC was given the pod's address"
    shell.succeed(f"ip link set eth0 down && ip link set eth0 address {MAC} && ip link set eth0 up")
    shell.succeed("udhcpc -n -q -i eth0 -t 3 -T 2 > /dev/null 2>&1")
    assert f"inet {own}/" in shell.succeed("ip -4 -o addr show dev eth0")
