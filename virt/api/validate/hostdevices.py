"""Devices of the node that go into a guest: what a VMI asks for, and what the KubeVirt CR permits.

Whether a device is permitted is not judged here: the CR may change until the launcher pod is made
(virt.controller.vmi.pod.hostdevices), as in KubeVirt.
"""

import re
from collections.abc import Sequence

from virt.api import names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.validate.causes import Causes, duplicate, invalid, repeated, required
from virt.api.validate.volumes import MAX_ENTRIES

GATE = "HostDevices"
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_USB_ID = re.compile(r"[0-9a-fA-F]{4}", re.ASCII)
_PCI_IDS = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{4}", re.ASCII)


def causes(path: str, spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> Causes:
    """``path`` is that of the VMI's spec."""
    devices = spec.domain.devices
    if devices.host_devices and not config.is_enabled(GATE):
        yield invalid(f"{path}.HostDevices", "Host Devices feature gate is not enabled in kubevirt-config")
    yield from _devices(f"{path}.domain.devices.hostDevices", devices.host_devices)
    yield from _devices(f"{path}.domain.devices.gpus", devices.gpus)


def _devices(path: str, devices: Sequence[v1.HostDevice | v1.GPU]) -> Causes:
    if len(devices) > MAX_ENTRIES:
        yield invalid(path, f"{path} list exceeds the {MAX_ENTRIES} element limit in length")
        return
    twice = repeated(device.name for device in devices)
    for index, device in enumerate(devices):
        field = f"{path}[{index}]"
        if _NAME.fullmatch(device.name) is None:
            yield invalid(f"{field}.name", f"{field}.name {device.name!r} must be at most 63 letters, digits, '-', '_' "
                                           "or '.', and begin and end with a letter or digit")
        elif index in twice:
            yield duplicate(f"{field}.name", f"{field}.name {device.name!r} stands there twice")
        if not device.device_name:
            yield required(f"{field}.deviceName", f"{field}.deviceName must name a permitted resource")


def permitted(path: str, asked: v1.PermittedHostDevices) -> Causes:
    """``permittedHostDevices`` of the KubeVirt CR."""
    owners: dict[str, str] = {}
    for index, device in enumerate(asked.pci_host_devices):
        field, selector = f"{path}.pciHostDevices[{index}]", device.pci_vendor_selector.lower()
        if _PCI_IDS.fullmatch(selector) is None:
            yield invalid(f"{field}.pciVendorSelector", f"{field}.pciVendorSelector {device.pci_vendor_selector!r} is "
                                                        "no pair vendor:device of four hexadecimal digits each")
        elif owners.setdefault(selector, device.resource_name) != device.resource_name:
            # The kubelet counts resources apart, so two pods would get the same device.
            yield duplicate(f"{field}.pciVendorSelector", f"{field}.pciVendorSelector {selector} belongs to resource "
                                                          f"{owners[selector]} already")
    yield from _mediated(f"{path}.mediatedDevices", asked.mediated_devices)
    yield from _usb(f"{path}.usb", asked.usb)
    kinds: dict[str, str] = {}
    every: tuple[tuple[str, Sequence[v1.PciHostDevice | v1.MediatedHostDevice | v1.USBHostDevice]], ...] = (
        ("pciHostDevices", asked.pci_host_devices), ("mediatedDevices", asked.mediated_devices), ("usb", asked.usb))
    for kind, listed in every:
        yield from _resources(f"{path}.{kind}", listed)
        for index, each in enumerate(listed):
            if kinds.setdefault(each.resource_name, kind) != kind:
                field = f"{path}.{kind}[{index}].resourceName"
                yield duplicate(field, f"{field} {each.resource_name} stands under {kinds[each.resource_name]} already")


def _mediated(path: str, asked: Sequence[v1.MediatedHostDevice]) -> Causes:
    owners: dict[str, str] = {}
    for index, device in enumerate(asked):
        field, selector = f"{path}[{index}].mdevNameSelector", device.mdev_name_selector
        if not selector:
            yield required(field, f"{field} must name a type of mediated devices")
        elif owners.setdefault(selector, device.resource_name) != device.resource_name:
            yield duplicate(field, f"{field} {selector!r} belongs to resource {owners[selector]} already")


def _usb(path: str, asked: Sequence[v1.USBHostDevice]) -> Causes:
    owners: dict[tuple[tuple[str, str], ...], str] = {}
    for index, device in enumerate(asked):
        field = f"{path}[{index}].selectors"
        if not device.selectors and not device.external_resource_provider:
            yield required(field, f"{field} must name a vendor and a product")
        for number, each in enumerate(device.selectors):
            for name, text in (("vendor", each.vendor), ("product", each.product)):
                if _USB_ID.fullmatch(text) is None:
                    place = f"{field}[{number}].{name}"
                    yield invalid(place, f"{place} {text!r} is no four hexadecimal digits")
        selectors = tuple((each.vendor.lower(), each.product.lower()) for each in device.selectors)
        if selectors and owners.setdefault(selectors, device.resource_name) != device.resource_name:
            yield duplicate(field, f"{field} are those of resource {owners[selectors]} already")


def _resources(
    path: str, devices: Sequence[v1.PciHostDevice | v1.MediatedHostDevice | v1.USBHostDevice]
) -> Causes:
    for index, device in enumerate(devices):
        field, (domain, slash, name) = f"{path}[{index}].resourceName", device.resource_name.partition("/")
        if not slash or _DOMAIN.fullmatch(domain) is None or _NAME.fullmatch(name) is None:
            yield invalid(field, f"{field} {device.resource_name!r} is no name of a resource such as example.com/card")
        elif domain == "kubernetes.io" or domain.endswith(".kubernetes.io"):
            yield invalid(field, f"{field} {device.resource_name!r} is of a domain that Kubernetes keeps for itself")
        elif not device.external_resource_provider and domain == names.TUN_RESOURCE.partition("/")[0]:
            yield invalid(field, f"{field} {device.resource_name!r} is of the domain of the node agent's own devices")
