"""A screen that follows its guest: the local port stays."""

import asyncio
import json
from argparse import Namespace
from pathlib import Path

import pytest

from tests.virt.virtctl.stage import STARTED, Socket, Stage, vmi
from tests.waits import HANG_S, until
from virt.virtctl import vnc
from virt.virtctl.errors import CommandError, ServerError

MOVED = [vmi(), vmi(**STARTED), vmi("b", **STARTED, completed=True)]


def given(*, proxy_only: bool = True) -> Namespace:
    return Namespace(address="127.0.0.1", port=0, proxy_only=proxy_only)


async def port_of(serving: asyncio.Task[int], capsys: pytest.CaptureFixture[str]) -> int:
    said = ""

    def heard() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return "\n" in said or serving.done()

    await until(heard)
    return int(json.loads(said)["port"])


async def read_all(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await asyncio.wait_for(reader.read(), HANG_S)
    finally:
        writer.close()


async def test_the_port_leads_to_the_screen_on_the_other_node(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    streams = [Socket(b"here"), ServerError(503, "not connected"), Socket(b"there", lasts=True)]
    stage = Stage(MOVED, streams, monkeypatch)
    serving = asyncio.create_task(vnc.proxied(stage, "vm1", given()))  # type: ignore[arg-type]
    port = await port_of(serving, capsys)
    assert await read_all(port) == b"here"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)       # at once: the guest is still on its way
    assert await asyncio.wait_for(reader.readexactly(5), HANG_S) == b"there"
    writer.close()
    assert await asyncio.wait_for(serving, HANG_S) == 0
    out, err = capsys.readouterr()
    assert "vm1 has moved to node b" in err
    assert out == "", "the port is told once"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_second_viewer_is_turned_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage([vmi()], [Socket(b"here", lasts=True)], monkeypatch)
    serving = asyncio.create_task(vnc.proxied(stage, "vm1", given()))  # type: ignore[arg-type]
    port = await port_of(serving, capsys)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await asyncio.wait_for(reader.readexactly(4), HANG_S) == b"here"
    assert await read_all(port) == b""
    assert not serving.done()
    writer.close()
    assert await asyncio.wait_for(serving, HANG_S) == 0


async def test_a_guest_that_has_ended_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage([vmi(), vmi(phase="Succeeded")], [Socket(b"here")], monkeypatch)
    serving = asyncio.create_task(vnc.proxied(stage, "vm1", given()))  # type: ignore[arg-type]
    assert await read_all(await port_of(serving, capsys)) == b"here"
    assert await asyncio.wait_for(serving, HANG_S) == 0
    assert "moved" not in capsys.readouterr().err


async def test_nobody_who_connects_again_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vnc, "LISTEN_S", 0.3)
    stage = Stage(MOVED, [Socket(b"here"), Socket(b"there", lasts=True)], monkeypatch)
    serving = asyncio.create_task(vnc.proxied(stage, "vm1", given()))  # type: ignore[arg-type]
    assert await read_all(await port_of(serving, capsys)) == b"here"
    with pytest.raises(CommandError, match="no viewer connected within 0 s"):
        await asyncio.wait_for(serving, HANG_S)


async def test_a_viewer_that_ended_with_the_move_is_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As remote-viewer does. The one here connects, reads to the end, and writes down what it saw."""
    program = tmp_path / "remote-viewer"
    program.write_text("#!/bin/bash\nport=${1##*:}\n"
                       f"exec 3<>/dev/tcp/127.0.0.1/$port && timeout 1 cat <&3 >> {tmp_path}/seen\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    stage = Stage(MOVED, [Socket(b"here "), Socket(b"there", lasts=True)], monkeypatch)
    assert await asyncio.wait_for(
        vnc.proxied(stage, "vm1", given(proxy_only=False)), HANG_S) == 0  # type: ignore[arg-type]
    assert (tmp_path / "seen").read_bytes() == b"here there"
