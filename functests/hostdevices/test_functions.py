"""A guest with a virtual function of a network card: counted, set up, used, and given back as it was."""

import xml.etree.ElementTree as ET

import pytest

from functests.libs import claims, functions, launcher, patience
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.functions import GUEST, ON_EACH, PEER, RESOURCES
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import Rest
from virt.api import quantity

pytestmark = [pytest.mark.serial, pytest.mark.needs("sriov"), pytest.mark.timeout(1800)]
MAC = "de:ad:00:00:be:ef"
_GIB = 2**30


@pytest.mark.sriov_core
@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("SRI-001")
def test_every_function_is_offered(admin: Rest, nodes: Nodes, cluster: Cluster) -> None:
    """
    Preconditions: a worker with two network cards of seven functions each, and no guest on it.
    Steps: read what the node offers, the cards' sysfs, and what the cards say of their functions.
    Expected: seven of each resource; each function on vfio-pci, alone in its IOMMU group, and as no guest left it; the
        cards themselves stay links of the node.
    """
    name = cluster.machines[0]
    offered = admin.get(f"/api/v1/nodes/{name}").ok()["status"]["allocatable"]
    found: list[Claim] = []
    groups: list[str] = []
    for card, resource in RESOURCES.items():
        seen = functions.places(nodes[name], card)
        groups += [place.group for place in seen]
        found += [
            (f"{resource} of the node", offered.get(resource), str(ON_EACH)),
            (f"drivers of {card}'s functions", {place.driver for place in seen}, {"vfio-pci"}),
            (f"devices in each group of {card}", {place.sharing for place in seen}, {1}),
            (f"functions of {card}", [each.number for each in functions.functions(nodes[name], card)],
             list(range(ON_EACH))),
            (f"used functions of {card}",
             [each for each in functions.functions(nodes[name], card) if not each.is_neutral], []),
        ]
    found.append(("IOMMU groups", len(set(groups)), len(RESOURCES) * ON_EACH))
    assert claims.wrong(found) == ""


@pytest.mark.sriov_core
@pytest.mark.demand(vcpus=1, memory_mib=1500, boots=1, seconds=240)
@pytest.mark.case("SRI-002")
@pytest.mark.case("SRI-003")
@pytest.mark.case("SRI-010")
def test_a_guest_talks_through_its_function(space: Space, nodes: Nodes, cluster: Cluster) -> None:
    """
    Preconditions: a network of the first card's functions; the second card, on the same wire, has an address.
    Steps: boot a guest with the pod network and one SR-IOV interface with a MAC; ping the second card; delete it.
    Expected: the pod asks for one function and for 1 GiB more than the guest has, without a capability; QEMU holds one
        VFIO group and may lock all of its memory; card, guest, VMI and peer have the MAC; five of five pings are
        answered; afterwards the function is as it was, and offered.
    """
    node = nodes[cluster.machines[0]]
    functions.define(space, "fast", "pf1")
    vmi, shell = functions.boot(space, functions.guest(cluster, "vm", {"name": "fast", "macAddress": MAC}))
    pod = space.pod(vmi)
    asked = pod["spec"]["containers"][0]["resources"]
    limits, memory = asked["limits"], quantity.integer(asked["requests"]["memory"])
    inside = launcher.of(space, vmi, nodes)
    pid = inside.qemu.pid
    held = node.run(f"readlink /proc/{pid}/fd/* | grep '^/dev/vfio/[0-9]' || true").split()
    status = node.run(f"grep -E '^(Uid|CapEff|CapPrm)' /proc/{pid}/status")
    (limit,) = [line.split()[3] for line in node.run(f"cat /proc/{pid}/limits").splitlines() if "locked memory" in line]
    (used,) = [each for each in functions.functions(node, "pf1") if not each.is_neutral]
    place = functions.places(node, "pf1")[used.number]
    (device,) = ET.fromstring(inside.virsh("dumpxml")).findall("./devices/hostdev")
    interface = next(each for each in vmi["status"]["interfaces"] if each["name"] == "fast0")
    of_guest = functions.links(shell)
    found: list[Claim] = [
        ("functions of the pod", limits.get(RESOURCES["pf1"]), "1"),
        (f"memory that it asks for, {memory}, has 1 GiB for the device", memory >= 96 * 2**20 + _GIB, True),
        ("QEMU's VFIO groups", held, [f"/dev/vfio/{place.group}"]),
        ("its user", status.split()[1], "107"),
        ("its capabilities", {line.split()[1] for line in status.splitlines()[1:]}, {"0" * 16}),
        ("it may lock its memory", limit == "unlimited" or int(limit) >= 96 * 2**20 + _GIB, True),
        ("MAC on the card", used.mac, MAC),
        ("how libvirt treats it", device.get("managed"), "no"),
        ("MAC in the VMI", interface.get("mac"), MAC),
        ("links in the guest", list(of_guest), [MAC]),
        ("PCI ids in the guest", [each for each in functions.pci_ids(shell) if each == "8086:10ca"],
         ["8086:10ca"]),
    ]
    assert claims.wrong(found) == ""

    with functions.peer(node, "pf2"):
        functions.address(shell, of_guest[MAC], GUEST)
        found = [
            ("pings answered", functions.answered(shell, PEER), 5),
            ("the guest as the peer sees it", functions.neighbour(node, "pf2", GUEST), MAC),
        ]
    assert claims.wrong(found) == ""

    space.delete_vmi("vm")
    space.wait_vmi_gone("vm", within_s=functions.patient())
    patience.eventually(
        "the function is as it was", lambda: functions.functions(node, "pf1")[used.number],
        lambda now: now.is_neutral, within_s=functions.patient(0.5), every_s=1.0)
    assert functions.places(node, "pf1")[used.number] == place
