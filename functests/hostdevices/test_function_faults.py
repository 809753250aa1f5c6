"""Virtual functions that cannot be had: what is said, that no guest runs without its card, and that it ends well."""

import pytest

from functests.libs import claims, functions, patience
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.functions import ON_EACH, RESOURCES
from functests.libs.kube import Space, condition, is_final
from functests.libs.nodes import Nodes
from functests.libs.rest import Rest
from functests.libs.stack import Stack, is_ready

pytestmark = [pytest.mark.serial, pytest.mark.needs("sriov"), pytest.mark.timeout(1800)]
MAC, OTHER = "de:ad:00:00:00:0b", "de:ad:00:00:00:0c"


@pytest.mark.sriov_core
@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0, seconds=60)
@pytest.mark.case("SRI-025")
def test_a_card_that_is_down_offers_nothing(admin: Rest, nodes: Nodes, cluster: Cluster) -> None:
    """
    Preconditions: a worker with two network cards of seven functions each, and no guest on it.
    Steps: take the link of the first card down; up again.
    Expected: none of its functions is offered while all of the other card's are; then all are offered again, each on
        its driver and in its group as before.
    """
    name = cluster.machines[0]
    places = functions.places(nodes[name], "pf1")
    assert functions.offered(admin, name) == dict.fromkeys(RESOURCES.values(), ON_EACH)
    with functions.done_on(nodes[name], "ip link set pf1 down", "ip link set pf1 up", "state of link pf1"):
        seen = patience.eventually(
            "the card's functions are offered no more", lambda: functions.offered(admin, name),
            lambda offered: offered[RESOURCES["pf1"]] == 0, within_s=functions.patient(0.5), every_s=1.0)
        assert seen[RESOURCES["pf2"]] == ON_EACH
    patience.eventually(
        "all are offered again", lambda: functions.offered(admin, name),
        lambda offered: offered[RESOURCES["pf1"]] == ON_EACH, within_s=functions.patient(0.5), every_s=1.0)
    assert functions.places(nodes[name], "pf1") == places


@pytest.mark.demand(vcpus=2, memory_mib=3000, boots=3, seconds=300)
@pytest.mark.case("SRI-026")
def test_a_function_that_cannot_be_set_starts_no_guest(space: Space, nodes: Nodes, cluster: Cluster) -> None:
    """
    Preconditions: two networks of the first card's functions, one with VLAN 5000; a VMI with a function and a MAC.
    Steps: create a VMI with the same MAC; delete the first; then create one in the faulty network.
    Expected: the second is Scheduled and Synchronized False, with MAC, function and card, and the card has the MAC
        once; it runs as soon as the first is gone. The third says field and value, and no further function is set.
    """
    node = nodes[cluster.machines[0]]
    functions.define(space, "fast", "pf1")
    functions.define(space, "wide", "pf1", vlan=5000)
    space.create(functions.guest(cluster, "first", {"name": "fast", "macAddress": MAC}))
    space.wait_running("first", within_s=functions.patient())
    before = functions.functions(node, "pf1")
    (number,) = [each.number for each in before if each.mac == MAC]
    space.create(functions.guest(cluster, "twin", {"name": "fast", "macAddress": MAC}))
    twin = space.wait_condition("twin", "Synchronized", "False", within_s=functions.patient())
    found: list[Claim] = [
        ("why the second does not run", f"MAC {MAC} is that of function {number} of network card pf1"
         in condition(twin, "Synchronized")["message"], True),
        ("its phase", twin["status"]["phase"], "Scheduled"),
        ("the card's functions", functions.functions(node, "pf1"), before),
    ]
    assert claims.wrong(found) == ""

    space.delete_vmi("first")
    space.wait_running("twin", within_s=functions.patient())
    space.wait_vmi_gone("first", within_s=functions.patient())
    space.create(functions.guest(cluster, "third", {"name": "wide", "macAddress": OTHER}))
    third = space.wait_condition("third", "Synchronized", "False", within_s=functions.patient())
    message = condition(third, "Synchronized")["message"]
    found = [
        ("why the third does not run", "vlan 5000 is no number from 0 to 4094" in message, True),
        ("its definition", f"{space.name}/wide" in message, True),
        ("its phase", third["status"]["phase"], "Scheduled"),
        ("MACs on the card", [each.mac for each in functions.functions(node, "pf1") if not each.is_neutral], [MAC]),
    ]
    assert claims.wrong(found) == ""


@pytest.mark.demand(vcpus=1, memory_mib=1500, boots=1, seconds=240)
@pytest.mark.case("SRI-029")
def test_a_function_that_its_guest_throws_out_is_told_of(space: Space, nodes: Nodes, cluster: Cluster) -> None:
    """
    Preconditions: a guest with a function.
    Steps: the guest switches off the slot that its function is in; delete the VMI.
    Expected: the VMI is Synchronized False, with interface and cause, and an event says it; the guest runs on without
        the card; the function stays the guest's, and is as it was when the VMI is gone.
    """
    node = nodes[cluster.machines[0]]
    functions.define(space, "fast", "pf1")
    _, shell = functions.boot(space, functions.guest(cluster, "vm", {"name": "fast", "macAddress": MAC}))
    (used,) = [each for each in functions.functions(node, "pf1") if not each.is_neutral]
    link = functions.links(shell)[MAC]
    shell.succeed(
        f"d=$(readlink /sys/class/net/{link}/device); d=${{d##*/}}; for s in /sys/bus/pci/slots/*; do "
        "[ $(cat $s/address) != ${d%.*} ] || echo 0 > $s/power; done", within_s=functions.patient(0.5))
    told = space.wait_condition("vm", "Synchronized", "False", within_s=functions.patient(0.5))
    said = condition(told, "Synchronized")["message"]
    space.wait_events("vm", "SyncFailed", "VirtualMachineInstance")
    found: list[Claim] = [
        ("what is said", "interface fast0 has no network card: the guest has let go of it" in said, True),
        ("phase", told["status"]["phase"], "Running"),
        ("links in the guest", functions.links(shell), {}),
        ("the function", functions.functions(node, "pf1")[used.number], used),
    ]
    assert claims.wrong(found) == "", said
    space.delete_vmi("vm")
    space.wait_vmi_gone("vm", within_s=functions.patient())
    patience.eventually(
        "the function is as it was", lambda: functions.functions(node, "pf1")[used.number],
        lambda now: now.is_neutral, within_s=functions.patient(0.5), every_s=1.0)


@pytest.mark.disruptive
@pytest.mark.demand(vcpus=1, memory_mib=1500, boots=2, seconds=400)
@pytest.mark.case("SRI-027")
def test_a_node_that_restarts_has_its_functions_again(
    space: Space, nodes: Nodes, cluster: Cluster, stack: Stack, admin: Rest
) -> None:
    """
    Preconditions: a guest with a function, in a network with a VLAN.
    Steps: restart its node, which loses all functions; when it is back, create a guest with the same MAC.
    Expected: the first VMI ends; as many functions are offered as before, on their driver, and none is set up; the
        second guest runs, and the card has the MAC once.
    """
    name = cluster.machines[0]
    functions.define(space, "odd", "pf1", vlan=7)
    space.create(functions.guest(cluster, "before", {"name": "odd", "macAddress": MAC}))
    space.wait_running("before", within_s=functions.patient())
    agent = stack.handler(name)
    drivers = {place.driver for place in functions.places(nodes[name], "pf1")}

    nodes[name].restart()
    stack.wait_restarted(agent, within_s=functions.patient(2))
    space.wait_vmi("before", is_final, "ended", may_end=True, within_s=functions.patient(2))
    patience.eventually(
        "all are offered again", lambda: functions.offered(admin, name),
        lambda offered: set(offered.values()) == {ON_EACH}, within_s=functions.patient(), every_s=1.0)
    assert {place.driver for place in functions.places(nodes[name], "pf1")} == drivers == {"vfio-pci"}
    assert [each for each in functions.functions(nodes[name], "pf1") if not each.is_neutral] == []
    assert is_ready(stack.handler(name))

    space.create(functions.guest(cluster, "after", {"name": "odd", "macAddress": MAC}))
    space.wait_running("after", within_s=functions.patient())
    used = [(each.mac, each.vlan) for each in functions.functions(nodes[name], "pf1") if not each.is_neutral]
    assert used == [(MAC, 7)]
