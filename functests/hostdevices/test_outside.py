"""Resources that another device plugin serves (externalResourceProvider), which tells nothing of what it gave."""

from collections.abc import Iterator

import pytest

from functests.libs import build, claims, patience, settings
from functests.libs.build import Manifest
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import Rest, core_path
from functests.libs.settings import NAMESPACE

CARD, PART = "functest.example/outside-card", "functest.example/outside-part"
NAME = "functest-device-plugin"
FOLDER = "/var/lib/kubelet/device-plugins"
# Serves one device of each resource in argv, and gives a container neither a device node nor a variable.
_PLUGIN = f"""
import asyncio, sys
from pathlib import Path
from virt.handler.devices.plugin import Plugin
from virt.handler.devices.resources import Device, Given
class Silent:
    listed = (Device("one"),)
    def __init__(self, name):
        self.full_name = name
    def given(self, ids):
        return Given()
async def main():
    await asyncio.gather(*(Plugin(Silent(name), Path("{FOLDER}")).run() for name in sys.argv[1:]))
asyncio.run(main())
"""


def _plugin(cluster: Cluster, node: str) -> Manifest:
    container = {
        "name": "main", "image": cluster.component_images["virt-handler"],
        "command": ["python3", "-c", _PLUGIN, CARD, PART],
        "volumeMounts": [{"name": "plugins", "mountPath": FOLDER}],
    }  # fmt: skip
    spec = {
        # With none the pod is gone from the API before its plugin ends, which makes sockets anew that were removed.
        "nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [container],
        "volumes": [{"name": "plugins", "hostPath": {"path": FOLDER, "type": "Directory"}}],
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec}


def _sockets(node: Node) -> list[str]:
    return node.run(f"ls {FOLDER} | grep outside- || true").split()


@pytest.fixture
def node(nodes: Nodes, cluster: Cluster, admin: Rest) -> Iterator[Node]:
    """A worker; the test's plugin goes with the test."""
    worker = nodes[cluster.workers[0]]
    worker.run(f"rm -f {FOLDER}/*outside-*")          # of a run that was killed; one that serves makes its own anew
    yield worker
    place = core_path("pods", NAMESPACE, NAME)
    admin.delete(place)
    patience.eventually("the plugin is gone", lambda: admin.get(place).code, lambda code: code == 404)
    worker.run(f"rm -f {FOLDER}/*outside-*")


@pytest.mark.serial
@pytest.mark.demand(vcpus=0, memory_mib=1200, boots=0)
@pytest.mark.case("SRI-022")
def test_a_plugin_that_tells_nothing_starts_no_guest(
    space: Space, cluster: Cluster, admin: Rest, node: Node
) -> None:
    """
    Preconditions: the gate HostDevices is on; a PCI and a mediated resource are permitted that somebody else serves.
    Steps: look for sockets of theirs; start a device plugin on a worker that gives one of each, and tells containers
        nothing; create a VMI with each.
    Expected: the stack opens no socket for them; both VMIs get a pod on that worker, and never run: Synchronized is
        False, and says that devices are missing, which ones, and of which resource; no QEMU was started.
    """
    gates = settings.kubevirt(admin)["spec"]["configuration"].get("developerConfiguration", {}).get("featureGates", [])
    configuration = {
        "developerConfiguration": {"featureGates": [*gates, "HostDevices"]},
        "permittedHostDevices": {
            "pciHostDevices": [
                {"pciVendorSelector": "fffe:0001", "resourceName": CARD, "externalResourceProvider": True}],
            "mediatedDevices": [
                {"mdevNameSelector": "functest", "resourceName": PART, "externalResourceProvider": True}],
        },
    }  # fmt: skip
    guests = {}
    for name, resource in (("card", CARD), ("part", PART)):
        plain = build.on_node(build.kernel_boot_vmi(cluster, name, memory="64Mi"), node.name)
        guests[name] = build.merged(
            plain, build.devices_patch(hostDevices=[{"name": "outside", "deviceName": resource}]))
    with settings.changed(admin, {"configuration": configuration}):
        patience.eventually(
            "admission knows the gate", lambda: space.try_create(guests["card"], dry_run=True).code,
            lambda code: code == 201)
        assert _sockets(node) == []
        admin.post(core_path("pods", NAMESPACE), _plugin(cluster, node.name)).ok()
        patience.eventually(
            "the kubelet knows both", lambda: admin.get(f"/api/v1/nodes/{node.name}").ok()["status"]["allocatable"],
            lambda seen: (seen.get(CARD), seen.get(PART)) == ("1", "1"), within_s=patience.promised(60), every_s=1.0)
        assert len(_sockets(node)) == 2
        for manifest in guests.values():
            space.create(manifest)
        found: list[Claim] = []
        for name, resource in (("card", CARD), ("part", PART)):
            vmi = space.wait_condition(name, "Synchronized", "False")
            pod = space.pod(vmi)
            message = condition(vmi, "Synchronized")["message"]
            running = [each.argv[0] for each in node.processes(pod["metadata"]["uid"]) if each.is_qemu]
            found += [
                (f"phase of {name}", vmi["status"]["phase"], "Scheduled"),
                ("devices of its pod", pod["spec"]["containers"][0]["resources"]["limits"].get(resource), "1"),
                (f"what is said: {message}", "number of device plugin HostDevice/s do not match" in message, True),
                ("which device", f"outside ({resource})" in message, True),
                ("processes of QEMU", running, []),
            ]
        assert claims.wrong(found) == ""
        for name in guests:
            space.delete_vmi(name)
        for name in guests:
            space.wait_vmi_gone(name)
