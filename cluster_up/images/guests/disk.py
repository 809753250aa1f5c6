"""Disk images that a BIOS boots, made without mounting anything and without root: FAT and SYSLINUX.

Two forms: one file system on the bare disk, and a disk with a boot partition and a root partition.
"""

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cluster_up import exec as host
from cluster_up.images.recipe import EPOCH, RECIPES

_MIB = 1024 * 1024
_SECTOR = 512
_SPARE_MIB = 8            # for what a test writes near the end, and for FAT itself
_DEADLINE_S = 60.0
_BOOT_CODE = RECIPES / "guests" / "mbr.S"
_LINK = "-Wl,-Ttext=0x600,--oformat=binary,--build-id=none"
_BOOT_CODE_BYTES = 440
_FIXED_TIME = {"SOURCE_DATE_EPOCH": str(EPOCH), "TZ": "UTC"}     # for mtools: FAT has local time
_FAT16, _LINUX, _ACTIVE = 0x0E, 0x83, 0x80
_BEYOND_CYLINDERS = b"\xfe\xff\xff"                      # such an address means: look at the sector numbers


@dataclass(frozen=True)
class Layout:
    """Where the partitions of a disk are; sizes in MiB."""

    boot_mib: int
    root_mib: int

    boot_offset = _MIB

    @property
    def root_offset(self) -> int:
        return self.boot_offset + self.boot_mib * _MIB

    @property
    def size(self) -> int:
        return self.root_offset + self.root_mib * _MIB


def size_mib(*contents: int) -> int:
    """Whole MiB that hold files of these sizes, rounded up to 8.

    >>> size_mib(14 * 1024 * 1024, 1)
    24
    """
    return -(-(sum(contents) // _MIB + 1 + _SPARE_MIB) // 8) * 8


def boot_record(code: bytes, layout: Layout) -> bytes:
    """The first sector: boot code, then a table with the active boot partition and the root partition."""
    if len(code) > _BOOT_CODE_BYTES:
        raise ValueError(f"boot code of {len(code)} bytes does not fit into {_BOOT_CODE_BYTES}")
    rows = ((_ACTIVE, _FAT16, layout.boot_offset, layout.boot_mib), (0, _LINUX, layout.root_offset, layout.root_mib))
    table = b"".join(
        struct.pack(
            "<B3sB3sII", flag, _BEYOND_CYLINDERS, kind, _BEYOND_CYLINDERS, offset // _SECTOR, mib * _MIB // _SECTOR
        )
        for flag, kind, offset, mib in rows
    )
    return code.ljust(446, b"\0") + table.ljust(64, b"\0") + b"\x55\xaa"


def make_bios(image: Path, kernel: Path, initrd: Path, arguments: str) -> None:
    """``image`` boots ``kernel`` with ``initrd`` and the kernel's ``arguments``, at once and without a prompt."""
    with image.open("wb") as file:
        file.truncate(size_mib(kernel.stat().st_size, initrd.stat().st_size) * _MIB)
    host.run(["mkfs.vfat", "-F", "16", "-n", "TINY", "--invariant", image], deadline_s=_DEADLINE_S)
    _fill(image, 0, kernel, initrd, arguments)


def make_partitioned(image: Path, layout: Layout) -> None:
    """A disk with both partitions, nothing in them."""
    code = image.with_suffix(".mbr")
    host.run(["gcc", "-nostdlib", "-static", "-m64", _LINK, "-o", code, _BOOT_CODE], deadline_s=_DEADLINE_S)
    with image.open("wb") as file:
        file.truncate(layout.size)
        file.write(boot_record(code.read_bytes(), layout))
    code.unlink()


def make_bootable(image: Path, layout: Layout, kernel: Path, initrd: Path, arguments: str) -> None:
    """Put kernel and initrd into the boot partition, and what boots them."""
    start = layout.boot_offset // _SECTOR
    options = ["-F", "16", "-n", "BOOT", "--invariant", "--offset", str(start), "-h", str(start)]
    blocks = str(layout.boot_mib * _MIB // 1024)
    host.run(["mkfs.vfat", *options, image, blocks], deadline_s=_DEADLINE_S)
    _fill(image, layout.boot_offset, kernel, initrd, arguments)


def _fill(image: Path, offset: int, kernel: Path, initrd: Path, arguments: str) -> None:
    with tempfile.TemporaryDirectory(dir=image.parent) as scratch:
        settings = Path(scratch) / "syslinux.cfg"
        lines = ("default linux", "prompt 0", "timeout 0", "label linux", "kernel vmlinuz", "initrd initrd")
        settings.write_text("\n".join([*lines, f"append {arguments}"]) + "\n")
        for source, name in ((settings, "syslinux.cfg"), (kernel, "vmlinuz"), (initrd, "initrd")):
            argv: list[str | Path] = ["mcopy", "-i", f"{image}@@{offset}", source, f"::{name}"]
            host.run(argv, deadline_s=_DEADLINE_S, env=_FIXED_TIME)
        argv = ["syslinux", "--install", "--offset", str(offset), image]
        host.run(argv, deadline_s=_DEADLINE_S, env=_FIXED_TIME)
