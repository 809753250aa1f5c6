"""A disk image that a BIOS boots, made without mounting anything and without root: FAT and SYSLINUX."""

import tempfile
from pathlib import Path

from cluster_up import exec as host

_MIB = 1024 * 1024
_SPARE_MIB = 8            # for what a test writes near the end, and for FAT itself
_DEADLINE_S = 60.0


def size_mib(*contents: int) -> int:
    """Whole MiB that hold files of these sizes, rounded up to 8.

    >>> size_mib(14 * 1024 * 1024, 1)
    24
    """
    return -(-(sum(contents) // _MIB + 1 + _SPARE_MIB) // 8) * 8


def make_bios(image: Path, kernel: Path, initrd: Path, arguments: str) -> None:
    """``image`` boots ``kernel`` with ``initrd`` and the kernel's ``arguments``, at once and without a prompt."""
    with image.open("wb") as file:
        file.truncate(size_mib(kernel.stat().st_size, initrd.stat().st_size) * _MIB)
    host.run(["mkfs.vfat", "-F", "16", "-n", "TINY", "--invariant", image], deadline_s=_DEADLINE_S)
    with tempfile.TemporaryDirectory(dir=image.parent) as scratch:
        settings = Path(scratch) / "syslinux.cfg"
        settings.write_text(
            f"default tiny\nprompt 0\ntimeout 0\nlabel tiny\n  kernel vmlinuz\n  initrd initrd\n  append {arguments}\n"
        )
        for source, name in ((settings, "syslinux.cfg"), (kernel, "vmlinuz"), (initrd, "initrd")):
            host.run(["mcopy", "-i", image, source, f"::{name}"], deadline_s=_DEADLINE_S)
        host.run(["syslinux", "--install", image], deadline_s=_DEADLINE_S)
