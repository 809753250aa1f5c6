"""The USB devices of the node as sysfs shows them.

https://docs.kernel.org/admin-guide/devices.html (major 189) and Documentation/ABI/testing/sysfs-bus-usb have the files.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from virt.handler import sysfiles
from virt.handler.sysfiles import NODE_SYSFS

_HUB = "09"


@dataclass(frozen=True, kw_only=True)
class UsbDevice:
    """``port``: where it is plugged in, "1-2.4": it stays the same when the device goes and comes. ``vendor``,
    ``product``: four hexadecimal digits. ``number``: on its bus, another one each time that it comes."""

    port: str
    vendor: str
    product: str
    bus: int
    number: int
    major: int
    minor: int
    is_hub: bool = False

    @property
    def ids(self) -> tuple[str, str]:
        return self.vendor, self.product


def devices(root: Path = NODE_SYSFS) -> tuple[UsbDevice, ...]:
    """All that are plugged in, by port. One that goes away meanwhile is left out. ``root``: where sysfs is mounted."""
    found = []
    with contextlib.suppress(FileNotFoundError):            # a machine without USB
        for folder in (root / "bus" / "usb" / "devices").iterdir():
            # "1-2:1.0" is an interface of a device, "usb1" the controller itself.
            if folder.name[:1].isdecimal() and ":" not in folder.name:
                with contextlib.suppress(OSError, ValueError):
                    found.append(_device(folder))
    return tuple(sorted(found, key=lambda device: place(device.port)))


def place(port: str) -> tuple[int, ...]:
    """For sorting: "1-10" comes after "1-2"."""
    return tuple(int(part) for part in port.replace("-", ".").split("."))


def _device(folder: Path) -> UsbDevice:
    """Raises ValueError for one that goes meanwhile, and for what is no device."""
    number = sysfiles.number(folder / "dev")
    if number is None:
        raise ValueError(f"{folder.name} has no device node")
    place(folder.name)
    return UsbDevice(
        port=folder.name, vendor=_lower(folder / "idVendor"), product=_lower(folder / "idProduct"),
        bus=int(_lower(folder / "busnum")), number=int(_lower(folder / "devnum")), major=number.major,
        minor=number.minor, is_hub=_lower(folder / "bDeviceClass") == _HUB,
    )


def _lower(path: Path) -> str:
    return sysfiles.text(path).lower()
