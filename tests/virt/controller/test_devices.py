"""VMIs that ask for devices of the node: no pod before they are permitted, and before their network is known."""

import pytest
from msgspec.structs import replace

from tests.virt.controller.rig import NAMESPACE, instance, running
from tests.virt.controller.test_migration import migrate, reaches, target
from virt.api import conditions, core, names, v1
from virt.api.core.attachment import RESOURCE_ANNOTATION
from virt.api.kinds import EVENT, KUBEVIRT, NETWORK_ATTACHMENT, NODE, POD, VMI

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


def network(name: str = "fast") -> core.NetworkAttachmentDefinition:
    return core.NetworkAttachmentDefinition(metadata=core.ObjectMeta(
        name=name, namespace=NAMESPACE, annotations={RESOURCE_ANNOTATION: "intel.com/net1"}))


async def test_a_moves_target_asks_for_a_function_of_its_own_and_never_for_post_copy() -> None:
    async with running() as rig:
        rig.kube.put(KUBEVIRT, v1.KubeVirt(
            metadata=core.ObjectMeta(name="kubevirt", namespace="kubevirt"),
            spec=v1.KubeVirtSpec(configuration=v1.KubeVirtConfiguration(migrations=v1.MigrationConfiguration(
                allow_post_copy=True, allow_workload_disruption=True)))))
        rig.kube.put(NODE, core.Node(metadata=core.ObjectMeta(name="b"), status=core.NodeStatus(
            allocatable={names.USERFAULTFD_RESOURCE: "1k"})))
        rig.kube.put(NETWORK_ATTACHMENT, network())
        rig.kube.put(VMI, with_function())
        rig.runs(await rig.launcher(), "a")
        await rig.phase("Scheduled")
        rig.guest("Running")
        await migrate(rig, vmi="vm1")
        pod = await target(rig)
        (compute,) = [each for each in pod.spec.containers if each.name == "compute"]
        assert compute.resources is not None
        assert compute.resources.limits["intel.com/net1"] == "1"
        assert names.USERFAULTFD_RESOURCE not in compute.resources.limits


async def test_a_network_that_has_gone_fails_the_move_and_nothing_else() -> None:
    async with running() as rig:
        rig.kube.put(NETWORK_ATTACHMENT, network())
        rig.kube.put(VMI, with_function())
        rig.runs(await rig.launcher(), "a")
        await rig.phase("Scheduled")
        rig.guest("Running")
        await rig.settle()
        await rig.kube.delete(NETWORK_ATTACHMENT, "fast", NAMESPACE)
        await migrate(rig, vmi="vm1")
        failed = await reaches(rig, "Failed")
        assert failed.status.migration_state is not None
        assert "attachment definition default/fast" in failed.status.migration_state.failure_reason
        vmi = rig.vmi("vm1")
        assert vmi is not None
        assert (vmi.status.phase, vmi.status.migration_state) == ("Running", None)


@pytest.mark.parametrize(("annotation", "source"), [
    ('[{"name": "default/fast", "interface": "pod6c270ef2f25", "mac": "02:00:00:00:00:01"}]', "multus-status"),
    ('[{"name": "kindnet", "interface": "eth0", "default": true}]', ""), ("{", ""), ('["x"]', ""), (None, ""),
])
async def test_what_multus_tells_of_a_pods_card_is_a_source(annotation: str | None, source: str) -> None:
    async with running() as rig:
        rig.kube.put(NETWORK_ATTACHMENT, core.NetworkAttachmentDefinition(metadata=core.ObjectMeta(
            name="fast", namespace=NAMESPACE)))
        rig.kube.put(VMI, with_function(BRIDGE))
        pod = await rig.launcher()
        if annotation is not None:
            told = {**pod.metadata.annotations, "k8s.v1.cni.cncf.io/network-status": annotation}
            rig.kube.put(POD, replace(pod, metadata=replace(pod.metadata, annotations=told)))
        rig.runs(pod)
        vmi = await rig.phase("Scheduled")
        (interface,) = vmi.status.interfaces
        assert (interface.name, interface.info_source) == ("net1", source)
