"""A mediated device of the node in a guest: the kernel's sample driver mtty makes serial ports that nobody has."""

import uuid
from collections.abc import Iterator

import pytest

from functests.libs import claims, functions, patience, settings
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import Rest

pytestmark = [pytest.mark.serial, pytest.mark.needs("sriov", "mdev"), pytest.mark.timeout(1800)]
PART, TYPE, IDS = "functest.example/part", "Dual port serial", "4348:3253"


@pytest.fixture
def part(nodes: Nodes, cluster: Cluster) -> Iterator[tuple[Node, str]]:
    """The machine, and the UUID of a mediated device that is there for the length of the test."""
    node, name = nodes[cluster.machines[0]], str(uuid.uuid4())
    node.run(f"modprobe mtty; echo {name} > /sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create")
    yield node, name
    node.run(f"echo 1 > /sys/bus/mdev/devices/{name}/remove")


@pytest.mark.demand(vcpus=1, memory_mib=1500, boots=1, seconds=240)
@pytest.mark.case("SRI-023")
def test_a_guest_has_a_part_of_a_device(
    space: Space, cluster: Cluster, admin: Rest, part: tuple[Node, str]
) -> None:
    """
    Preconditions: a node with a mediated device.
    Steps: permit its type, with "_" for spaces; boot a guest with it under gpus; delete it.
    Expected: one is offered; the pod has one, the guest its PCI ids; it cannot move.
    """
    node, _ = part
    listed = [{"mdevNameSelector": TYPE.replace(" ", "_"), "resourceName": PART}]
    manifest = functions.guest(cluster, "vm")
    manifest["spec"]["domain"]["devices"]["gpus"] = [{"name": "part", "deviceName": PART}]
    with settings.changed(admin, {"configuration": {"permittedHostDevices": {"mediatedDevices": listed}}}):
        patience.eventually(
            "one is offered",
            lambda: admin.get(f"/api/v1/nodes/{node.name}").ok()["status"]["allocatable"].get(PART, "0"),
            lambda seen: seen == "1", within_s=functions.patient(0.5), every_s=1.0)
        vmi, shell = functions.boot(space, manifest)
        found: list[Claim] = [
            ("parts of the pod", space.pod(vmi)["spec"]["containers"][0]["resources"]["limits"].get(PART), "1"),
            ("device in the guest", IDS in functions.pci_ids(shell), True),
            ("why it cannot move", condition(vmi, "LiveMigratable").get("reason"), "HostDeviceNotLiveMigratable"),
        ]
        assert claims.wrong(found) == ""
        space.delete_vmi("vm")
        space.wait_vmi_gone("vm", within_s=functions.patient())
