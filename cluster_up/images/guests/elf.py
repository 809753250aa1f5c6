"""What a guest's recipe must know of ELF files: the libraries of a program, and a kernel that is loaded quickly.

Only 64-bit little-endian files; names and numbers are those of elf(5).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_LOAD, _DYNAMIC, _NOTE = 1, 2, 4
_NEEDED, _STRTAB = 1, 5
_ALIGN = 4096


@dataclass(frozen=True)
class Segment:
    kind: int
    flags: int
    offset: int
    virtual: int
    physical: int
    in_file: int
    in_memory: int
    align: int

    def holds(self, offset: int) -> bool:
        return self.offset <= offset < self.offset + self.in_file


def segments(data: bytes) -> list[Segment]:
    """Raises ValueError for anything but an ELF file."""
    if data[:5] != b"\x7fELF\x02":
        raise ValueError("not a 64-bit ELF file")
    head = _HEADER.unpack_from(data)
    start, size, count = head[5], head[9], head[10]
    return [Segment(*_SEGMENT.unpack_from(data, start + index * size)) for index in range(count)]


def is_elf(data: bytes) -> bool:
    return data[:4] == b"\x7fELF"


def needed(data: bytes) -> list[str]:
    """File names of the libraries that the dynamic linker will look for; none for a static program."""
    parts = segments(data)
    dynamic = next((part for part in parts if part.kind == _DYNAMIC), None)
    if dynamic is None:
        return []
    entries = list(_pairs(data[dynamic.offset : dynamic.offset + dynamic.in_file]))
    address = next(value for tag, value in entries if tag == _STRTAB)
    home = next(p for p in parts if p.kind == _LOAD and p.virtual <= address < p.virtual + p.in_file)
    strings = address - home.virtual + home.offset
    return [_text(data, strings + value) for tag, value in entries if tag == _NEEDED]


def _pairs(table: bytes) -> Iterator[tuple[int, int]]:
    for tag, value in struct.iter_unpack("<QQ", table):
        if tag == 0:
            return
        yield tag, value


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()


def loadable(data: bytes) -> bytes:
    """The same program with nothing but what is loaded: no sections, no zeros at the end of a segment.

    Notes stay where they are inside a loaded segment: QEMU finds a kernel's PVH entry there.
    """
    parts = [part for part in segments(data) if part.kind in (_LOAD, _NOTE)]
    loads = [part for part in parts if part.kind == _LOAD]
    head = list(_HEADER.unpack_from(data))
    head[5], head[10] = _HEADER.size, len(parts)        # program headers follow at once
    head[6] = head[12] = head[13] = 0                   # no section headers
    place = _up(_HEADER.size + _SEGMENT.size * len(parts))
    places: dict[int, int] = {}
    body = bytearray()
    sizes: dict[int, int] = {}
    for part in loads:
        content = data[part.offset : part.offset + part.in_file].rstrip(b"\0")
        places[part.offset], sizes[part.offset] = place + len(body), len(content)
        body += content
        body += bytes(_up(len(body)) - len(body))
    table = b""
    for part in parts:
        if part.kind == _LOAD:
            offset, size = places[part.offset], sizes[part.offset]
        else:
            home = next(load for load in loads if load.holds(part.offset))
            offset, size = places[home.offset] + part.offset - home.offset, part.in_file
        table += _SEGMENT.pack(
            part.kind, part.flags, offset, part.virtual, part.physical, size, max(part.in_memory, size), part.align
        )
    start = _HEADER.pack(*head) + table
    return start + bytes(place - len(start)) + bytes(body)


def _up(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
