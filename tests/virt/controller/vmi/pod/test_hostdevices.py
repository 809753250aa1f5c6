"""Devices of the node: what is permitted, and what the pod asks for."""

from virt.api import v1
from virt.api.clusterconfig import ClusterConfig
from virt.controller.vmi.pod import hostdevices, resources

CARD = v1.HostDevice(name="card", device_name="example.com/card")
GPU = v1.GPU(name="gpu", device_name="example.com/gpu")
PERMITTED = ClusterConfig(permitted_host_devices=v1.PermittedHostDevices(
    pci_host_devices=(v1.PciHostDevice(pci_vendor_selector="8086:10ca", resource_name="example.com/card"),),
    mediated_devices=(v1.MediatedHostDevice(resource_name="example.com/gpu", external_resource_provider=True),)))


def spec(**devices: object) -> v1.VirtualMachineInstanceSpec:
    return v1.VirtualMachineInstanceSpec(
        domain=v1.DomainSpec(memory=v1.Memory(guest="64Mi"), devices=v1.Devices(**devices)))  # type: ignore[arg-type]


def test_what_the_cr_lists_is_permitted() -> None:
    assert hostdevices.not_permitted(spec(gpus=(GPU,), host_devices=(CARD,)), PERMITTED) == ""
    assert hostdevices.not_permitted(spec(), ClusterConfig()) == ""


def test_nothing_else_is() -> None:
    other = v1.HostDevice(name="a", device_name="example.com/other")
    assert hostdevices.not_permitted(spec(host_devices=(CARD, other)), PERMITTED) == (
        "HostDevice example.com/other is not permitted in permittedHostDevices configuration")
    assert hostdevices.not_permitted(spec(gpus=(GPU,), host_devices=(CARD,)), ClusterConfig()) == (
        "GPU example.com/gpu is not permitted in permittedHostDevices configuration "
        "HostDevice example.com/card is not permitted in permittedHostDevices configuration")


def test_the_pod_asks_for_each_device() -> None:
    second = v1.HostDevice(name="second", device_name="example.com/card")
    found = resources.compute(spec(gpus=(GPU,), host_devices=(CARD, second)), PERMITTED)
    for asked in (found.requests, found.limits):
        assert {name: count for name, count in asked.items() if name.startswith("example.com")} == {
            "example.com/card": "2", "example.com/gpu": "1"}


def test_functions_are_asked_for_by_the_resource_of_their_network() -> None:
    cards = tuple(v1.Interface(name=name, sriov=v1.InterfaceSRIOV()) for name in ("a", "b", "c"))
    asked = spec(interfaces=(*cards, v1.Interface(name="default", bridge=v1.InterfaceBridge())))
    found = resources.compute(asked, PERMITTED, functions={"a": "x.com/1", "b": "x.com/2", "c": "x.com/1"})
    assert (found.limits["x.com/1"], found.limits["x.com/2"]) == ("2", "1")
    assert hostdevices.resources(asked, {"a": ""}) == {}
