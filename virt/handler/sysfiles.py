"""Files of sysfs, whatever they are about: each may be missing, or go while it is read."""

import os
from dataclasses import dataclass
from pathlib import Path

# The handler's own /sys shows no network card of the node; that of the node's first process does.
NODE_SYSFS = Path("/proc/1/root/sys")


@dataclass(frozen=True)
class DeviceNumber:
    """Major and minor number of a character device."""

    major: int
    minor: int


def text(path: str | Path) -> str:
    """"" for a file that is not there, or cannot be read (operstate of a card that is just going)."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  (many files: plain calls take a third of the time)
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""


def link(path: str | Path) -> str:
    """The last part of where a link leads; "" without one."""
    try:
        return os.readlink(path).rpartition("/")[2]  # noqa: PTH115
    except OSError:
        return ""


def number(path: str | Path) -> DeviceNumber | None:
    """The numbers in a file ``dev``; None without one."""
    major, _, minor = text(path).partition(":")
    return DeviceNumber(int(major), int(minor)) if minor else None


def numa_node(folder: Path) -> int | None:
    """The NUMA node that a device is nearest to; None where the kernel does not know."""
    found = int(text(folder / "numa_node") or -1)
    return None if found < 0 else found
