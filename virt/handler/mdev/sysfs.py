"""The mediated devices of the node as sysfs shows them.

https://docs.kernel.org/driver-api/vfio-mediated-device.html has the files.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from virt.handler import sysfiles
from virt.handler.sysfiles import NODE_SYSFS, DeviceNumber

VFIO_API = "vfio-pci"


@dataclass(frozen=True, kw_only=True)
class MediatedDevice:
    """``uuid``: its name. ``type``: the kernel's name of its type ("mtty-2"), ``type_name``: what people call that, ""
    where the driver tells nothing. ``api``: how guests see it. ``group``: number of its IOMMU group, "" without one.
    ``number``: of the group's device node. ``numa_node``: its parent's. ``parent``: the device that it is a part of."""

    uuid: str
    type: str
    type_name: str = ""
    api: str = VFIO_API
    group: str = ""
    number: DeviceNumber | None = None
    numa_node: int | None = None
    parent: str = ""

    def is_called(self, selector: str) -> bool:
        """Whether a selector means its type: the type itself or its name, in which "_" may stand for spaces."""
        return is_called(self.type, self.type_name, selector)


@dataclass(frozen=True)
class Makeable:
    """A type of which a parent can make ``available`` devices more."""

    parent: str
    type: str
    type_name: str
    available: int

    def is_called(self, selector: str) -> bool:
        return is_called(self.type, self.type_name, selector)


def is_called(kind: str, name: str, selector: str) -> bool:
    return bool(selector) and selector in (kind, name, name.replace(" ", "_"))


def devices(root: Path = NODE_SYSFS) -> tuple[MediatedDevice, ...]:
    """All that there are, by UUID. One that goes away meanwhile is left out. ``root``: where sysfs is mounted."""
    found = []
    with contextlib.suppress(FileNotFoundError):            # a kernel without them
        for folder in sorted((root / "bus" / "mdev" / "devices").iterdir()):
            with contextlib.suppress(OSError, ValueError):
                found.append(_device(root, folder))
    return tuple(found)


def makeable(root: Path = NODE_SYSFS) -> tuple[Makeable, ...]:
    """All types of all parents, by parent and type."""
    found = []
    for folder in sorted((root / "class" / "mdev_bus").glob("*/mdev_supported_types/*")):
        available = sysfiles.text(folder / "available_instances")
        found.append(Makeable(
            folder.parent.parent.name, folder.name, sysfiles.text(folder / "name"), int(available) if available else 0))
    return tuple(found)


def make(kind: Makeable, uuid: str, root: Path = NODE_SYSFS) -> None:
    """Raises OSError."""
    folder = root / "class" / "mdev_bus" / kind.parent / "mdev_supported_types" / kind.type
    (folder / "create").write_text(uuid)


def remove(uuid: str, root: Path = NODE_SYSFS) -> None:
    """Raises OSError."""
    (root / "bus" / "mdev" / "devices" / uuid / "remove").write_text("1")


def control_number(root: Path = NODE_SYSFS) -> DeviceNumber | None:
    """Numbers of /dev/vfio/vfio; None where VFIO is not loaded."""
    return sysfiles.number(root / "class" / "misc" / "vfio" / "dev")


def _device(root: Path, folder: Path) -> MediatedDevice:
    kind = folder / "mdev_type"
    group = sysfiles.link(folder / "iommu_group")
    parent = folder.resolve().parent
    return MediatedDevice(
        uuid=folder.name, type=kind.resolve(strict=True).name, type_name=sysfiles.text(kind / "name"),
        api=sysfiles.text(kind / "device_api") or VFIO_API, group=group,
        number=sysfiles.number(root / "class" / "vfio" / group / "dev") if group else None,
        numa_node=sysfiles.numa_node(parent), parent=parent.name,
    )
