"""Disks and CD-ROMs of the volumes. KubeVirt: pkg/virt-launcher/virtwrap/converter/storage."""

from collections.abc import Collection, Mapping
from itertools import count
from string import ascii_lowercase

from virt.api import pciaddress, v1
from virt.launcher.alias import alias
from virt.launcher.design.errors import DesignError
from virt.launcher.design.models import VIRTIO_MODEL
from virt.launcher.design.request import DiskSource, Request
from virt.launcher.domain import Address, Devices, Disk, Domain
from virt.rpc.messages import DiskTarget

_PREFIXES = {"virtio": "vd", "sata": "sd", "scsi": "sd", "usb": "sd"}
_DEFAULT_BUS = "sata"


def disk_targets(vmi: v1.VirtualMachineInstance) -> tuple[DiskTarget, ...]:
    """Which device name each volume gets, in the order of the spec; sizes are not known here (0)."""
    return tuple(DiskTarget(volume=volume, target=target)
                 for volume, target in _targets(vmi.spec.domain.devices.disks).items())


def disks(request: Request) -> Domain:
    targets = _targets(request.devices.disks)
    return Domain(devices=Devices(disks=tuple(
        _disk(f"spec.domain.devices.disks[{index}]", disk, targets[disk.name], request)
        for index, disk in enumerate(request.devices.disks)
    )))


def plugged(request: Request, name: str, taken: Collection[str]) -> Disk:
    """One disk for a guest that runs: its device name is the first that nobody has."""
    names = [disk.name for disk in request.devices.disks]
    if name not in names:
        raise DesignError("spec.domain.devices.disks", f"there is no disk {name!r}")
    index = names.index(name)
    disk = request.devices.disks[index]
    prefix = _PREFIXES.get(bus(disk), "sd")
    target = next(target for number in count() if (target := prefix + _letters(number)) not in taken)
    return _disk(f"spec.domain.devices.disks[{index}]", disk, target, request)


def virtio_disks(vmi: v1.VirtualMachineInstance, start: v1.VirtualMachineInstance) -> int:
    """How many disks that are PCI devices ``vmi`` has more than it starts with."""
    there = {disk.name for disk in start.spec.domain.devices.disks}
    return sum(bus(disk) == "virtio" and disk.name not in there for disk in vmi.spec.domain.devices.disks)


def bus(disk: v1.Disk) -> str:
    for target in (disk.disk, disk.cdrom, disk.lun):
        if target is not None:
            return target.bus or _DEFAULT_BUS
    return _DEFAULT_BUS


def _targets(disks: tuple[v1.Disk, ...]) -> Mapping[str, str]:
    counts: dict[str, int] = {}
    targets = {}
    for disk in disks:
        prefix = _PREFIXES.get(bus(disk), "sd")
        index = counts.get(prefix, 0)
        counts[prefix] = index + 1
        targets[disk.name] = prefix + _letters(index)
    return targets


def _letters(index: int) -> str:
    """0 -> a, 25 -> z, 26 -> aa: as the kernel counts."""
    text = ""
    while index >= 0:
        text = ascii_lowercase[index % 26] + text
        index = index // 26 - 1
    return text


def _disk(path: str, disk: v1.Disk, target: str, request: Request) -> Disk:
    source = request.prepared.disks.get(disk.name)
    if source is None:
        raise DesignError(f"{path}.name", f"volume {disk.name!r} was not made ready")
    if disk.lun is not None:
        raise DesignError(f"{path}.lun", "LUN pass-through is not supported")
    where = bus(disk)
    if where not in _PREFIXES:
        raise DesignError(f"{path}.disk.bus", f"{where!r} is none of {', '.join(_PREFIXES)}")
    is_cdrom = disk.cdrom is not None
    read_only = is_cdrom or source.read_only or bool(disk.disk and disk.disk.readonly)
    if read_only and not is_cdrom and where == "sata":
        volume = next((each for each in request.spec.volumes if each.name == disk.name), v1.Volume())
        if not volume.is_generated:
            raise DesignError(f"{path}.disk.bus", f"volume {disk.name!r} is read-only, which SATA disks cannot be")
        read_only = False
    is_block, is_virtio = source.kind == "block", where == "virtio"
    cache, io = _caching(path, disk, source)
    return Disk(
        type="block" if is_block else "file",
        device="cdrom" if is_cdrom else "disk",
        model=VIRTIO_MODEL if is_virtio else "",
        driver="qemu", format=source.format, cache=cache, io=io,
        error_policy=disk.error_policy or "stop",
        discard="" if read_only else "unmap",
        queues=_queues(request) if is_virtio else None,
        file="" if is_block else source.path,
        device_path=source.path if is_block else "",
        target=target, bus=where,
        tray="open" if disk.cdrom is not None and disk.cdrom.tray == "open" else "",
        serial=disk.serial,
        read_only=read_only,
        shareable=bool(disk.shareable),
        boot_order=disk.boot_order,
        alias=alias(disk.name),
        address=_address(f"{path}.disk.pciAddress", disk),
    )


def _address(path: str, disk: v1.Disk) -> Address | None:
    """Only a virtio disk is a PCI device of its own."""
    if disk.disk is None or not disk.disk.pci_address:
        return None
    try:
        parts = pciaddress.parts(disk.disk.pci_address)
    except pciaddress.PciAddressError as error:
        raise DesignError(path, str(error)) from error
    if bus(disk) != "virtio":
        raise DesignError(path, f"a disk on {bus(disk)} has no PCI address of its own")
    domain, number, slot, function = (f"0x{part}" for part in parts)
    return Address(type="pci", domain=domain, bus=number, slot=slot, function=function)


def _queues(request: Request) -> int | None:
    """One unless more are asked for. QEMU would give each vCPU one by itself; None says the same where there is one."""
    if request.devices.block_multi_queue:
        return request.vcpus
    return 1 if request.vcpus > 1 else None


def _caching(path: str, disk: v1.Disk, source: DiskSource) -> tuple[str, str]:
    """Cache and I/O mode. Native I/O works only past the page cache; a device is best served that way."""
    cache = disk.cache
    if disk.shareable:
        if cache not in ("", "none"):
            raise DesignError(f"{path}.cache", f"a shared disk needs cache none, not {cache}")
        if source.format != "raw":
            raise DesignError(f"{path}.shareable", f"a shared disk must be raw, not {source.format}")
        cache = "none"
    if not cache and source.direct_io is not None:
        cache = "none" if source.direct_io else "writethrough"
    if not cache and disk.io == "native":
        cache = "none"
    if cache == "none" and source.direct_io is False:
        field = "cache" if disk.cache else "shareable" if disk.shareable else "io"
        raise DesignError(f"{path}.{field}", f"{source.path} is on a file system without direct I/O")
    if disk.io == "native" and cache != "none":
        raise DesignError(f"{path}.io", f"native I/O needs cache none, not {cache}")
    is_solid = source.kind == "block" or (source.preallocated and source.format == "raw")
    return cache, disk.io or ("native" if cache == "none" and is_solid else "")
