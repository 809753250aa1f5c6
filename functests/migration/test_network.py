"""The pod network of a guest that moved."""

import secrets

import pytest

from functests.libs import build, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=800, nodes=2)]


@pytest.mark.case("MIG-024")
def test_masquerade_goes_on(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI behind masquerade with an echo server.
    Steps: migrate; ask the server from both nodes; open a connection outward; renew the lease.
    Expected: address, MAC and route in the guest are unchanged; the VMI's address is the new pod's; all of it works.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    patience.eventually(
        "the guest has a route", lambda: shell.run("ip -4 route show default").out, lambda text: "via" in text)
    shell.succeed("(witness tcp-echo 8080 > /tmp/echo.log 2>&1 &)")
    look = "ip -4 -o addr show dev eth0 | awk '{print $4}'; cat /sys/class/net/eth0/address; ip route show default"
    known = shell.succeed(look)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    pod = space.rest.get(f"/api/v1/namespaces/{space.name}/pods/{after.pod}").ok()
    address = pod["status"]["podIP"]
    space.wait_vmi(
        "vm", lambda vmi: vmi["status"]["interfaces"][0].get("ipAddress") == address,
        "the VMI has the address of its pod", within_s=patience.promised(10))
    shell = space.shell("vm")
    assert shell.succeed(look) == known
    for node in nodes:
        nonce = secrets.token_hex(8)
        script = f"exec 3<>/dev/tcp/{address}/8080; echo {nonce} >&3; timeout 5 head -n 1 <&3"
        assert nonce in node.run(f"timeout 10 bash -c '{script}'")
    shell.succeed("udhcpc -i eth0 -n -q -t 5 -T 2 -s /bin/true")
    assert shell.succeed(look) == known
