"""virtctl console: the serial port of a guest on this terminal, until Ctrl-]. It follows a guest to another node."""

import asyncio
import enum
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from virt.virtctl import terminal
from virt.virtctl.errors import CommandError, ServerError
from virt.virtctl.lifecycle import VMI
from virt.virtctl.server import Server
from virt.virtctl.streams import Socket, ended_badly, stream

ESCAPE: Final = b"\x1d"             # Ctrl-], and Ctrl-5 on most keyboards
AGAIN_S: Final = 1.0
NOT_YET: Final = 400                # the guest does not run yet; every other refusal is final
NOT_NOW: Final = (NOT_YET, 503)     # on the way to another node
MOVE_S: Final = 90.0                # so long a node may take to say that it has taken the guest over
LOOK_S: Final = 0.5
BANNER: Final = "Successfully connected to {name} console. Press Ctrl+] or Ctrl+5 to exit console."
MOVED: Final = "\n{name} has moved to node {node}; this is its console there."
DISCONNECTED: Final = (
    "You were disconnected from the console: the guest has ended, its node is gone, or another client took it over.")


class Fate(enum.Enum):
    """Of a guest whose console has ended."""

    ENDED = "ended"
    STAYED = "stayed"               # another client took the console over, or the node's agent is gone
    MOVING = "moving"
    MOVED = "moved"


@dataclass(frozen=True)
class Ends:
    """Descriptors of the person's side; both may be the same terminal."""

    keyboard: int
    screen: int


def console(server: Server, given: Namespace) -> int:
    ends = Ends(sys.stdin.fileno(), sys.stdout.fileno())
    try:
        return asyncio.run(connected(server, given.name, ends, timeout_s=60.0 * given.timeout))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM           # as a shell calls the death by the signal


async def connected(server: Server, name: str, ends: Ends, *, timeout_s: float) -> int:
    """The exit status. Raises CommandError when the guest does not run within ``timeout_s``."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)          # so that the terminal is put right first
    path, began = server.subresource(VMI, name, "console"), time.monotonic()
    keys: terminal.Keys | None = None
    while True:
        node = await _node(server, name)
        try:
            async with stream(server.access, path) as socket:
                print(BANNER.format(name=name) if keys is None else MOVED.format(name=name, node=node),
                      file=sys.stderr, flush=True)
                keys = keys or terminal.Keys(ends.keyboard)
                with terminal.raw(ends.keyboard):
                    by_person = await _joined(socket, keys, ends.screen)
        except ServerError as error:
            if error.code != NOT_YET and (keys is None or error.code not in NOT_NOW):
                raise
            if time.monotonic() - began >= timeout_s:
                raise CommandError(f"Timeout trying to connect to the console of {name}: {error}") from error
            await asyncio.sleep(AGAIN_S)
            continue
        if by_person:
            return 0
        if not await _moved(server, name, node):
            print(f"\n{DISCONNECTED}", file=sys.stderr)
            return 1 if ended_badly(socket) else 0
        began, timeout_s = time.monotonic(), MOVE_S


async def _node(server: Server, name: str) -> str:
    """Where the guest is; "" when this person may not know."""
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


async def _joined(socket: Socket, keys: terminal.Keys, screen: int) -> bool:
    """Until one side ends; True when it was the person."""
    typing = asyncio.create_task(_typed(socket, keys))
    showing = asyncio.create_task(_shown(socket, screen))
    try:
        await asyncio.wait((typing, showing), return_when=asyncio.FIRST_COMPLETED)
        if typing.done() and not typing.result():
            await showing                       # input has ended, output goes on
        return typing.done() and typing.result()
    finally:
        typing.cancel()
        showing.cancel()
        await asyncio.gather(typing, showing, return_exceptions=True)


async def _typed(socket: Socket, keys: terminal.Keys) -> bool:
    """True for the escape key, False when there is no more input or nobody to send it to."""
    while data := await keys.next():
        before, escape, _ = data.partition(ESCAPE)
        try:
            if before:
                await socket.send_bytes(before)
        except (aiohttp.ClientError, ConnectionError):
            return False
        if escape:
            return True
    return False


async def _shown(socket: Socket, screen: int) -> None:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY:
            terminal.write(screen, message.data)
