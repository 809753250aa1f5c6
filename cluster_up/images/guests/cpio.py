"""The archive that a kernel unpacks as its first root file system ("newc"). Pure: the same entries give the same bytes.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

import stat
from collections.abc import Iterable
from dataclasses import dataclass

_MAGIC = b"070701"


@dataclass(frozen=True)
class Entry:
    """``mode`` has the file's type. ``data`` is a file's bytes or a symlink's target; ``device`` a node's numbers."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(name: str) -> Entry:
    return Entry(name, stat.S_IFDIR | 0o755)


def file(name: str, data: bytes, *, executable: bool = False) -> Entry:
    return Entry(name, stat.S_IFREG | (0o755 if executable else 0o644), data)


def symlink(name: str, target: str) -> Entry:
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def character_device(name: str, major: int, minor: int) -> Entry:
    return Entry(name, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """All entries, sorted by name and owned by root; folders that are missing above them are added.

    Raises ValueError when two entries have one name.
    """
    by_name: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in by_name:
            raise ValueError(f"two entries are named {entry.name}")
        by_name[entry.name] = entry
    for name in list(by_name):
        parts = name.split("/")[:-1]
        for length in range(1, len(parts) + 1):
            above = "/".join(parts[:length])
            by_name.setdefault(above, folder(above))
    packed = bytearray()
    for inode, name in enumerate(sorted(by_name), 1):
        packed += _record(inode, by_name[name])
    packed += _record(0, Entry("TRAILER!!!", 0))
    return bytes(packed)


def _record(inode: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    numbers = (
        inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0,
    )  # fmt: skip
    head = _MAGIC + b"".join(b"%08X" % number for number in numbers) + name
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
