"""The streams of one guest, one after the other: it may move to another node, where the next one begins."""

import asyncio
import enum
import time
from collections.abc import AsyncGenerator, Container, Mapping
from typing import Any, Final

from virt.virtctl.errors import CommandError, ServerError
from virt.virtctl.lifecycle import VMI
from virt.virtctl.server import Server
from virt.virtctl.streams import Socket, stream

AGAIN_S: Final = 1.0
NOT_YET: Final = 400                # the guest does not run yet; every other refusal is final
NOT_NOW: Final = (NOT_YET, 503)     # on the way to another node
MOVE_S: Final = 90.0                # so long a node may take to say that it has taken the guest over
LOOK_S: Final = 0.5


class Fate(enum.Enum):
    """Of a guest whose stream has ended."""

    ENDED = "ended"
    STAYED = "stayed"               # another client took the stream over, or the node's agent is gone
    MOVING = "moving"
    MOVED = "moved"


async def follow(
    server: Server, name: str, kind: str, *, timeout_s: float | None = None
) -> AsyncGenerator[tuple[Socket, str]]:
    """Each stream of subresource ``kind`` and the node it leads to, "" when this person may not know. The next one
    comes when the guest has moved; none when it has ended. Close it (``contextlib.aclosing``) to end the stream.

    Raises CommandError when the guest does not run within ``timeout_s``, or ServerError at once when that is None.
    """
    path, began = server.subresource(VMI, name, kind), time.monotonic()
    may_wait: Container[int]
    limit_s, may_wait = (0.0, ()) if timeout_s is None else (timeout_s, (NOT_YET,))
    while True:
        node = await _node(server, name)
        try:
            async with stream(server.access, path) as socket:
                yield socket, node
        except ServerError as error:
            if error.code not in may_wait:
                raise
            if time.monotonic() - began >= limit_s:
                raise CommandError(f"Timeout trying to connect to the {kind} of {name}: {error}") from error
            await asyncio.sleep(AGAIN_S)
            continue
        if not await _moved(server, name, node):
            return
        began, limit_s, may_wait = time.monotonic(), MOVE_S, NOT_NOW


async def _node(server: Server, name: str) -> str:
    try:
        vmi = await asyncio.to_thread(server.read, server.object(VMI, name))
    except ServerError:
        return ""
    return str(vmi.get("status", {}).get("nodeName", ""))


async def _moved(server: Server, name: str, node: str) -> bool:
    """Whether the guest has left ``node`` for another one. Waits for the end of a migration under way."""
    deadline = time.monotonic() + MOVE_S
    while node and time.monotonic() < deadline:
        try:
            found = fate(await asyncio.to_thread(server.read, server.object(VMI, name)), node)
        except ServerError:
            return False
        if found is not Fate.MOVING:
            return found is Fate.MOVED
        await asyncio.sleep(LOOK_S)
    return False


def fate(vmi: Mapping[str, Any], node: str) -> Fate:
    """What has become of a guest that was on ``node``."""
    status = vmi.get("status", {})
    if status.get("phase") != "Running" or vmi.get("metadata", {}).get("deletionTimestamp"):
        return Fate.ENDED
    if status.get("nodeName") != node:
        return Fate.MOVED
    state = status.get("migrationState") or {}
    return Fate.MOVING if state.get("startTimestamp") and not state.get("completed") else Fate.STAYED
