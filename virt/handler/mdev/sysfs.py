"""The mediated devices of the node as sysfs shows them.

https://docs.kernel.org/driver-api/vfio-mediated-device.html has the files.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from virt.handler.pci.model import DeviceNumber
from virt.handler.pci.sysfs import NODE_SYSFS

VFIO_API = "vfio-pci"


@dataclass(frozen=True, kw_only=True)
class MediatedDevice:
    """``uuid``: its name. ``type``: the kernel's name of its type ("mtty-2"), ``type_name``: what people call that, ""
    where the driver tells nothing. ``api``: how guests see it. ``group``: number of its IOMMU group, "" without one.
    ``number``: of the group's device node. ``numa_node``: its parent's."""

    uuid: str
    type: str
    type_name: str = ""
    api: str = VFIO_API
    group: str = ""
    number: DeviceNumber | None = None
    numa_node: int | None = None

    def is_called(self, selector: str) -> bool:
        """By its type's name, in which a selector may have "_" for spaces, or by the type."""
        return selector in (self.type, self.type_name, self.type_name.replace(" ", "_")) and bool(selector)


def devices(root: Path = NODE_SYSFS) -> tuple[MediatedDevice, ...]:
    """All that there are, by UUID. One that goes away meanwhile is left out. ``root``: where sysfs is mounted."""
    found = []
    with contextlib.suppress(FileNotFoundError):            # a kernel without them
        for folder in sorted((root / "bus" / "mdev" / "devices").iterdir()):
            with contextlib.suppress(OSError, ValueError):
                found.append(_device(root, folder))
    return tuple(found)


def control_number(root: Path = NODE_SYSFS) -> DeviceNumber | None:
    """Of /dev/vfio/vfio; None where VFIO is not loaded."""
    return _number(root / "class" / "misc" / "vfio" / "dev")


def _device(root: Path, folder: Path) -> MediatedDevice:
    kind = folder / "mdev_type"
    group = _link(folder / "iommu_group")
    numa_node = int(_text(folder.resolve().parent / "numa_node") or -1)
    return MediatedDevice(
        uuid=folder.name, type=kind.resolve(strict=True).name, type_name=_text(kind / "name"),
        api=_text(kind / "device_api") or VFIO_API, group=group,
        number=_number(root / "class" / "vfio" / group / "dev") if group else None,
        numa_node=None if numa_node < 0 else numa_node,
    )


def _number(path: Path) -> DeviceNumber | None:
    major, _, minor = _text(path).partition(":")
    return DeviceNumber(int(major), int(minor)) if minor else None


def _text(path: Path) -> str:
    """"" for a file that is not there."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return path.readlink().name
    except OSError:
        return ""
