"""Pictures of the screen."""

import struct
import zlib

import pytest

from virt.launcher.picture import as_png


def test_ppm_becomes_png_pixel_by_pixel() -> None:
    pixels = bytes(range(12))
    png = as_png(b"P6\n2 2\n255\n" + pixels)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (2, 2)
    length = struct.unpack(">I", png[33:37])[0]
    assert zlib.decompress(png[41 : 41 + length]) == b"\0" + pixels[:6] + b"\0" + pixels[6:]


def test_png_stays_and_all_else_is_refused() -> None:
    assert as_png(b"\x89PNG\r\n\x1a\nrest") == b"\x89PNG\r\n\x1a\nrest"
    with pytest.raises(ValueError, match="neither PNG nor PPM"):
        as_png(b"GIF89a")
    with pytest.raises(ValueError, match="2x2"):
        as_png(b"P6 2 2 255\n123")
