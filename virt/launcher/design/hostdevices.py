"""Devices of the node that go into the guest. KubeVirt: pkg/virt-launcher/virtwrap/device/hostdevice.

Which they are is told by the device plugins in environment variables, or by the handler for functions of network cards:
it has set them up, each for its network.
"""

import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from virt.api import names, pciaddress, v1
from virt.launcher.alias import ALIAS_PREFIX, FUNCTION, alias
from virt.launcher.design.errors import DesignError
from virt.launcher.design.request import Request
from virt.launcher.domain import Address, Devices, Domain, HostDevice

# Aliases tell what a device is: the same name may stand in all three lists.
HOST_DEVICE, GPU = "hostdevice", "gpu"
_ANSWER = "the device plugin's answer"
_USB = re.compile(r"(\d{1,3}):(\d{1,3})", re.ASCII)


def devices(request: Request) -> Domain:
    """``gpus`` and ``hostDevices``. Two of one resource get its devices in the order of the spec."""
    shares = _shares(request)
    gpus = _taken("spec.domain.devices.gpus", "GPU", request.devices.gpus, shares)
    others = _taken("spec.domain.devices.hostDevices", "HostDevice", request.devices.host_devices, shares)
    return Domain(devices=Devices(host_devices=(
        *(each for name, share in gpus.items() for each in _aliased(GPU, name, share)),
        *(each for name, share in others.items() for each in _aliased(HOST_DEVICE, name, share)),
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
        found.append(replace(
            _pci(given[interface.name].address), alias=alias(f"{FUNCTION}{interface.name}"), address=address,
            boot_order=interface.boot_order))
    return Domain(devices=Devices(host_devices=tuple(found)))


def has_usb(request: Request) -> bool:
    """Whether the guest gets a USB device of the node, for which it needs a controller."""
    return any(_told(request, names.USB_VARIABLE, resource) for resource in _asked(request))


def _asked(request: Request) -> Mapping[str, int]:
    """How often the spec names each resource."""
    gpus, others = request.devices.gpus, request.devices.host_devices
    return Counter((*(each.device_name for each in gpus), *(each.device_name for each in others)))


def _shares(request: Request) -> Mapping[str, list[tuple[HostDevice, ...]]]:
    """By resource, what each of those who ask for it in the spec gets: a PCI function, a mediated device, or the USB
    devices that make one of the resource together."""
    return {
        resource: [
            *((_pci(text),) for text in _told(request, names.PCI_VARIABLE, resource)),
            *((_mediated(text),) for text in _told(request, names.MDEV_VARIABLE, resource)),
            *_evenly([_usb(text) for text in _told(request, names.USB_VARIABLE, resource)], count),
        ]
        for resource, count in _asked(request).items()
    }


def _told(request: Request, variable: str, resource: str) -> list[str]:
    text = request.prepared.devices.get(names.device_variable(variable, resource), "")
    return [each for each in text.split(",") if each]


def _evenly(found: Sequence[HostDevice], count: int) -> list[tuple[HostDevice, ...]]:
    """``found`` in ``count`` shares, in order; nothing where they do not come out even."""
    size, rest = divmod(len(found), count)
    return [tuple(found[index * size:(index + 1) * size]) for index in range(count)] if size and not rest else []


def by_interface(domain: Domain) -> Mapping[str, HostDevice]:
    """The virtual functions of a domain, by the name of the interface that each is."""
    begin = f"{ALIAS_PREFIX}{FUNCTION}"
    return {
        device.alias.removeprefix(begin): device
        for device in (domain.devices.host_devices if domain.devices else ()) if device.alias.startswith(begin)
    }


def _taken(
    path: str, kind: str, asked: tuple[v1.GPU, ...] | tuple[v1.HostDevice, ...],
    shares: Mapping[str, list[tuple[HostDevice, ...]]],
) -> Mapping[str, tuple[HostDevice, ...]]:
    """By the device's name in the spec."""
    found = {device.name: shares[device.device_name].pop(0) for device in asked if shares[device.device_name]}
    missing = [f"{device.name} ({device.device_name})" for device in asked if device.name not in found]
    if missing:
        raise DesignError(path, f"the number of device plugin {kind}/s do not match the number of {kind}/s: the node "
                                f"gave no device for {', '.join(missing)}")
    return found


def _aliased(kind: str, name: str, share: tuple[HostDevice, ...]) -> tuple[HostDevice, ...]:
    return tuple(
        replace(each, alias=alias(f"{kind}{number if number > 1 else ''}-{name}"))
        for number, each in enumerate(share, 1))


def _pci(text: str) -> HostDevice:
    where = replace(pci_address(_ANSWER, text), type="")        # it is of the device's own type
    return HostDevice(mode="subsystem", type="pci", managed=False, source=where)


def _mediated(text: str) -> HostDevice:
    """Always offered through VFIO's PCI interface, as KubeVirt does; it has no display."""
    try:
        where = Address(uuid=str(uuid.UUID(text)))
    except ValueError as error:
        raise DesignError(_ANSWER, f"{text!r} is no UUID of a mediated device") from error
    return HostDevice(mode="subsystem", type="mdev", managed=False, model="vfio-pci", source=where)


def _usb(text: str) -> HostDevice:
    found = _USB.fullmatch(text)
    if found is None:
        raise DesignError(_ANSWER, f"{text!r} is no bus and number of a USB device such as 1:4")
    bus, number = (str(int(part)) for part in found.groups())
    return HostDevice(mode="subsystem", type="usb", managed=False, source=Address(bus=bus, device=number))


def pci_address(path: str, text: str) -> Address:
    """Raises DesignError, naming ``path``."""
    try:
        domain, bus, slot, function = pciaddress.parts(text)
    except pciaddress.PciAddressError as error:
        raise DesignError(path, str(error)) from error
    return Address(type="pci", domain=f"0x{domain}", bus=f"0x{bus}", slot=f"0x{slot}", function=f"0x{function}")
