"""The RFB client against a scripted server."""

import struct
import zlib

import pytest
import websocket

from functests.libs import vnc
from functests.libs.vnc import Screen, Vnc, VncError

WHITE, BLACK = b"\xff\xff\xff\0", b"\0\0\0\0"
HELLO = (
    b"RFB 003.008\n" + b"\x01\x01" + struct.pack(">I", 0) + struct.pack(">HH", 2, 1) + bytes(16)
    + struct.pack(">I", 4) + b"QEMU"
)  # fmt: skip


def rectangle(x: int, y: int, width: int, height: int, encoding: int, data: bytes = b"") -> bytes:
    return struct.pack(">HHHHi", x, y, width, height, encoding) + data


def update(*rectangles: bytes) -> bytes:
    return struct.pack(">BxH", 0, len(rectangles)) + b"".join(rectangles)


class Server:
    """Sends its script in frames of three bytes, so that nothing arrives in one piece."""

    def __init__(self, script: bytes) -> None:
        self._frames = [script[place : place + 3] for place in range(0, len(script), 3)]
        self.got = b""
        self.closed = False

    def recv_data(self) -> tuple[int, bytes]:
        if not self._frames:
            return websocket.ABNF.OPCODE_CLOSE, b"\x03\xe8"
        return websocket.ABNF.OPCODE_BINARY, self._frames.pop(0)

    def send_binary(self, data: bytes) -> None:
        self.got += data

    def close(self) -> None:
        self.closed = True


def session(monkeypatch: pytest.MonkeyPatch, script: bytes) -> tuple[Vnc, Server]:
    server = Server(script)
    monkeypatch.setattr(vnc, "open_socket", lambda *_, **__: server)
    return Vnc(None, "ns", "vm"), server  # type: ignore[arg-type]


def test_a_picture_after_a_change_of_size(monkeypatch: pytest.MonkeyPatch) -> None:
    resized = update(rectangle(0, 0, 2, 2, vnc.DESKTOP_SIZE))
    bell = b"\x02"
    picture = update(rectangle(0, 0, 2, 1, vnc.RAW, WHITE * 2), rectangle(1, 1, 1, 1, vnc.RAW, WHITE))
    client, server = session(monkeypatch, HELLO + resized + bell + picture)
    assert (client.server_version, client.security_types, client.name) == (b"RFB 003.008\n", [1], "QEMU")
    assert (client.width, client.height) == (2, 1)

    screen = client.screen()
    assert screen == Screen(2, 2, WHITE * 2 + BLACK + WHITE)
    assert screen.lit == 0.75
    assert server.got.endswith(struct.pack(">BBHHHH", 3, 0, 0, 0, 2, 2)), "the new size was not asked for"


def test_keys_are_pressed_and_released(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = session(monkeypatch, HELLO)
    server.got = b""
    client.type("a\n")
    presses = [struct.unpack(">BBxxI", server.got[place : place + 8]) for place in range(0, 32, 8)]
    assert presses == [(4, 1, 0x61), (4, 0, 0x61), (4, 1, 0xFF0D), (4, 0, 0xFF0D)]


def test_shift_is_held_where_the_keyboard_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = session(monkeypatch, HELLO)
    server.got = b""
    client.type("A1")
    presses = [struct.unpack(">BBxxI", server.got[place : place + 8])[1:] for place in range(0, 48, 8)]
    assert presses == [(1, 0xFFE1), (1, 0x41), (0, 0x41), (0, 0xFFE1), (1, 0x31), (0, 0x31)]


def test_a_server_that_refuses_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = b"RFB 003.008\n" + b"\0" + struct.pack(">I", 4) + b"busy"
    with pytest.raises(VncError, match="refused: busy"):
        session(monkeypatch, refusal)


def test_an_end_in_the_middle_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = session(monkeypatch, HELLO + update(rectangle(0, 0, 2, 1, vnc.RAW, WHITE)))
    with pytest.raises(VncError, match="4 bytes are missing"):
        client.screen()


def test_difference_counts_pixels() -> None:
    black = Screen(2, 1, BLACK * 2)
    assert black.difference(Screen(2, 1, BLACK + WHITE)) == 0.5
    assert black.difference(Screen(1, 1, BLACK)) == 1.0


def test_png_holds_the_pixels_in_rgb() -> None:
    data = Screen(1, 2, b"\x01\x02\x03\0" + WHITE).png()
    start = data.index(b"IDAT") + 4
    assert zlib.decompress(data[start : data.index(b"IEND") - 8]) == b"\0\x03\x02\x01\0\xff\xff\xff"
