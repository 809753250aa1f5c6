"""virtctl console: the serial port of a guest on this terminal, until Ctrl-]. It follows a guest to another node."""

import asyncio
import signal
import sys
from argparse import Namespace
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import aiohttp

from virt.virtctl import terminal
from virt.virtctl.moves import follow
from virt.virtctl.server import Server
from virt.virtctl.streams import Socket, ended_badly

ESCAPE: Final = b"\x1d"             # Ctrl-], and Ctrl-5 on most keyboards
BANNER: Final = "Successfully connected to {name} console. Press Ctrl+] or Ctrl+5 to exit console."
MOVED: Final = "\n{name} has moved to node {node}; this is its console there."
DISCONNECTED: Final = (
    "You were disconnected from the console: the guest has ended, its node is gone, or another client took it over.")


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
    keys: terminal.Keys | None = None
    async with aclosing(follow(server, name, "console", timeout_s=timeout_s)) as streams:
        async for socket, node in streams:
            print(BANNER.format(name=name) if keys is None else MOVED.format(name=name, node=node),
                  file=sys.stderr, flush=True)
            keys = keys or terminal.Keys(ends.keyboard)
            with terminal.raw(ends.keyboard):
                if await _joined(socket, keys, ends.screen):
                    return 0
    print(f"\n{DISCONNECTED}", file=sys.stderr)
    return 1 if ended_badly(socket) else 0


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
