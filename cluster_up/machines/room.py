"""Whether this computer has the memory for machines. Pure, but for the look at /proc/meminfo."""

import re
from collections.abc import Sequence
from pathlib import Path

from cluster_up.machines.model import Machine

_OVERHEAD_MIB = 256           # QEMU's own, beside the machine's memory
_MEMINFO = Path("/proc/meminfo")


class MeminfoError(ValueError):
    """The kernel's account has no line about available memory."""


def available_mib(text: str | None = None) -> int:
    """Memory that programs can have without anything being swapped out. Raises MeminfoError.

    >>> available_mib("MemFree: 4 kB\\nMemAvailable:    2097152 kB\\n")
    2048
    """
    found = re.search(r"^MemAvailable: +(\d+) kB$", _MEMINFO.read_text() if text is None else text, re.MULTILINE)
    if found is None:
        raise MeminfoError("/proc/meminfo has no line MemAvailable")
    return int(found[1]) // 1024


def needed_mib(memory_mib: int) -> int:
    """Memory that one machine takes. All of it counts, since its guests touch what they are given."""
    return memory_mib + _OVERHEAD_MIB


def lack(missing: Sequence[Machine], free_mib: int) -> str:
    """What is said of machines that are to be started and do not fit, "" where they do."""
    needed = sum(needed_mib(machine.memory_mib) for machine in missing)
    if needed <= free_mib:
        return ""
    each = ", ".join(f"{machine.name} {machine.memory_mib}Mi" for machine in missing)
    return (
        f"machines, machine_memory: {each} need {needed} MiB with QEMU's own, and {free_mib} MiB of memory are "
        "available; allowed: fewer (--machines), smaller ones (VIRT_CLUSTER_MACHINE_MEMORY), or --force"
    )
