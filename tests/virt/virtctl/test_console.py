"""A console that follows its guest: a server of thin air that serves one VMI and streams that end."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from tests.waits import HANG_S
from virt.virtctl import console
from virt.virtctl.console import Ends, Fate, fate
from virt.virtctl.errors import ServerError

STARTED = {"startTimestamp": "2026-01-01T00:00:00Z"}


def vmi(node: str = "a", phase: str = "Running", **state: Any) -> dict[str, Any]:
    return {"metadata": {}, "status": {"phase": phase, "nodeName": node, "migrationState": state or None}}


@pytest.mark.parametrize(("seen", "expected"), [
    (vmi(), Fate.STAYED),
    (vmi(**STARTED), Fate.MOVING),
    (vmi(**STARTED, completed=True, failed=True), Fate.STAYED),
    (vmi("b", **STARTED, completed=True), Fate.MOVED),
    (vmi("b", "Succeeded"), Fate.ENDED),
    ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running", "nodeName": "b"}},
     Fate.ENDED),
    ({}, Fate.ENDED),
])
def test_what_has_become_of_a_guest(seen: dict[str, Any], expected: Fate) -> None:
    assert fate(seen, "a") is expected


class Socket:
    """Says ``words`` and ends. ``heard`` is what was typed."""

    close_code = 1000

    def __init__(self, words: bytes, *, lasts: bool = False) -> None:
        self._words, self._lasts = words, lasts
        self.heard = b""

    async def send_bytes(self, data: bytes) -> None:
        self.heard += data

    async def __aiter__(self) -> AsyncIterator[Any]:
        yield SimpleNamespace(type=aiohttp.WSMsgType.BINARY, data=self._words)
        if self._lasts:
            await asyncio.Event().wait()


class Stage:
    """``views``: what each look at the VMI shows, the last one for ever; ``streams``: what each dial gives."""

    def __init__(self, views: list[Any], streams: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self._views, self._streams = views, streams
        self.access = None
        monkeypatch.setattr(console, "stream", self._stream)
        monkeypatch.setattr(console, "AGAIN_S", 0.001)
        monkeypatch.setattr(console, "LOOK_S", 0.001)

    def read(self, _path: str) -> Any:
        view = self._views.pop(0) if len(self._views) > 1 else self._views[0]
        if isinstance(view, Exception):
            raise view
        return view

    def object(self, _plural: str, _name: str) -> str:
        return ""

    def subresource(self, _plural: str, _name: str, _action: str) -> str:
        return ""

    @asynccontextmanager
    async def _stream(self, _access: Any, _path: str) -> AsyncIterator[Any]:
        found = self._streams.pop(0)
        if isinstance(found, Exception):
            raise found
        yield found


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
