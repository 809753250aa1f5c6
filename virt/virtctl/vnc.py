"""virtctl vnc: the screen of a guest, through a local port that a viewer connects to. The port follows the guest to
another node."""

import asyncio
import json
import os
import shutil
import sys
from argparse import Namespace
from contextlib import aclosing
from pathlib import Path
from typing import Final

from virt.base import exec as processes
from virt.virtctl.errors import CommandError
from virt.virtctl.lifecycle import VMI
from virt.virtctl.moves import follow
from virt.virtctl.server import Server
from virt.virtctl.streams import Socket, carried, ended_badly

LISTEN_S: Final = 60.0
LEAVE_S: Final = 2.0                # so long a viewer takes to end with its connection
VIEWING_S: Final = 30 * 86400.0
MOVED: Final = ("{name} has moved to node {node}, and the port leads to its screen there: connect the viewer again, "
                "if it does not do so itself.")
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# Program and the form of its argument.
VIEWERS: Final = (
    ("remote-viewer", "vnc://127.0.0.1:{port}"), ("vncviewer", "127.0.0.1::{port}"), ("vinagre", "127.0.0.1:{port}"),
    ("gvncviewer", "127.0.0.1::{port}"),
)


def vnc(server: Server, given: Namespace) -> int:
    """``given.target``: a name, or ``screenshot`` and a name."""
    if len(given.target) == 2 and given.target[0] == "screenshot":
        return screenshot(server, given.target[1], given.file)
    if len(given.target) != 1:
        raise CommandError(f"vnc takes one name, or `screenshot` and a name; got {' '.join(given.target)!r}")
    return asyncio.run(proxied(server, given.target[0], given))


def screenshot(server: Server, name: str, file: str) -> int:
    if not file:
        raise CommandError("screenshot needs --file, or --file - for standard output")
    picture = server.call("GET", server.subresource(VMI, name, "vnc/screenshot"))
    if file == "-":
        sys.stdout.buffer.write(picture)
        return 0
    try:
        Path(file).write_bytes(picture)
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}") from error
    return 0


def viewer(port: int) -> tuple[str, ...]:
    """Raises CommandError when no viewer is installed."""
    for program, form in VIEWERS:
        if shutil.which(program):
            return (program, form.format(port=port))
    raise CommandError("no VNC viewer found: install one of " + ", ".join(program for program, _ in VIEWERS)
                       + ", or use --proxy-only and connect one yourself")


async def proxied(server: Server, name: str, given: Namespace) -> int:
    port = Port(given)
    try:
        # The guest first: a viewer without a screen helps nobody.
        async with aclosing(follow(server, name, "vnc")) as streams:
            async for socket, node in streams:
                if port.is_open:
                    print(MOVED.format(name=name, node=node), file=sys.stderr, flush=True)
                    await port.again()
                else:
                    await port.open()
                await port.carry(socket)
                if not socket.closed:           # the server need not answer our close: what follows says nothing
                    return 0
    finally:
        await port.close()
    return 1 if ended_badly(socket) else 0


class Port:
    """The local port: of one viewer at a time, and of the next one when that has gone."""

    def __init__(self, given: Namespace) -> None:
        self._given = given
        self._listener: asyncio.Server | None = None
        self._number = 0
        self._shown: asyncio.Task[processes.Result] | None = None
        self._arrived: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

    @property
    def is_open(self) -> bool:
        return self._listener is not None

    async def open(self) -> None:
        """Listen, and tell people the port or start a viewer."""
        given = self._given
        try:
            self._listener = await asyncio.start_server(self._accept, given.address, given.port)
        except OSError as error:
            raise CommandError(f"cannot listen on {given.address}:{given.port}: {error.strerror}") from error
        self._number = int(self._listener.sockets[0].getsockname()[1])
        if given.proxy_only:
            print(json.dumps({"port": self._number}, separators=(",", ":")), flush=True)
        else:
            self._show()

    def _show(self) -> None:
        self._shown = asyncio.create_task(
            processes.run(viewer(self._number), deadline_s=VIEWING_S, env=dict(os.environ)))

    async def again(self) -> None:
        """Some viewers end with the connection, others offer to connect again."""
        if self._shown is not None:
            await asyncio.wait((self._shown, self._arrived), timeout=LEAVE_S, return_when=asyncio.FIRST_COMPLETED)
            if self._shown.done() and not self._arrived.done():
                self._shown.exception()         # that its connection broke is known
                self._show()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._arrived.done():
            writer.close()                  # one screen, one viewer
        else:
            self._arrived.set_result((reader, writer))

    async def carry(self, socket: Socket) -> None:
        """Until one side ends."""
        reader, writer = await _first(self._arrived, self._shown)
        try:
            await carried(socket, reader, writer)
        finally:
            # One that connects again at once, while the guest is still on its way, waits for it.
            self._arrived = asyncio.get_running_loop().create_future()
            writer.close()

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._arrived.done():
            self._arrived.result()[1].close()
        if self._shown is not None:
            self._shown.cancel()
            await asyncio.gather(self._shown, return_exceptions=True)


async def _first(arrived: asyncio.Future[Connection], shown: asyncio.Task[processes.Result] | None) -> Connection:
    """The viewer's connection. Raises CommandError when none comes in time, and at once for a viewer that failed; one
    that ended well may have handed the address to a window that was open already."""
    loop = asyncio.get_running_loop()
    until = loop.time() + LISTEN_S
    waited = {arrived} | ({shown} if shown is not None else set())
    while not arrived.done():
        done, _ = await asyncio.wait(
            waited, timeout=until - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise CommandError(f"no viewer connected within {LISTEN_S:.0f} s")
        if shown in done and not arrived.done():
            await shown                     # a failure is told
            waited.remove(shown)
    return arrived.result()
