"""VMIs that ask for devices of the node: no pod before they are permitted, and before their network is known."""

import pytest
from msgspec.structs import replace

from tests.virt.controller.rig import NAMESPACE, instance, running
from virt.api import conditions, core, v1
from virt.api.core.attachment import RESOURCE_ANNOTATION
from virt.api.kinds import EVENT, KUBEVIRT, NETWORK_ATTACHMENT, VMI

MESSAGE = "HostDevice example.com/card is not permitted in permittedHostDevices configuration"


def with_devices(**devices: object) -> v1.VirtualMachineInstance:
    vmi = instance("vm1", uid="u1")
    domain = replace(vmi.spec.domain, devices=v1.Devices(**devices))  # type: ignore[arg-type]
    return replace(vmi, spec=replace(vmi.spec, domain=domain))


def with_card() -> v1.VirtualMachineInstance:
    return with_devices(host_devices=(v1.HostDevice(name="card", device_name="example.com/card"),))


FUNCTION = v1.Interface(name="net1", sriov=v1.InterfaceSRIOV())
BRIDGE = v1.Interface(name="net1", bridge=v1.InterfaceBridge())


def with_function(interface: v1.Interface = FUNCTION) -> v1.VirtualMachineInstance:
    vmi = with_devices(interfaces=(interface,))
    network = v1.Network(name="net1", multus=v1.MultusNetwork(network_name="fast"))
    return replace(vmi, spec=replace(vmi.spec, networks=(network,)))


def permitting(*resources: str) -> v1.KubeVirt:
    listed = tuple(v1.PciHostDevice(pci_vendor_selector="8086:10ca", resource_name=name) for name in resources)
    return v1.KubeVirt(
        metadata=core.ObjectMeta(name="kubevirt", namespace="kubevirt"),
        spec=v1.KubeVirtSpec(configuration=v1.KubeVirtConfiguration(
            permitted_host_devices=v1.PermittedHostDevices(pci_host_devices=listed))))


async def test_a_device_that_is_not_permitted_makes_no_pod_until_it_is() -> None:
    async with running() as rig:
        rig.kube.put(KUBEVIRT, permitting("example.com/other"))
        rig.kube.put(VMI, with_card())
        failed = await rig.trouble()
        assert (failed.status, failed.reason, failed.message) == ("False", "FailedCreate", MESSAGE)
        await rig.settle()
        assert await rig.pod() is None
        (event,) = [each for each in (await rig.kube.list(EVENT, NAMESPACE)).items if each.reason == "FailedCreate"]
        assert (event.type, event.count, event.message) == ("Warning", 1, f"Error creating pod: {MESSAGE}")
        rig.kube.put(KUBEVIRT, permitting("example.com/card"))
        pod = await rig.launcher()
        assert pod.spec.containers[0].resources.limits["example.com/card"] == "1"
        vmi = await rig.phase("Scheduling")
        assert conditions.find(vmi.status.conditions, "Synchronized") is None


async def test_a_function_is_asked_for_by_its_networks_resource() -> None:
    async with running() as rig:
        rig.kube.put(NETWORK_ATTACHMENT, core.NetworkAttachmentDefinition(metadata=core.ObjectMeta(
            name="fast", namespace=NAMESPACE, annotations={RESOURCE_ANNOTATION: "intel.com/net1"})))
        rig.kube.put(VMI, with_function())
        pod = await rig.launcher()
        assert pod.spec.containers[0].resources.limits["intel.com/net1"] == "1"


@pytest.mark.parametrize("interface", [FUNCTION, BRIDGE])
async def test_a_network_that_does_not_exist_is_told_and_looked_for_again(interface: v1.Interface) -> None:
    async with running() as rig:
        rig.kube.put(VMI, with_function(interface))
        failed = await rig.trouble()
        assert failed.reason == "FailedCreate"
        assert "failed to locate network attachment definition default/fast of network net1" in failed.message
        assert await rig.pod() is None
        rig.kube.put(NETWORK_ATTACHMENT, core.NetworkAttachmentDefinition(metadata=core.ObjectMeta(
            name="fast", namespace=NAMESPACE)))
        await rig.launcher()
