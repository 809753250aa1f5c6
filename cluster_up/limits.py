"""Limits of the kernel that a few nodes exceed: each runs systemd, a kubelet and containerd, which watch files.

Past them a kubelet dies at its start with "too many open files", minutes later kind gives up.
"""

import os
from collections.abc import Mapping
from pathlib import Path

NEEDED = {"fs.inotify.max_user_instances": 1024, "fs.inotify.max_user_watches": 524288}


def _file(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def current() -> dict[str, int]:
    """The limits of this machine that NEEDED names, where the kernel has them."""
    return {name: int(_file(name).read_text()) for name in NEEDED if _file(name).exists()}


def too_low(limits: Mapping[str, int]) -> dict[str, int]:
    """Name -> needed value of each limit that is lower. Pure."""
    return {name: NEEDED[name] for name, value in limits.items() if value < NEEDED[name]}


def command(wanted: Mapping[str, int]) -> str:
    return "sysctl -w " + " ".join(f"{name}={value}" for name, value in wanted.items())


def can_raise() -> bool:
    return os.geteuid() == 0


def raise_to(wanted: Mapping[str, int]) -> None:
    """Until the next boot. Raises OSError where the machine forbids it."""
    for name, value in wanted.items():
        _file(name).write_text(f"{value}\n")
