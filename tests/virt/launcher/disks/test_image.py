"""Formats by the first bytes, and images that name other files."""

import struct
from pathlib import Path

import pytest

from virt.launcher.disks.image import Image, UnusableImage, inspect


def header(version: int = 3, backing: tuple[int, int] = (0, 0), size: int = 1 << 30, features: int = 0) -> bytes:
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", version, *backing, 16, size)
    return head.ljust(72, b"\0") + struct.pack(">Q", features) + bytes(24)


def seen(path: Path, content: bytes) -> Image:
    path.write_bytes(content)
    with path.open("rb") as file:
        return inspect(file.fileno())


def test_qcow2_has_the_size_of_its_header(tmp_path: Path) -> None:
    assert seen(tmp_path / "disk", header()) == Image("qcow2", 1 << 30)
    assert seen(tmp_path / "disk", header(version=2, size=512)) == Image("qcow2", 512)


def test_all_else_is_raw_in_whole_sectors(tmp_path: Path) -> None:
    assert seen(tmp_path / "disk", b"MBR!" + bytes(1000)) == Image("raw", 1024)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header(backing=(104, 11)), "backing file"),
        (header(version=2, backing=(104, 0)), "backing file"),
        (header(features=4), "data file"),
        (header(version=4), "version 4"),
        (header()[:60], "cut short"),
        (b"KDMV" + bytes(600), "unsupported image format: vmdk"),
        (b"# Disk DescriptorFile\nversion=1\n", "unsupported image format: vmdk"),
        (bytes(64) + b"\x7f\x10\xda\xbe" + bytes(600), "unsupported image format: vdi"),
    ],
)
def test_what_names_other_files_or_is_unknown_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(UnusableImage, match=reason):
        seen(tmp_path / "disk", content)
