"""Networks of virtual functions: VLANs, several interfaces, addresses that stay."""

import re

import pytest

from functests.libs import claims, functions, guestnet
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.functions import GUEST, OTHER_GUEST, PEER
from functests.libs.kube import Space
from functests.libs.nodes import Nodes

pytestmark = [pytest.mark.serial, pytest.mark.needs("sriov"), pytest.mark.timeout(1800)]
VLAN = 100
TAGGED_PEER, TAGGED_GUEST = "198.51.100.1", "198.51.100.2"
FIRST, SECOND = "de:ad:00:00:00:01", "de:ad:00:00:00:02"
# The last of the eight ports that every guest has; each port more would cost a guest under two emulations seconds.
PLACE = "0000:08:00.0"


@pytest.mark.demand(vcpus=1, memory_mib=1500, boots=1, seconds=240)
@pytest.mark.case("SRI-005")
def test_a_guest_in_a_vlan_reaches_that_vlan_only(space: Space, nodes: Nodes, cluster: Cluster) -> None:
    """
    Preconditions: the second card, on the same wire as the first, has one address without a tag and one in VLAN 100.
    Steps: boot a guest with a function of the first card in a network of VLAN 100; ping both addresses.
    Expected: the card shows VLAN 100 for the function; in VLAN 100 five of five are answered, outside of it none.
    """
    node = nodes[cluster.machines[0]]
    functions.define(space, "tagged", "pf1", vlan=VLAN)
    _, shell = functions.boot(space, functions.guest(cluster, "vm", {"name": "tagged", "macAddress": FIRST}))
    (used,) = [each for each in functions.functions(node, "pf1") if not each.is_neutral]
    link = functions.links(shell)[FIRST]
    tagged = f"pf2.{VLAN}"
    # Else the link in the VLAN answers for the other link's address.
    made = (f"ip link add link pf2 name {tagged} type vlan id {VLAN}; "
            f"echo 1 > /proc/sys/net/ipv4/conf/{tagged}/arp_ignore; ip link set {tagged} up")
    with (
        functions.done_on(node, made, f"ip link del {tagged} 2> /dev/null || true", f"link {tagged}"),
        functions.peer(node, "pf2"), functions.peer(node, tagged, TAGGED_PEER),
    ):
        functions.address(shell, link, GUEST)
        # The driver lists no VLANs for the card itself (igb_vlan_rx_add_vid), and then the emulated card gives a
        # broadcast in a VLAN to nobody. So the guest need not ask for the peer's address; the peer does ask.
        mac = node.run("cat /sys/class/net/pf2/address").strip()
        shell.succeed(
            f"ip addr add {TAGGED_GUEST}/24 dev {link}; ip neigh replace {TAGGED_PEER} lladdr {mac} dev {link}",
            within_s=functions.patient(0.5))
        found: list[Claim] = [
            ("VLAN on the card", (used.mac, used.vlan), (FIRST, VLAN)),
            ("answers in the VLAN", functions.answered(shell, TAGGED_PEER), 5),
            ("the guest as the peer there sees it", functions.neighbour(node, tagged, TAGGED_GUEST), FIRST),
            ("answers outside of it", functions.answered(shell, PEER, 2), 0),
        ]
    assert claims.wrong(found) == ""


@pytest.mark.demand(vcpus=2, memory_mib=3000, boots=2, seconds=400)
@pytest.mark.case("SRI-006")
def test_two_guests_talk_past_the_pod_network(space: Space, nodes: Nodes, cluster: Cluster) -> None:
    """
    Preconditions: a network of the first card's functions.
    Steps: boot two guests with a function each; twenty pings from one to the other, and 4 MiB by TCP there and back.
    Expected: twenty answered; the same SHA-256; the sender's pod link carried next to nothing of it.
    """
    functions.define(space, "fast", "pf1")
    shells = {}
    for name, mac, own in (("left", FIRST, GUEST), ("right", SECOND, OTHER_GUEST)):
        vmi = functions.guest(cluster, name, {"name": "fast", "macAddress": mac})
        _, shells[name] = functions.boot(space, vmi)
        functions.address(shells[name], functions.links(shells[name])[mac], own)
    left, right = shells["left"], shells["right"]
    count = "cat /sys/class/net/eth0/statistics/tx_bytes"
    before = int(left.succeed(count, within_s=functions.patient(0.5)))
    guestnet.serve(right, 7000)
    left.succeed("dd if=/dev/urandom of=/tmp/goes bs=1M count=4 2>/dev/null", within_s=functions.patient(0.5))
    left.succeed(f"nc -w 60 {OTHER_GUEST} 7000 < /tmp/goes > /tmp/back", within_s=functions.patient(1))
    sums = left.succeed("sha256sum < /tmp/goes; sha256sum < /tmp/back", within_s=functions.patient(0.5))
    goes, back = sums.splitlines()
    found: list[Claim] = [
        ("pings answered", functions.answered(left, OTHER_GUEST, 20), 20),
        ("SHA-256 of what came back", back, goes),
        ("bytes on the pod network", int(left.succeed(count, within_s=functions.patient(0.5))) - before < 2**20, True),
    ]
    assert claims.wrong(found) == ""


@pytest.mark.demand(vcpus=1, memory_mib=1500, boots=2, seconds=400)
@pytest.mark.case("SRI-004")
@pytest.mark.case("SRI-007")
def test_each_function_is_at_its_address_in_its_network(space: Space, nodes: Nodes, cluster: Cluster) -> None:
    """
    Preconditions: a network of each card's functions.
    Steps: boot a guest with an interface in each: one with a MAC and a PCI address, one without; reboot it.
    Expected: the guest has the first at the PCI address asked for; each MAC is on a function of its own network's card,
        before and after the reboot; the VMI lists each interface once.
    """
    node = nodes[cluster.machines[0]]
    functions.define(space, "one", "pf1")
    functions.define(space, "two", "pf2")
    asked = {"name": "one", "macAddress": FIRST, "pciAddress": PLACE}
    vmi, shell = functions.boot(space, functions.guest(cluster, "vm", asked, {"name": "two"}))
    listed = {each["name"]: each["mac"] for each in vmi["status"]["interfaces"]}
    used = {
        card: [each.mac for each in functions.functions(node, card) if not each.is_neutral] for card in ("pf1", "pf2")
    }
    links = functions.links(shell)
    place = shell.succeed(f"readlink /sys/class/net/{links[FIRST]}/device", within_s=functions.patient(0.5))
    found: list[Claim] = [
        ("interfaces of the VMI", sorted(listed), ["default", "fast0", "fast1"]),
        ("used functions", used, {"pf1": [FIRST], "pf2": [listed["fast1"]]}),
        ("links in the guest", sorted(links), sorted([FIRST, listed["fast1"]])),
        ("place of the first", place.rsplit("/", 1)[-1], PLACE),
        ("the made MAC is local and single", bool(re.match("[0-9a-f][26ae]:", listed["fast1"])), True),
    ]
    assert claims.wrong(found) == ""

    boot = functions.boot_id(shell)
    seen = shell.position
    shell.send("reboot\n")
    shell.wait_for("tiny: ready", within_s=functions.patient(2), since=seen)
    shell.login(within_s=functions.patient(1))
    again = space.vmi("vm")["status"]["interfaces"]
    found = [
        ("it is another boot", functions.boot_id(shell) != boot, True),
        ("links in the guest", sorted(functions.links(shell)), sorted(links)),
        ("interfaces of the VMI", sorted(each.get("name", "") for each in again), ["default", "fast0", "fast1"]),
        ("their MACs", {each["name"]: each["mac"] for each in again}, listed),
    ]
    assert claims.wrong(found) == ""
