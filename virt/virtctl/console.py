"""virtctl console: the serial port of a guest on this terminal, until Ctrl-]."""

import asyncio
import signal
import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from typing import Final

import aiohttp

from virt.virtctl import terminal
from virt.virtctl.errors import CommandError, ServerError
from virt.virtctl.lifecycle import VMI
from virt.virtctl.server import Server
from virt.virtctl.streams import Socket, ended_badly, stream

ESCAPE: Final = b"\x1d"             # Ctrl-], and Ctrl-5 on most keyboards
AGAIN_S: Final = 1.0
NOT_YET: Final = 400                # the guest does not run yet; every other refusal is final
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
    path, began = server.subresource(VMI, name, "console"), time.monotonic()
    while True:
        try:
            async with stream(server.access, path) as socket:
                print(f"Successfully connected to {name} console. Press Ctrl+] or Ctrl+5 to exit console.",
                      file=sys.stderr, flush=True)
                with terminal.raw(ends.keyboard):
                    by_person = await _joined(socket, ends)
            break
        except ServerError as error:
            if error.code != NOT_YET:
                raise
            if time.monotonic() - began >= timeout_s:
                raise CommandError(f"Timeout trying to connect to the console of {name}: {error}") from error
            await asyncio.sleep(AGAIN_S)
    if not by_person:
        print(f"\n{DISCONNECTED}", file=sys.stderr)
    return 1 if not by_person and ended_badly(socket) else 0


async def _joined(socket: Socket, ends: Ends) -> bool:
    """Until one side ends; True when it was the person."""
    typing = asyncio.create_task(_typed(socket, ends.keyboard))
    showing = asyncio.create_task(_shown(socket, ends.screen))
    try:
        await asyncio.wait((typing, showing), return_when=asyncio.FIRST_COMPLETED)
        if typing.done() and not typing.result():
            await showing                       # input has ended, output goes on
        return typing.done() and typing.result()
    finally:
        typing.cancel()
        showing.cancel()
        await asyncio.gather(typing, showing, return_exceptions=True)


async def _typed(socket: Socket, keyboard: int) -> bool:
    """True for the escape key, False when there is no more input or nobody to send it to."""
    keys = terminal.Keys(keyboard)
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
