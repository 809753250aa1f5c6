"""A USB device of the node in a guest."""

import xml.etree.ElementTree as ET

import pytest

from functests.libs import claims, functions, guest, launcher, patience, settings
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space, condition
from functests.libs.nodes import Nodes
from functests.libs.rest import Rest

pytestmark = [pytest.mark.serial, pytest.mark.needs("sriov"), pytest.mark.timeout(1800)]
# The machine has one; its serial is the beginning of its content's SHA-256 (cluster_up/machines/stick.py).
STICK, VENDOR, PRODUCT = "functest.example/stick", "46f4", "0001"
PERMITTED = {"usb": [{"resourceName": STICK, "selectors": [{"vendor": VENDOR, "product": PRODUCT}]}]}


def _digest(shell: Console) -> str:
    """Of the guest's only disk, which the stick is."""
    guest.load(shell, "usb-storage")
    patience.eventually(
        "the stick is a disk", lambda: shell.run("test -b /dev/sda", within_s=functions.patient(0.5)).code,
        lambda code: code == 0, within_s=functions.patient(0.5), every_s=1.0)
    return shell.succeed("sha256sum < /dev/sda", within_s=functions.patient(1)).split()[0]


@pytest.mark.demand(vcpus=2, memory_mib=3000, boots=2, seconds=400)
@pytest.mark.case("SRI-024")
def test_a_stick_goes_from_one_guest_to_the_next(space: Space, cluster: Cluster, admin: Rest, nodes: Nodes) -> None:
    """
    Preconditions: a node with a USB stick whose serial tells its content; the gate HostDevices is on.
    Steps: permit it; boot a guest with it, and create a second one; permit nothing any more; permit it again and delete
        the first guest.
    Expected: one is offered; pod, domain and guest have it, and its content is the stick's; the guest cannot move; the
        second's pod is Unschedulable for want of the resource; without the permission none is offered, and the guest
        reads the same; then the second has it, with the same content.
    """
    node = nodes[cluster.machines[0]]
    place = node.run(f"cd /sys/bus/usb/devices; grep -l {VENDOR} */idVendor").strip().partition("/")[0]
    serial = node.run(f"cat /sys/bus/usb/devices/{place}/serial").strip()
    gates = settings.kubevirt(admin)["spec"]["configuration"].get("developerConfiguration", {}).get("featureGates", [])
    configuration = {
        "developerConfiguration": {"featureGates": [*gates, "HostDevices"]}, "permittedHostDevices": PERMITTED}
    first, second = (functions.guest(cluster, name) for name in ("first", "second"))
    for manifest in (first, second):
        manifest["spec"]["domain"]["devices"]["hostDevices"] = [{"name": "stick", "deviceName": STICK}]

    def offered(wanted: str) -> None:
        patience.eventually(
            f"{wanted} of the resource offered",
            lambda: admin.get(f"/api/v1/nodes/{node.name}").ok()["status"]["allocatable"].get(STICK, "0"),
            lambda seen: seen == wanted, within_s=functions.patient(0.5), every_s=1.0)

    with settings.changed(admin, {"configuration": configuration}):
        offered("1")
        patience.eventually(
            "admission knows the gate", lambda: space.try_create(first, dry_run=True).code, lambda code: code == 201)
        vmi, shell = functions.boot(space, first)
        pod = space.pod(vmi)
        (device,) = ET.fromstring(launcher.Launcher(node, pod["metadata"]["uid"]).virsh("dumpxml")).findall(
            "./devices/hostdev")
        in_guest = shell.succeed(
            "cat /sys/bus/usb/devices/*/idVendor; cat /sys/bus/usb/devices/*/idProduct",
            within_s=functions.patient(0.5)).split()
        content = _digest(shell)
        found: list[Claim] = [
            ("devices of the pod", pod["spec"]["containers"][0]["resources"]["limits"].get(STICK), "1"),
            ("device of the domain", (device.get("type"), device.get("managed")), ("usb", "no")),
            ("its ids in the guest", {VENDOR, PRODUCT} <= {*in_guest}, True),
            ("content, told by the serial", content[:len(serial)], serial),
            ("why it cannot move", condition(vmi, "LiveMigratable").get("reason"), "HostDeviceNotLiveMigratable"),
        ]
        assert claims.wrong(found) == ""

        space.create(second)
        late = space.wait_condition("second", "PodScheduled", "False", within_s=functions.patient())
        assert f"Insufficient {STICK}" in condition(late, "PodScheduled")["message"]

        admin.patch(settings.path(admin), {"spec": {"configuration": {"permittedHostDevices": None}}}).ok()
        offered("0")
        shell.succeed("echo 3 > /proc/sys/vm/drop_caches", within_s=functions.patient(0.5))
        assert _digest(shell) == content, "the guest has lost what it had when its permission went"

        admin.patch(settings.path(admin), {"spec": {"configuration": {"permittedHostDevices": PERMITTED}}}).ok()
        space.delete_vmi("first")
        space.wait_running("second", within_s=functions.patient(2))
        assert _digest(space.console("second").login(within_s=functions.patient())) == content
        space.delete_vmi("second")
        space.wait_vmi_gone("second", within_s=functions.patient())
