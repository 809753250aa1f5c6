"""What kind of image a file is, from its first bytes.

The writer of a container disk is unknown to us, so only two formats exist: qcow2 by its magic, all else is raw; QEMU is
always told which and never guesses. What is well known to be neither is refused: no guest could read it. A qcow2 file
that names other files is refused, whatever it names: QEMU would open them with our rights
(https://www.qemu.org/docs/master/interop/qcow2.html).
"""

import os
import struct
from dataclasses import dataclass

_MAGIC = b"QFI\xfb"
_HEAD = struct.Struct(">4sIQIIQ")          # magic, version, backing file offset and length, cluster bits, virtual size
_FEATURES = struct.Struct(">Q")            # incompatible features, at 72, from version 3 on
_DATA_FILE = 1 << 2
_SECTOR = 512
# Offset, first bytes and name of formats that a guest could not use as they are (qemu/block/*.c has them).
_FOREIGN = (
    (0, b"KDMV", "vmdk"), (0, b"COWD", "vmdk"), (0, b"# Disk DescriptorFile", "vmdk"), (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"), (0, b"QED\0", "qed"), (64, b"\x7f\x10\xda\xbe", "vdi"), (0, b"LUKS\xba\xbe", "luks"),
    (0, b"\x1f\x8b", "gz"), (0, b"\xfd7zXZ\0", "xz"),
)


class UnusableImage(ValueError):
    """The image names other files, or is of a format or version that we do not know."""


@dataclass(frozen=True)
class Image:
    """``format``: raw or qcow2. ``size``: bytes that the guest sees."""

    format: str
    size: int


def inspect(fd: int) -> Image:
    """Read the head of an open file; its position stays. Raises UnusableImage."""
    head = os.pread(fd, 104, 0)
    if not head.startswith(_MAGIC):
        foreign = next((name for at, magic, name in _FOREIGN if head[at:].startswith(magic)), "")
        if foreign:
            raise UnusableImage(f"unsupported image format: {foreign}; give a raw or qcow2 file")
        size = os.fstat(fd).st_size
        return Image("raw", -(-size // _SECTOR) * _SECTOR)
    return Image("qcow2", _virtual_size(head))


def _virtual_size(head: bytes) -> int:
    if len(head) < 80:
        raise UnusableImage("qcow2 header is cut short")
    _magic, version, backing_offset, backing_length, _bits, size = _HEAD.unpack_from(head)
    if version not in (2, 3):
        raise UnusableImage(f"qcow2 version {version} is unknown")
    if backing_offset or backing_length:
        raise UnusableImage("expected no backing file, but found one in the qcow2 image")
    if version == 3 and _FEATURES.unpack_from(head, 72)[0] & _DATA_FILE:
        raise UnusableImage("expected no external data file in the qcow2 image")
    return int(size)
