"""The PNG reader against the writer, and against each filter of the standard."""

import struct
import zlib

import pytest

from functests.libs import png
from functests.libs.png import PngError
from functests.libs.vnc import Screen

PIXELS = bytes(range(0, 4 * 6 * 10, 10))      # 3x2, the fourth byte of each is not kept
SCREEN = Screen(3, 2, bytes(0 if place % 4 == 3 else value for place, value in enumerate(PIXELS)))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def picture(lines: bytes, *, colour: int = 2, depth: int = 8) -> bytes:
    head = struct.pack(">IIBBBBB", 3, 2, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")


def filtered(rows: list[bytes], kind: int) -> bytes:
    """Rows of three-byte pixels under one filter, straight from the standard's table."""
    above, lines = bytes(9), b""
    for row in rows:
        line = bytearray([kind])
        for at, value in enumerate(row):
            left = row[at - 3] if at >= 3 else 0
            up, corner = above[at], above[at - 3] if at >= 3 else 0
            pa, pb, pc = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
            paeth = left if pa <= pb and pa <= pc else up if pb <= pc else corner
            line.append((value - (0, left, up, (left + up) >> 1, paeth)[kind]) & 0xFF)
        lines += line
        above = row
    return lines


def test_what_was_written_is_read() -> None:
    assert png.decoded(SCREEN.png()) == SCREEN


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_undone(kind: int) -> None:
    rows = [bytes([250, 3, 77, 12, 200, 9, 1, 255, 128]), bytes([4, 5, 250, 90, 80, 70, 254, 0, 33])]
    seen = png.decoded(picture(filtered(rows, kind)))
    assert [seen.pixels[at + 2] for at in range(0, 24, 4)] == [rows[0][0], rows[0][3], rows[0][6],
                                                              rows[1][0], rows[1][3], rows[1][6]]
    assert seen == png.decoded(picture(filtered(rows, 0)))


def test_alpha_is_left_out() -> None:
    line = b"\0" + bytes([1, 2, 3, 99] * 3)
    assert png.decoded(picture(line * 2, colour=6)).pixels == bytes([3, 2, 1, 0] * 6)


@pytest.mark.parametrize(("data", "why"), [
    (b"P6 3 2 255", "no PNG"),
    (SCREEN.png()[:-1] + b"\0", "checksum"),
    (picture(bytes(20), depth=16), "depth 16"),
    (picture(bytes(19)), "19 bytes for 3x2"),
    (picture(b"\5" + bytes(19)), "filter 5"),
])
def test_what_is_no_picture_is_said(data: bytes, why: str) -> None:
    with pytest.raises(PngError, match=why):
        png.decoded(data)
