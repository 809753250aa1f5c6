"""Devices of the node that go into the guest. KubeVirt: pkg/virt-launcher/virtwrap/device/hostdevice.

Which they are is told by the device plugins in environment variables, or by the handler for functions of network cards:
it has set them up, each for its network.
"""

from collections.abc import Mapping
from dataclasses import replace

from virt.api import names, pciaddress, v1
from virt.launcher.alias import ALIAS_PREFIX, FUNCTION, alias
from virt.launcher.design.errors import DesignError
from virt.launcher.design.request import Request
from virt.launcher.domain import Address, Devices, Domain, HostDevice

# Aliases tell what a device is: the same name may stand in all three lists.
_HOST_DEVICE, _GPU = "hostdevice-", "gpu-"


def devices(request: Request) -> Domain:
    """``gpus`` and ``hostDevices``. Two of one resource get its devices in the order of the spec."""
    pools = {name: [each for each in text.split(",") if each] for name, text in request.prepared.devices.items()}
    gpus = _taken("spec.domain.devices.gpus", "GPU", request.devices.gpus, pools)
    others = _taken("spec.domain.devices.hostDevices", "HostDevice", request.devices.host_devices, pools)
    return Domain(devices=Devices(host_devices=(
        *(_device(address, f"{_GPU}{name}") for name, address in gpus.items()),
        *(_device(address, f"{_HOST_DEVICE}{name}") for name, address in others.items()),
    )))


def functions(request: Request) -> Domain:
    """SR-IOV interfaces."""
    given = {each.name: each for each in request.prepared.functions}
    found = []
    for index, interface in enumerate(request.devices.interfaces):
        if interface.sriov is None:
            continue
        path = f"spec.domain.devices.interfaces[{index}]"
        if interface.name not in given:
            raise DesignError(
                f"{path}.name", f"interface {interface.name!r} has no virtual function: missing PCI mapping")
        address = pci_address(f"{path}.pciAddress", interface.pci_address) if interface.pci_address else None
        found.append(_device(
            given[interface.name].address, f"{FUNCTION}{interface.name}", address=address,
            boot_order=interface.boot_order))
    return Domain(devices=Devices(host_devices=tuple(found)))


def by_interface(domain: Domain) -> Mapping[str, HostDevice]:
    """The virtual functions of a domain, by the name of the interface that each is."""
    begin = f"{ALIAS_PREFIX}{FUNCTION}"
    return {
        device.alias.removeprefix(begin): device
        for device in (domain.devices.host_devices if domain.devices else ()) if device.alias.startswith(begin)
    }


def _taken(
    path: str, kind: str, asked: tuple[v1.GPU, ...] | tuple[v1.HostDevice, ...], pools: Mapping[str, list[str]]
) -> Mapping[str, str]:
    """PCI address by the device's name in the spec."""
    found = {}
    for device in asked:
        pool = pools.get(names.device_variable(names.PCI_VARIABLE, device.device_name))
        if pool:
            found[device.name] = pool.pop(0)
    missing = [f"{device.name} ({device.device_name})" for device in asked if device.name not in found]
    if missing:
        raise DesignError(path, f"the number of device plugin {kind}/s do not match the number of {kind}/s: the node "
                                f"gave no PCI device for {', '.join(missing)}")
    return found


def _device(source: str, name: str, *, address: Address | None = None, boot_order: int | None = None) -> HostDevice:
    where = replace(pci_address("the device plugin's answer", source), type="")        # it is of the device's own type
    return HostDevice(
        mode="subsystem", type="pci", managed=False, source=where,
        boot_order=boot_order, alias=alias(name), address=address,
    )


def pci_address(path: str, text: str) -> Address:
    """Raises DesignError, naming ``path``."""
    try:
        domain, bus, slot, function = pciaddress.parts(text)
    except pciaddress.PciAddressError as error:
        raise DesignError(path, str(error)) from error
    return Address(type="pci", domain=f"0x{domain}", bus=f"0x{bus}", slot=f"0x{slot}", function=f"0x{function}")
