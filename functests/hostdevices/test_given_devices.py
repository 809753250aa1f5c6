"""PCI devices of the node in a guest, under both lists of the spec."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from functests.libs import claims, functions, launcher, moves, patience, settings
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.evictions import evict
from functests.libs.kube import Space, condition
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import Rest

pytestmark = [pytest.mark.serial, pytest.mark.needs("sriov"), pytest.mark.timeout(1800)]
# The machine has one of each, which no driver wants (cluster_up/machines/command.py).
CARD, GPU = "functest.example/card", "functest.example/gpu"
IDS = {CARD: "1b36:0005", GPU: "1234:11e8"}


@pytest.fixture
def node(nodes: Nodes, cluster: Cluster) -> Iterator[Node]:
    """The machine, with both devices on vfio-pci for the length of the test.

    To be asked for before ``space``: a device that a guest still has is not let go by its driver.
    """
    machine = nodes[cluster.machines[0]]
    bus = "/sys/bus/pci"
    with ExitStack() as bound:
        for address in [_address(machine, each) for each in IDS.values()]:
            override, own = f"{bus}/devices/{address}/driver_override", f"{bus}/drivers/vfio-pci"
            bound.enter_context(functions.done_on(
                machine, f"echo vfio-pci > {override}; echo {address} > {bus}/drivers_probe",
                f"[ ! -e {own}/{address} ] || echo {address} > {own}/unbind; echo > {override}",
                f"driver of {address}"))
        yield machine


def _address(node: Node, ids: str) -> str:
    vendor, device = ids.split(":")
    said = node.run("cd /sys/bus/pci/devices; for d in *; do echo $d $(cat $d/vendor $d/device); done")
    found = [line.split()[0] for line in said.splitlines() if line.split()[1:] == [f"0x{vendor}", f"0x{device}"]]
    assert len(found) == 1, f"{node.name}: devices {ids} are {found}"
    return found[0]


def _offered(admin: Rest, node: Node) -> dict[str, str]:
    found = admin.get(f"/api/v1/nodes/{node.name}").ok()["status"]["allocatable"]
    return {name: found.get(name, "0") for name in IDS}


@pytest.mark.demand(vcpus=1, memory_mib=1500, boots=1, seconds=240)
@pytest.mark.case("SRI-018")
@pytest.mark.case("SRI-020")
@pytest.mark.case("SRI-021")
@pytest.mark.case("SRI-023")
def test_a_guest_has_devices_of_its_node(node: Node, space: Space, cluster: Cluster, admin: Rest) -> None:
    """
    Preconditions: a node with two PCI devices on vfio-pci; the gate HostDevices is on.
    Steps: permit both; boot a guest with one under hostDevices and one under gpus; ask it to migrate; evict its pod,
        which by its strategy migrates it; permit nothing any more; delete it.
    Expected: one of each is offered without a restart; pod, guest and domain have both; LiveMigratable is False,
        HostDeviceNotLiveMigratable, and a migration and the eviction are refused; without a permission none is
        offered, and the guest keeps its devices.
    """
    gates = settings.kubevirt(admin)["spec"]["configuration"].get("developerConfiguration", {}).get("featureGates", [])
    listed = [{"pciVendorSelector": ids, "resourceName": name} for name, ids in IDS.items()]
    configuration = {
        "developerConfiguration": {"featureGates": [*gates, "HostDevices"]},
        "permittedHostDevices": {"pciHostDevices": listed},
    }
    manifest = functions.guest(cluster, "vm")
    manifest["spec"]["evictionStrategy"] = "LiveMigrate"
    devices = manifest["spec"]["domain"]["devices"]
    devices["hostDevices"] = [{"name": "a", "deviceName": CARD}]
    devices["gpus"] = [{"name": "b", "deviceName": GPU}]
    with settings.changed(admin, {"configuration": configuration}):
        patience.eventually(
            "both are offered", lambda: _offered(admin, node), lambda seen: seen == dict.fromkeys(IDS, "1"),
            within_s=functions.patient(0.5), every_s=1.0)
        patience.eventually(
            "admission knows the gate", lambda: space.try_create(manifest, dry_run=True).code, lambda code: code == 201)
        vmi, shell = functions.boot(space, manifest)
        pod = space.pod(vmi)
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        domain = ET.fromstring(launcher.Launcher(node, pod["metadata"]["uid"]).virsh("dumpxml"))
        aliases = [each.get("name", "") for each in domain.findall("./devices/hostdev/alias")]
        movable = condition(vmi, "LiveMigratable")
        seen = {*functions.pci_ids(shell)}
        refused = moves.try_migrate(space, "vm")
        found: list[Claim] = [
            ("devices of the pod", {name: limits.get(name) for name in IDS}, dict.fromkeys(IDS, "1")),
            ("devices in the guest", {*IDS.values()} <= seen, True),
            ("aliases", sorted(each.removeprefix("ua-") for each in aliases), ["gpu-b", "hostdevice-a"]),
            ("LiveMigratable", movable.get("status"), "False"),
            ("why", movable.get("reason"), "HostDeviceNotLiveMigratable"),
            ("a migration", refused.code, 400),
            ("an eviction", evict(space, pod["metadata"]["name"]).code, 429),
        ]
        assert claims.wrong(found) == ""

        admin.patch(settings.path(admin), {"spec": {"configuration": {"permittedHostDevices": None}}}).ok()
        patience.eventually(
            "none is offered", lambda: _offered(admin, node), lambda seen: seen == dict.fromkeys(IDS, "0"),
            within_s=functions.patient(0.5), every_s=1.0)
        assert {*functions.pci_ids(shell)} == seen
        space.delete_vmi("vm")
        space.wait_vmi_gone("vm", within_s=functions.patient())
