"""Reads PNG pictures (https://www.w3.org/TR/png/): 8 bits, RGB with or without alpha, not interlaced, as servers send.

Each chunk's checksum is checked, so that half a picture is never taken for one.
"""

import struct
import zlib
from collections.abc import Iterator

from functests.libs.vnc import Screen

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {2: 3, 6: 4}            # colour type -> bytes of a pixel


class PngError(AssertionError):
    """The bytes are no such picture."""


def decoded(data: bytes) -> Screen:
    """The picture as a VNC client would see it."""
    if not data.startswith(_SIGNATURE):
        raise PngError(f"no PNG: it begins with {data[:8]!r}")
    chunks = list(_chunks(data))
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1][0] != b"IEND":
        raise PngError(f"chunks {[kind for kind, _ in chunks]}")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    channels = _CHANNELS.get(colour)
    if depth != 8 or channels is None or interlaced:
        raise PngError(f"depth {depth}, colour type {colour}, interlaced {interlaced} are not read here")
    lines = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    if len(lines) != height * (1 + width * channels):
        raise PngError(f"{len(lines)} bytes for {width}x{height}")
    rows = b"".join(_rows(lines, width * channels, channels))
    pixels = bytearray(width * height * 4)
    for place in range(3):
        pixels[2 - place :: 4] = rows[place::channels]
    return Screen(width, height, bytes(pixels))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(_SIGNATURE)
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, place + 8 + length)
        if zlib.crc32(kind + body) != checksum:
            raise PngError(f"chunk {kind!r} has a wrong checksum")
        yield kind, body
        place += 12 + length


def _rows(lines: bytes, size: int, step: int) -> Iterator[bytes]:
    """The lines without their filters (section 9 of the standard)."""
    above = bytearray(size)
    for start in range(0, len(lines), size + 1):
        kind, row = lines[start], bytearray(lines[start + 1 : start + 1 + size])
        if kind > 4:
            raise PngError(f"filter {kind}")
        for at in range(size) if kind else ():
            left = row[at - step] if at >= step else 0
            corner = above[at - step] if at >= step else 0
            row[at] = (row[at] + _guess(kind, left, above[at], corner)) & 0xFF
        yield bytes(row)
        above = row


def _guess(kind: int, left: int, up: int, corner: int) -> int:
    if kind == 1:
        return left
    if kind == 2:
        return up
    if kind == 3:
        return (left + up) // 2
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))
