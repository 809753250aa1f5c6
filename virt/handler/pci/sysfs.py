"""The PCI devices of the node through sysfs: read as values, changed by a few verbs.

https://docs.kernel.org/PCI/sysfs-pci.html and pci-iov-howto.html have the files. What a device is does not change as
long as it is there, so that is read once: on a slow node all files of forty devices take a third of a second.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from virt.base.errors import VirtError
from virt.handler import sysfiles
from virt.handler.pci.model import VFIO_DRIVER, PciDevice
from virt.handler.sysfiles import NODE_SYSFS, DeviceNumber


class PciError(VirtError):
    """The kernel refuses what was asked of a PCI device."""

    reference = "pci-device"
    hint = "look at the node's kernel log (dmesg), and whether the driver vfio-pci is loaded there"


def write(path: Path, text: str) -> None:
    path.write_text(text)


class Sysfs:
    """``root`` is where sysfs is mounted. ``write`` is a parameter, since the kernel acts on what is written."""

    def __init__(self, root: Path = NODE_SYSFS, write: Callable[[Path, str], None] = write) -> None:
        self._devices = root / "bus" / "pci" / "devices"
        self._drivers = root / "bus" / "pci" / "drivers"
        self._probe = root / "bus" / "pci" / "drivers_probe"
        self._class = root / "class"
        self._write = write
        self._known: dict[str, tuple[_Identity, PciDevice]] = {}

    def devices(self) -> tuple[PciDevice, ...]:
        """All of them, by address. One that goes away meanwhile is left out."""
        known, found = self._known, {}
        with contextlib.suppress(FileNotFoundError):        # a machine without PCI
            for address in sorted(os.listdir(self._devices)):  # noqa: PTH208  (paths are made only where one is read)
                with contextlib.suppress(OSError):
                    folder = f"{self._devices}/{address}"
                    identity = _identity(folder)
                    before = known.get(address)
                    fixed = before[1] if before is not None and before[0] == identity else _fixed(Path(folder))
                    found[address] = (identity, _now(folder, fixed))
        self._known = found
        return tuple(device for _, device in found.values())

    def group_number(self, group: str) -> DeviceNumber | None:
        """Numbers of /dev/vfio/<group>; None while no device of the group is on vfio-pci."""
        return sysfiles.number(f"{self._class}/vfio/{group}/dev")

    def control_number(self) -> DeviceNumber | None:
        """Numbers of /dev/vfio/vfio; None where VFIO is not loaded."""
        return sysfiles.number(f"{self._class}/misc/vfio/dev")

    def set_count(self, address: str, count: int) -> None:
        """Give a physical function ``count`` virtual ones. Those it has go away. Raises PciError."""
        folder = self._devices / address
        try:
            # New ones wait for us: the network driver would take them first.
            self._write(folder / "sriov_drivers_autoprobe", "0")
            self._write(folder / "sriov_numvfs", "0")           # from one number to another is refused (EBUSY)
            self._write(folder / "sriov_numvfs", str(count))
        except OSError as error:
            raise PciError(f"PCI device {address} cannot have {count} virtual functions: {error}") from error

    def bind(self, address: str) -> None:
        """Give a device to vfio-pci, whatever driver has it now. Raises PciError."""
        folder = self._devices / address
        if not (self._drivers / VFIO_DRIVER).exists():
            raise PciError(f"PCI device {address} cannot be given to guests: the node has not loaded {VFIO_DRIVER}")
        try:
            self._write(folder / "driver_override", VFIO_DRIVER)
            if (folder / "driver").exists():
                self._write(folder / "driver" / "unbind", address)
            self._write(self._probe, address)
        except OSError as error:
            raise PciError(f"PCI device {address} cannot be bound to {VFIO_DRIVER}: {error}") from error
        driver = sysfiles.link(folder / "driver")
        if driver != VFIO_DRIVER:
            raise PciError(f"PCI device {address} was given to {VFIO_DRIVER}, but has driver {driver or 'none'}")


# Of the folder of one device: another device at the same address has another one.
_Identity = tuple[int, int]


def _identity(folder: str) -> _Identity:
    found = os.stat(folder)  # noqa: PTH116
    return found.st_ino, found.st_ctime_ns


def _fixed(folder: Path) -> PciDevice:
    """What does not change while a device is there."""
    return PciDevice(
        address=folder.name,
        vendor=(folder / "vendor").read_text().strip().removeprefix("0x"),
        device=(folder / "device").read_text().strip().removeprefix("0x"),
        class_code=sysfiles.text(folder / "class").removeprefix("0x"),
        numa_node=sysfiles.numa_node(folder),
        physical=sysfiles.link(folder / "physfn"),
        most_virtual=int(sysfiles.text(folder / "sriov_totalvfs") or 0),
    )


def _now(folder: str, device: PciDevice) -> PciDevice:
    """``device`` with what may change: its driver, group, virtual functions and network cards."""
    driver, group = sysfiles.link(f"{folder}/driver"), sysfiles.link(f"{folder}/iommu_group")
    virtual = _virtual(Path(folder)) if device.most_virtual else ()
    cards = _cards(Path(folder, "net")) if driver and driver != VFIO_DRIVER and not device.is_bridge else ()
    now = (driver, group, virtual, cards)
    if now == (device.driver, device.group, device.virtual, device.cards):
        return device
    return replace(device, driver=driver, group=group, virtual=virtual, cards=cards)


def _virtual(folder: Path) -> tuple[str, ...]:
    links = [link for link in folder.glob("virtfn*") if link.name.removeprefix("virtfn").isdecimal()]
    return tuple(sysfiles.link(link) for link in sorted(links, key=lambda link: int(link.name.removeprefix("virtfn"))))


def _cards(folder: Path) -> tuple[tuple[str, str], ...]:
    if not folder.is_dir():
        return ()
    return tuple((card.name, sysfiles.text(card / "operstate")) for card in sorted(folder.iterdir()))
