"""A server of thin air that serves one VMI and streams that end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from virt.virtctl import moves

STARTED = {"startTimestamp": "2026-01-01T00:00:00Z"}


def vmi(node: str = "a", phase: str = "Running", **state: Any) -> dict[str, Any]:
    return {"metadata": {}, "status": {"phase": phase, "nodeName": node, "migrationState": state or None}}


class Socket:
    """Says ``words`` and ends, unless it ``lasts``. ``heard`` is what was typed."""

    close_code = 1000
    closed = False

    def __init__(self, words: bytes, *, lasts: bool = False) -> None:
        self._words, self._lasts = words, lasts
        self.heard = b""

    async def send_bytes(self, data: bytes) -> None:
        self.heard += data

    async def __aiter__(self) -> AsyncIterator[Any]:
        yield SimpleNamespace(type=aiohttp.WSMsgType.BINARY, data=self._words)
        if self._lasts:
            await asyncio.Event().wait()
        self.closed = True


class Stage:
    """``views``: what each look at the VMI shows, the last one for ever; ``streams``: what each dial gives."""

    def __init__(self, views: list[Any], streams: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self._views, self._streams = list(views), streams
        self.access = None
        monkeypatch.setattr(moves, "stream", self._stream)
        monkeypatch.setattr(moves, "AGAIN_S", 0.001)
        monkeypatch.setattr(moves, "LOOK_S", 0.001)

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
