"""The guest's screen from the command line: a local port for a viewer, and a picture in a file."""

import json
import socket
import struct
import time
import zlib
from pathlib import Path

import pytest

from functests.libs import build, commands, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.terminal import Terminal
from functests.libs.vnc import VERSION


def _picture(data: bytes) -> tuple[int, int, set[bytes]]:
    """Width, height and the distinct rows' bytes of a PNG."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n"), data[:16]
    place, packed, size = 8, b"", (0, 0)
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        elif kind == b"IDAT":
            packed += body
        place += 12 + length
    pixels = zlib.decompress(packed)
    row = len(pixels) // size[1]
    return size[0], size[1], {pixels[start : start + row] for start in range(0, len(pixels), row)}


def _own_address() -> str:
    """An address of this machine beside 127.0.0.1: the one it would reach others from. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


@pytest.mark.demand(seconds=100)
@pytest.mark.case("CLI-011")
def test_the_screen_on_a_local_port(space: Space, cluster: Cluster, tmp_path: Path) -> None:
    """
    Preconditions: a running guest in text mode; a VMI that no node takes.
    Steps: vnc --proxy-only, connect to its port and to the same port of another address; a screenshot; vnc --proxy-only
        without a client; both of the second VMI.
    Expected: one JSON line with the port, RFB there and nobody on the other address; a PNG of 720x400 with more than
        one colour of rows; exit 1 after 60 s; exit 1 with a message.
    """
    _, shell = space.boot(build.disk_boot_vmi(cluster, "vm"))
    shell.succeed("printf '\\033[2J\\033[Hhello' > /dev/tty1")
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "far"), "no-such-node"))
    argv = [commands.VIRTCTL, "vnc", "vm", "--proxy-only", "-n", space.name]

    def port(terminal: Terminal) -> int:
        line = terminal.wait_for(r"(\{.*\})\r?\n", within_s=patience.promised(20)).group(1)
        return int(json.loads(line)["port"])

    with Terminal(argv, commands.environment(cluster)) as proxy:
        number = port(proxy)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((_own_address(), number), 5)
        with socket.create_connection(("127.0.0.1", number), 5) as viewer:
            viewer.settimeout(10)
            assert viewer.recv(len(VERSION)) == VERSION
        assert proxy.wait_end(within_s=patience.promised(15)) == 0, proxy.output

    file = tmp_path / "screen.png"
    taken = commands.virtctl(cluster, "vnc", "screenshot", "vm", "-f", str(file), "-n", space.name)
    assert taken.code == 0, taken
    width, height, rows = _picture(file.read_bytes())
    assert (width, height) == (720, 400)
    assert len(rows) > 1, "all rows of the picture are alike"

    for words in (("vnc", "far", "--proxy-only"), ("vnc", "screenshot", "far", "-f", str(tmp_path / "none"))):
        refused = commands.virtctl(cluster, *words, "-n", space.name)
        assert (refused.code, refused.stdout) == (1, ""), (words, refused)
        assert "VMI is not running" in refused.stderr, (words, refused.stderr)
    assert not (tmp_path / "none").exists()

    with Terminal(argv, commands.environment(cluster)) as lonely:
        port(lonely)
        began = time.monotonic()
        assert lonely.wait_end(within_s=patience.promised(75)) == 1, lonely.output
        took = time.monotonic() - began
    assert 55 <= took <= 70, f"it waited {took:.0f} s for a viewer"
    assert b"no viewer connected" in lonely.output, lonely.output
    patience.eventually("the guest goes on", lambda: shell.succeed("echo $((6*7))"), lambda seen: seen == "42")
