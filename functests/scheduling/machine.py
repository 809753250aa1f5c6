"""What this machine has. kind's nodes each report the whole of it, so only the machine itself can be asked."""

import os
from pathlib import Path

from functests.scheduling.admission import Capacity
from functests.scheduling.demand import GUEST_MIB

GUESTS_PER_CORE = 2             # guests that run at once: most of their time they idle
RESERVE_MIB = 1024              # stays free for the cluster's own services
_MEMINFO = Path("/proc/meminfo")
_LIMITS = Path("/sys/fs/cgroup")


def cores() -> int:
    return len(os.sched_getaffinity(0))


def available_mib(meminfo: Path = _MEMINFO, cgroup: Path = _LIMITS) -> int:
    """Memory that can be taken now: the kernel's estimate, or what our own cgroup leaves when that is less."""
    words = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(words["MemAvailable"].split()[0]) // 1024
    limit, used = (_number(cgroup / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        free = min(free, (limit - used + _cached(cgroup / "memory.stat")) // 2**20)
    return free


def _cached(stat: Path) -> int:
    """File pages that the kernel gives back when memory is wanted."""
    try:
        words = dict(line.split() for line in stat.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(words.get("inactive_file", 0))


def _number(file: Path) -> int | None:
    """None when there is none, or it says ``max``."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def capacity(vfs: int = 0, *, warm: bool = False) -> Capacity:
    """``warm``: some tests borrow running guests; of these there is one for each core, with its memory set aside."""
    guests = cores() if warm else 0
    memory = available_mib() - RESERVE_MIB - guests * GUEST_MIB
    return Capacity(cores() * GUESTS_PER_CORE, max(memory, RESERVE_MIB), vfs, guests)


def workers(count: int | None = None) -> int:
    """Workers of a run: one per guest that may run at once."""
    return (count or cores()) * GUESTS_PER_CORE
