"""A small RFB 3.8 client (RFC 6143) over the vnc subresource: handshake, raw pixels, size changes, keys, pointer.

Only what tests need: security type None, raw encoding, and the DesktopSize pseudo-encoding, which QEMU uses when a
guest changes its video mode.
"""

import struct
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import websocket

from functests.libs import patience
from functests.libs.console import chosen_protocol, open_socket
from functests.libs.rest import VMI, Rest, subresource_path

VERSION = b"RFB 003.008\n"
NO_SECURITY = 1
RAW = 0
DESKTOP_SIZE = -223
# 32 bits, depth 24, little endian, true colour, 255 each, blue lowest: bytes are B, G, R, unused.
PIXELS = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


# X11 keysyms, and what is on the upper half of an American keyboard.
RETURN, SHIFT = 0xFF0D, 0xFFE1
_SHIFTED = frozenset('ABCDEFGHIJKLMNOPQRSTUVWXYZ~!@#$%^&*()_+{}|:"<>?')


class VncError(AssertionError):
    """The server said something that RFB 3.8 does not allow, or nothing."""


@dataclass(frozen=True)
class Screen:
    """A picture: ``pixels`` is four bytes each, row by row from the top (B, G, R, unused)."""

    width: int
    height: int
    pixels: bytes = field(repr=False)

    def _colours(self) -> list[bytes]:
        return [self.pixels[place : place + 3] for place in range(0, len(self.pixels), 4)]

    @property
    def lit(self) -> float:
        """Share of pixels that are not black."""
        colours = self._colours()
        return sum(colour != b"\0\0\0" for colour in colours) / max(1, len(colours))

    def difference(self, other: "Screen") -> float:
        """Share of pixels that differ; 1.0 for pictures of different sizes."""
        if (self.width, self.height) != (other.width, other.height):
            return 1.0
        pairs = zip(self._colours(), other._colours(), strict=True)
        return sum(mine != theirs for mine, theirs in pairs) / max(1, self.width * self.height)

    def png(self) -> bytes:

        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        colours = [colour[::-1] for colour in self._colours()]
        rows = [b"\0" + b"".join(colours[y * self.width : (y + 1) * self.width]) for y in range(self.height)]
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + body


class Vnc:
    """An open session. ``server_version``, ``security_types``, ``name``, ``width``, ``height`` come from the server."""

    def __init__(
        self, rest: Rest, namespace: str, name: str, *, within_s: float | None = None, preserve: bool = False,
        **upgrade: Any,
    ) -> None:
        """``preserve``: leave a session alone that is there; then ConsoleRefused is raised. ``upgrade``: as open_socket
        takes it."""
        within_s = patience.promised(20) if within_s is None else within_s
        path = subresource_path(VMI, namespace, name, "vnc") + ("?preserveSession=true" if preserve else "")
        self._socket = open_socket(rest, path, timeout_s=within_s, **upgrade)
        self.opcodes: set[int] = set()             # of the frames that came
        self._buffer = bytearray()
        try:
            self._shake_hands()
        except BaseException:
            self._socket.close()
            raise

    @property
    def protocol(self) -> str:
        """What the server chose of the subprotocols."""
        return chosen_protocol(self._socket)

    def __enter__(self) -> "Vnc":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def drop(self) -> None:
        """End the connection as a client that is killed does: without a close frame."""
        self._socket.shutdown()  # type: ignore[no-untyped-call]

    def _shake_hands(self) -> None:
        self.server_version = bytes(self._take(12))
        self._socket.send_binary(VERSION)
        count = self._take(1)[0]
        if count == 0:
            raise VncError(f"refused: {self._text()}")
        self.security_types = list(self._take(count))
        if NO_SECURITY not in self.security_types:
            raise VncError(f"the server wants one of {self.security_types}, this client has {NO_SECURITY} only")
        self._socket.send_binary(bytes([NO_SECURITY]))
        (result,) = struct.unpack(">I", self._take(4))
        if result != 0:
            raise VncError(f"security failed: {self._text()}")
        self._socket.send_binary(b"\1")            # shared: nobody else is thrown out by RFB itself
        self.width, self.height = struct.unpack(">HH", self._take(4))
        self._take(16)                             # the server's own pixel format; ours is set below
        self.name = self._text()
        self._frame = bytearray(self.width * self.height * 4)
        self._socket.send_binary(b"\0\0\0\0" + PIXELS)
        self._socket.send_binary(struct.pack(">BBHii", 2, 0, 2, RAW, DESKTOP_SIZE))

    def _take(self, count: int) -> bytearray:
        """The next bytes of the stream, whatever frames they come in."""
        while len(self._buffer) < count:
            try:
                opcode, data = self._socket.recv_data()
            except (websocket.WebSocketException, OSError) as error:
                raise VncError(f"no more data ({error}); {count - len(self._buffer)} bytes are missing") from error
            self.opcodes.add(opcode)
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                raise VncError(f"the server closed the session; {count - len(self._buffer)} bytes are missing")
            self._buffer += data
        taken = self._buffer[:count]
        del self._buffer[:count]
        return taken

    def _text(self) -> str:
        (length,) = struct.unpack(">I", self._take(4))
        return self._take(length).decode(errors="replace")

    def screen(self, *, within_s: float | None = None) -> Screen:
        """A full picture, asked for now. Asks again when the size changes meanwhile."""
        deadline = time.monotonic() + (patience.promised(20) if within_s is None else within_s)
        while True:
            self._socket.send_binary(struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height))
            if self._update(deadline):
                return Screen(self.width, self.height, bytes(self._frame))

    def _update(self, deadline: float) -> bool:
        """Reads up to the end of one update; False when it changed the size, so that the picture is not whole."""
        while True:
            if time.monotonic() > deadline:
                raise VncError("no framebuffer update came in time")
            kind = self._take(1)[0]
            if kind == 0:
                (count,) = struct.unpack(">xH", self._take(3))
                resized = [self._rectangle() for _ in range(count)]
                return not any(resized)
            elif kind == 1:                        # colour map: not used with true colour
                (count,) = struct.unpack(">xxxH", self._take(5))
                self._take(6 * count)
            elif kind == 3:                        # cut text
                self._take(3)
                self._text()
            elif kind != 2:                        # 2 is the bell
                raise VncError(f"unknown message {kind}")

    def _rectangle(self) -> bool:
        """One rectangle into the frame; True for a new size."""
        x, y, width, height, encoding = struct.unpack(">HHHHi", self._take(12))
        if encoding == DESKTOP_SIZE:
            self.width, self.height = width, height
            self._frame = bytearray(width * height * 4)
            return True
        if encoding != RAW:
            raise VncError(f"encoding {encoding} was not offered")
        data = self._take(width * height * 4)
        for row in range(height):
            start = ((y + row) * self.width + x) * 4
            self._frame[start : start + width * 4] = data[row * width * 4 : (row + 1) * width * 4]
        return False

    def wait_closed(self, *, within_s: float) -> None:
        """Until the server ends the session; updates that still come are thrown away."""
        if not self.ended(within_s=within_s):
            raise VncError(f"the session was still open after {within_s:.0f} s")

    def key(self, keysym: int) -> None:
        """Press and release a key, by its X11 keysym (for letters the character's code)."""
        self._press(keysym, down=True)
        self._press(keysym, down=False)

    def _press(self, keysym: int, *, down: bool) -> None:
        self._socket.send_binary(struct.pack(">BBxxI", 4, down, keysym))

    def type(self, text: str) -> None:
        """As on an American keyboard: Shift is held where it must be; a newline is Return."""
        for character in text:
            if character in _SHIFTED:
                self._press(SHIFT, down=True)
            self.key(RETURN if character == "\n" else ord(character))
            if character in _SHIFTED:
                self._press(SHIFT, down=False)

    def ended(self, *, within_s: float) -> bool:
        """Whether the server closes the session in that time; what else it sends is let go by."""
        deadline = time.monotonic() + within_s
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                opcode, _ = self._socket.recv_data()
            except websocket.WebSocketTimeoutException:
                return False
            except (websocket.WebSocketException, OSError):
                return True
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return True
        return False

    def pointer(self, x: int, y: int, *, buttons: int = 0) -> None:
        self._socket.send_binary(struct.pack(">BBHH", 5, buttons, x, y))
