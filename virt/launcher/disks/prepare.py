"""All volumes of a VMI, made ready for its design. Doing it again finds what is there already."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import structs

from virt.api import hotplug, names, quantity
from virt.api.v1 import VirtualMachineInstance, Volume
from virt.api.volumechange import destinations
from virt.launcher.design import DiskSource, TaggedDevice
from virt.launcher.disks import claim, cloudinit, config, configdrive, qcow2
from virt.launcher.disks.container import HeldFile
from virt.launcher.disks.errors import DiskError


@dataclass(frozen=True)
class Boot:
    """Files of kernelBoot, "" for what the VMI does not have."""

    kernel: str = ""
    initrd: str = ""


@dataclass(frozen=True)
class Disks:
    """``ephemeral``: what lives as long as the pod. ``claims``: mounted claims by volume name. ``plugged``: links to
    hot-plugged ones. ``devices``: where block claims are. ``secrets``: mounted secrets of cloud-init by volume name.
    ``config``: mounted files of configuration volumes. ``containers``: what disk containers gave, by volume and role.
    ``tagged``: devices whose tags a config drive tells, once their addresses are known."""

    ephemeral: Path = Path(names.EPHEMERAL_DISKS_DIR)
    empty: Path = Path(names.EMPTY_DISKS_DIR)
    claims: Path = Path(names.VMI_DISKS_DIR)
    plugged: Path = Path(names.HOTPLUG_DISKS_DIR)
    devices: Path = Path("/dev")
    secrets: Path = Path(names.SECRETS_DIR)
    config: Path = Path(names.CONFIG_DIR)
    containers: Mapping[str, Mapping[str, HeldFile]] = field(default_factory=dict)
    tagged: tuple[TaggedDevice, ...] = ()

    def at_start(self, vmi: VirtualMachineInstance) -> VirtualMachineInstance:
        """As far as its guest can start now: without hot-plugged volumes that have not been given yet."""
        absent = frozenset(name for name in hotplug.claims(vmi.spec) if not (self.plugged / name).is_dir())
        return structs.replace(vmi, spec=hotplug.without(vmi.spec, absent))

    async def prepare(
        self, vmi: VirtualMachineInstance, only: tuple[str, ...] | None = None
    ) -> dict[str, DiskSource]:
        """Disk sources by volume, of the volumes that a disk names; ``only`` these. Raises DiskError or RunError."""
        used = {disk.name for disk in vmi.spec.domain.devices.disks if only is None or disk.name in only}
        volumes = [volume for volume in vmi.spec.volumes if volume.name in used]
        sources = await asyncio.gather(*(self._source(vmi, volume) for volume in volumes))
        return {volume.name: source for volume, source in zip(volumes, sources, strict=True)}

    def boot(self, vmi: VirtualMachineInstance) -> Boot:
        firmware = vmi.spec.domain.firmware
        kernel_boot = firmware.kernel_boot if firmware else None
        if kernel_boot is None or kernel_boot.container is None:
            return Boot()
        files = self.containers.get(names.KERNEL_BOOT_VOLUME, {})
        return Boot(**{role: file.link for role, file in files.items() if role in ("kernel", "initrd")})

    async def _source(self, vmi: VirtualMachineInstance, volume: Volume) -> DiskSource:
        if volume.container_disk is not None:
            return await self._container_disk(volume.name)
        if volume.empty_disk is not None:
            return await self._empty_disk(volume.name, quantity.integer(volume.empty_disk.capacity))
        if volume.is_generated:
            return await asyncio.to_thread(self._generated, vmi, volume)
        if volume.ephemeral is not None:
            return await self._ephemeral(vmi, volume.name)
        if volume.persistent_volume_claim is not None or volume.data_volume is not None:
            read_only = volume.persistent_volume_claim is not None and volume.persistent_volume_claim.read_only
            folder = (self.plugged if hotplug.is_hotplugged(volume) else self.claims) / volume.name
            return await asyncio.to_thread(self._claim, vmi, volume.name, folder, read_only)
        raise DiskError(f"volume {volume.name}: the launcher knows no such kind of volume")

    def _generated(self, vmi: VirtualMachineInstance, volume: Volume) -> DiskSource:
        """An ISO of the launcher's own making."""
        seeds, secrets = self.ephemeral / "cloud-init" / volume.name, self.secrets / volume.name
        if (no_cloud := volume.cloud_init_no_cloud) is not None:
            path = seeds / "noCloud.iso"
            size = cloudinit.prepare(vmi, volume.name, no_cloud, secrets, path)
        elif (drive := volume.cloud_init_config_drive) is not None:
            path = seeds / "configdrive.iso"
            size = configdrive.prepare(vmi, volume.name, drive, secrets, path, tagged=self.tagged)
        else:
            path = self.ephemeral / "config" / f"{volume.name}.iso"
            size = config.prepare(volume, self.config / volume.name, path)
        if (wanted := _size_at_source(vmi, volume.name)) not in (0, size):
            os.truncate(path, wanted)
            size = wanted
        return DiskSource(str(path), "raw", read_only=True, size=size, direct_io=_takes_direct_io(path))

    async def _container_disk(self, volume: str) -> DiskSource:
        held = self.containers.get(volume, {}).get("disk")
        if held is None:
            raise DiskError(f"volume {volume}: its container offers no disk")
        return await self._overlay(volume, Path(held.link), held.format, held.size)

    async def _ephemeral(self, vmi: VirtualMachineInstance, volume: str) -> DiskSource:
        """The claim is only read: any number of guests may start from it."""
        base = await asyncio.to_thread(self._claim, vmi, volume, self.claims / volume, True)
        return await self._overlay(volume, Path(base.path), base.format, base.size)

    async def _overlay(self, volume: str, backing: Path, backing_format: str, size: int) -> DiskSource:
        overlay = self.ephemeral / "disk-data" / volume / "disk.qcow2"
        await qcow2.create_overlay(overlay, backing=backing, backing_format=backing_format, size=size)
        direct_io = _takes_direct_io(overlay) and _takes_direct_io(backing)
        return DiskSource(str(overlay), "qcow2", size=size, direct_io=direct_io)

    async def _empty_disk(self, volume: str, capacity: int) -> DiskSource:
        size = capacity // quantity.MIB * quantity.MIB
        if size <= 0:
            raise DiskError(f"volume {volume}: an empty disk of {capacity} bytes is less than 1 MiB")
        path = self.empty / f"{volume}.qcow2"
        await qcow2.create_empty(path, size=size)
        return DiskSource(str(path), "qcow2", size=size, direct_io=_takes_direct_io(path))

    def _claim(self, vmi: VirtualMachineInstance, volume: str, folder: Path, read_only: bool) -> DiskSource:
        device = self.devices / volume
        copied = _copied_size(vmi, volume)
        if folder.is_dir():
            if copied is None:
                wanted = claim.wanted_size(volume, vmi.status.volume_status)
                file = claim.prepare_file(volume, folder, wanted, read_only=read_only)
            else:
                file = claim.prepare_copy(volume, folder, copied)
            return DiskSource(
                str(file.path), "raw", read_only=read_only, size=file.size, direct_io=_takes_direct_io(file.path),
                preallocated=file.is_preallocated, short_of=file.short_of,
            )
        size = claim.block_size(volume, device) if copied is None else claim.check_copy(volume, device, copied)
        return DiskSource(str(device), "raw", kind="block", read_only=read_only, size=size, direct_io=True)


def _copied_size(vmi: VirtualMachineInstance, volume: str) -> int | None:
    """Bytes of the disk that comes from another claim, 0 when nobody knows them; None when it is here already."""
    if volume not in destinations(vmi.status.migrated_volumes):
        return None
    return next((known.size for known in vmi.status.volume_status if known.name == volume), 0)


def _size_at_source(vmi: VirtualMachineInstance, volume: str) -> int:
    """Bytes of an image that the guest may have written to, as it was told of where the guest ran before; 0 for none.

    It goes along as it is, so what is made of the objects of today has to have its size; its content is overwritten.
    """
    disk = next((disk for disk in vmi.spec.domain.devices.disks if disk.name == volume), None)
    on_sata = disk is not None and disk.disk is not None and disk.disk.bus in ("", "sata") and not disk.disk.readonly
    return next((known.size for known in vmi.status.volume_status if known.name == volume), 0) if on_sata else 0


def _takes_direct_io(path: Path, opens: Callable[[str, int], int] = os.open) -> bool:
    """Some file systems (tmpfs of older kernels, some network ones) refuse O_DIRECT: ask by opening."""
    with contextlib.suppress(OSError):
        os.close(opens(str(path), os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
        return True
    return False
