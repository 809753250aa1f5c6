"""Screenshots as PNG (https://www.w3.org/TR/png/): QEMU may give a PPM instead."""

import re
import struct
import zlib

_PNG = b"\x89PNG\r\n\x1a\n"
_PPM = re.compile(rb"P6\s+(\d+)\s+(\d+)\s+255\s")


def as_png(picture: bytes) -> bytes:
    """Raises ValueError for anything but PNG and binary PPM of 8 bits."""
    if picture.startswith(_PNG):
        return picture
    head = _PPM.match(picture)
    if head is None:
        raise ValueError(f"a picture that begins with {picture[:8]!r} is neither PNG nor PPM")
    width, height = int(head[1]), int(head[2])
    pixels = memoryview(picture)[head.end() :]
    row = 3 * width
    if len(pixels) < row * height:
        raise ValueError(f"a picture of {width}x{height} with {len(pixels)} bytes")
    # Each line starts with its filter: 0, none.
    lines = b"".join(b"\0" + pixels[at : at + row] for at in range(0, row * height, row))
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines, 6)),
        (b"IEND", b""),
    )
    return _PNG + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
