"""A console that follows its guest."""

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest

from tests.virt.virtctl.stage import STARTED, Socket, Stage, vmi
from tests.waits import HANG_S
from virt.virtctl import console
from virt.virtctl.console import Ends
from virt.virtctl.errors import ServerError


@pytest.fixture
def ends() -> Any:
    keyboard, types = os.pipe()
    shows, screen = os.pipe()
    yield SimpleNamespace(ends=Ends(keyboard, screen), types=types, shows=shows)
    for each in (keyboard, types, shows, screen):
        os.close(each)


async def test_it_follows_the_guest_and_says_so(
    ends: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = Socket(b"there", lasts=True)
    stage = Stage(
        [vmi(), vmi(**STARTED), vmi(**STARTED), vmi("b", **STARTED, completed=True)],
        [Socket(b"here "), ServerError(503, "not connected"), there], monkeypatch)
    running = asyncio.create_task(
        console.connected(stage, "vm1", ends.ends, timeout_s=1))  # type: ignore[arg-type]
    said = b""
    while b"there" not in said:
        said += await asyncio.to_thread(os.read, ends.shows, 100)
    os.write(ends.types, b"ls\x1d")
    assert await asyncio.wait_for(running, HANG_S) == 0
    assert (said, there.heard) == (b"here there", b"ls")
    told = capsys.readouterr().err
    assert told.count("Successfully connected") == 1
    assert "vm1 has moved to node b" in told


@pytest.mark.parametrize("views", [
    [vmi(), vmi()],                                                             # another client took it over
    [vmi(), vmi("a", "Succeeded")],
    [vmi(), vmi(**STARTED), vmi(**STARTED, completed=True, failed=True)],
    [vmi(), ServerError(404, "not found")],
    [ServerError(403, "forbidden"), vmi("b")],                                  # who may not look cannot follow
])
async def test_otherwise_it_ends(
    ends: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], views: list[Any]
) -> None:
    stage = Stage(views, [Socket(b"here")], monkeypatch)
    assert await console.connected(stage, "vm1", ends.ends, timeout_s=1) == 0  # type: ignore[arg-type]
    assert "You were disconnected" in capsys.readouterr().err
