"""Disks of a VMI: rules 53 to 68 of the specification."""

import re

from virt.api import pciaddress, v1
from virt.api.validate.causes import Causes, dns_label, duplicate, invalid, not_supported, repeated

_BUSES = ("virtio", "sata", "scsi", "usb")
_CACHES = ("none", "writethrough", "writeback")
_IO = ("native", "threads")
_ERROR_POLICIES = ("stop", "ignore", "report", "enospace")
_MAX_SERIAL = 256
_SERIAL = re.compile(r"[A-Za-z0-9_.+-]*", re.ASCII)


def causes(path: str, spec: v1.VirtualMachineInstanceSpec) -> Causes:
    """``path`` is that of the VMI's spec."""
    volumes = {volume.name: volume for volume in spec.volumes}
    disks = spec.domain.devices.disks
    twice = repeated(disk.name for disk in disks)
    for index, disk in enumerate(disks):
        field = f"{path}.domain.devices.disks[{index}]"
        if index in twice:
            yield duplicate(f"{field}.name", f"{field} and an earlier disk must not have the same Name: {disk.name!r}")
        yield from dns_label(f"{field}.name", disk.name)
        if disk.name not in volumes:
            yield invalid(f"{field}.name", f"{field}.name '{disk.name}' not found.")
        yield from _target(field, disk)
        yield from _options(field, disk)
    yield from _boot_order(f"{path}.domain.devices", spec.domain.devices)


def _target(path: str, disk: v1.Disk) -> Causes:
    possible = {"disk": disk.disk, "lun": disk.lun, "cdrom": disk.cdrom}
    targets = {name: target for name, target in possible.items() if target is not None}
    if len(targets) > 1:
        yield invalid(path, f"{path} can only have a single target type defined")
        return
    for name, target in targets.items():
        field = f"{path}.{name}.bus"
        if target.bus == "ide":
            yield invalid(field, "IDE bus is not supported")
        elif target.bus and target.bus not in _BUSES:
            yield not_supported(field, f"{field} is set with an unrecognized bus {target.bus!r}, must be one of: "
                                       f"{', '.join(_BUSES)}")
        elif name == "cdrom" and target.bus == "virtio":
            yield invalid(field, f"Bus type {target.bus} is invalid for CD-ROM device")
    if disk.disk is not None and disk.disk.bus == "sata" and disk.disk.readonly:
        yield invalid(f"{path}.disk.bus", "sata hard disks do not support read-only")
    if disk.disk is not None and disk.disk.pci_address:
        yield from _pci_address(f"{path}.disk.pciAddress", disk.disk)
    if disk.cdrom is not None and disk.cdrom.tray not in ("", "open", "closed"):
        yield not_supported(f"{path}.cdrom.tray", f"{path}.cdrom.tray must be open or closed: {disk.cdrom.tray!r}")


def _pci_address(path: str, target: v1.DiskTarget) -> Causes:
    if target.bus != "virtio":
        yield invalid(path, f"{path} is only possible with bus virtio, not {target.bus!r}")
    try:
        pciaddress.parts(target.pci_address)
    except pciaddress.PciAddressError as error:
        yield invalid(path, f"{path} is malformed: {error}")


def _options(path: str, disk: v1.Disk) -> Causes:
    if _SERIAL.fullmatch(disk.serial) is None:
        yield invalid(f"{path}.serial", f"{path}.serial must be made up of the following characters [A-Za-z0-9_.+-], "
                                        "if specified")
    elif len(disk.serial) > _MAX_SERIAL:
        yield invalid(f"{path}.serial", f"{path}.serial must be less than or equal to {_MAX_SERIAL} in length, "
                                        "if specified")
    if disk.cache and disk.cache not in _CACHES:
        yield not_supported(f"{path}.cache", f"{path}.cache has invalid value {disk.cache!r}, use one of "
                                             f"{', '.join(_CACHES)}")
    if disk.io and disk.io not in _IO:
        yield not_supported(f"{path}.io", f"Disk IO mode for {path}.io is not supported: {disk.io!r}, use native "
                                          "or threads")
    if disk.error_policy is not None and disk.error_policy not in _ERROR_POLICIES:
        yield not_supported(f"{path}.errorPolicy", f"{path}.errorPolicy has invalid value {disk.error_policy}")


def _boot_order(path: str, devices: v1.Devices) -> Causes:
    orders = [(f"{path}.disks[{index}].bootOrder", disk.boot_order) for index, disk in enumerate(devices.disks)]
    orders += [(f"{path}.interfaces[{index}].bootOrder", interface.boot_order)
               for index, interface in enumerate(devices.interfaces)]
    seen: dict[int, str] = {}
    for field, order in orders:
        if order is None:
            continue
        if order < 1:
            yield invalid(field, f"{field} must have a boot order > 0, if supplied")
        elif order in seen:
            yield duplicate(field, f"Boot order for {field} already set for a different device: {seen[order]}")
        else:
            seen[order] = field
