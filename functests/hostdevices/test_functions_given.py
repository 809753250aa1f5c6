"""Who gets virtual functions: none is given twice, none is kept, whatever ends its guest or the node's agent."""

import pytest

from functests.libs import claims, functions, launcher, patience
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.functions import GUEST, ON_EACH, PEER, RESOURCES
from functests.libs.kube import Space, condition, is_final, is_running
from functests.libs.nodes import Nodes
from functests.libs.rest import Rest
from functests.libs.stack import Stack

pytestmark = [pytest.mark.serial, pytest.mark.needs("sriov"), pytest.mark.timeout(1800)]
MAC, OTHER = "de:ad:00:00:00:09", "de:ad:00:00:00:0a"
VLAN = 7


@pytest.mark.sriov_core
@pytest.mark.demand(vcpus=1, memory_mib=3000, boots=1, seconds=300)
@pytest.mark.case("SRI-008")
def test_a_guest_waits_while_all_functions_are_taken(space: Space, nodes: Nodes, cluster: Cluster) -> None:
    """
    Preconditions: a network of the first card's functions.
    Steps: a VMI with all seven of them; when it runs, another one with one; delete the first.
    Expected: seven are set up; the second's pod is Unschedulable for want of the resource, and no function is touched;
        then it runs.
    """
    node = nodes[cluster.machines[0]]
    functions.define(space, "fast", "pf1")
    space.create(functions.guest(cluster, "all", *({"name": "fast"} for _ in range(ON_EACH))))
    space.wait_running("all", within_s=functions.patient())
    taken = functions.functions(node, "pf1")
    space.create(functions.guest(cluster, "late", {"name": "fast"}))
    late = space.wait_condition("late", "PodScheduled", "False", within_s=functions.patient())
    found: list[Claim] = [
        ("set up", len({each.mac for each in taken if not each.is_neutral}), ON_EACH),
        ("why the other waits", f"Insufficient {RESOURCES['pf1']}" in condition(late, "PodScheduled")["message"], True),
        ("the functions meanwhile", functions.functions(node, "pf1"), taken),
    ]
    assert claims.wrong(found) == ""
    space.delete_vmi("all")
    space.wait_running("late", within_s=functions.patient(2))


@pytest.mark.sriov_core
@pytest.mark.demand(vcpus=1, memory_mib=1500, boots=1, seconds=240)
@pytest.mark.case("SRI-009")
def test_a_killed_guest_gives_its_function_back_as_it_was(space: Space, nodes: Nodes, cluster: Cluster) -> None:
    """
    Preconditions: a network of the first card's functions, with a VLAN and trust.
    Steps: run a VMI in it, with a MAC; kill its QEMU with SIGKILL.
    Expected: the VMI ends; nobody holds the VFIO group; the function has no MAC, VLAN or trust any more, and vfio-pci.
    """
    node = nodes[cluster.machines[0]]
    functions.define(space, "odd", "pf1", vlan=VLAN, trust="on", spoofchk="off")
    space.create(functions.guest(cluster, "vm", {"name": "odd", "macAddress": MAC}))
    vmi = space.wait_running("vm", within_s=functions.patient())
    (used,) = [each for each in functions.functions(node, "pf1") if not each.is_neutral]
    place = functions.places(node, "pf1")[used.number]
    found: list[Claim] = [
        ("set up", (used.mac, used.vlan, used.trust, used.spoof_check), (MAC, VLAN, True, False)),
    ]
    assert claims.wrong(found) == ""
    node.run(f"kill -9 {launcher.of(space, vmi, nodes).qemu.pid}")
    space.wait_vmi("vm", is_final, "ended", may_end=True, within_s=functions.patient())
    now = patience.eventually(
        "the function is as it was", lambda: functions.functions(node, "pf1")[used.number],
        lambda seen: seen.is_neutral, within_s=functions.patient(0.5), every_s=1.0)
    holders = node.run(f"ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c '/dev/vfio/{place.group}$' || true").strip()
    found = [
        ("spoof check", now.spoof_check, True),
        ("place", functions.places(node, "pf1")[used.number], place),
        ("who holds the group", holders, "0"),
    ]
    assert claims.wrong(found) == ""


@pytest.mark.disruptive
@pytest.mark.demand(vcpus=2, memory_mib=3000, boots=2, seconds=400)
@pytest.mark.case("SRI-017")
def test_a_function_stays_when_agents_restart(
    space: Space, nodes: Nodes, cluster: Cluster, stack: Stack, admin: Rest
) -> None:
    """
    Preconditions: a guest with a function talks to the second card.
    Steps: restart the node's kubelet and kill the node's agent; then create a second guest.
    Expected: the guest goes on talking; seven functions are offered again; the second guest gets another one.
    """
    node = nodes[cluster.machines[0]]
    functions.define(space, "fast", "pf1")
    _, shell = functions.boot(space, functions.guest(cluster, "vm", {"name": "fast", "macAddress": MAC}))
    functions.address(shell, functions.links(shell)[MAC], GUEST)
    before = functions.functions(node, "pf1")
    agent = stack.handler(node.name)
    path = f"/api/v1/nodes/{node.name}"

    node.run("systemctl restart kubelet")
    stack.kill(agent)
    # Not before the kubelet has told of it: what the API says until then is of the time before.
    stack.wait_restarted(agent, within_s=functions.patient())
    stack.wait_well(within_s=functions.patient())
    patience.eventually(
        "all are offered again", lambda: admin.get(path).ok()["status"]["allocatable"].get(RESOURCES["pf1"]),
        lambda offered: offered == str(ON_EACH), within_s=functions.patient(0.5), every_s=1.0)
    with functions.peer(node, "pf2"):
        assert functions.answered(shell, PEER) == 5
    assert functions.functions(node, "pf1") == before

    space.create(functions.guest(cluster, "next", {"name": "fast", "macAddress": OTHER}))
    space.wait_vmi("next", is_running, "runs", within_s=functions.patient())
    used = {each.number: each.mac for each in functions.functions(node, "pf1") if not each.is_neutral}
    (first,) = [each.number for each in before if each.mac == MAC]
    assert used.pop(first) == MAC
    assert list(used.values()) == [OTHER]
