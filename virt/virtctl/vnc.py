"""virtctl vnc: the screen of a guest, through a local port that a viewer connects to."""

import asyncio
import json
import os
import shutil
import sys
from argparse import Namespace
from pathlib import Path
from typing import Final

from virt.base import exec as processes
from virt.virtctl.errors import CommandError
from virt.virtctl.lifecycle import VMI
from virt.virtctl.server import Server
from virt.virtctl.streams import Socket, ended_badly, joined, stream

LISTEN_S: Final = 60.0
VIEWING_S: Final = 30 * 86400.0
CHUNK: Final = 32 * 1024
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
    # The guest first: a viewer without a screen helps nobody.
    async with stream(server.access, server.subresource(VMI, name, "vnc")) as socket:
        arrived: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if arrived.done():
                writer.close()                  # one screen, one viewer
            else:
                arrived.set_result((reader, writer))

        try:
            listener = await asyncio.start_server(accept, given.address, given.port)
        except OSError as error:
            raise CommandError(f"cannot listen on {given.address}:{given.port}: {error.strerror}") from error
        port = int(listener.sockets[0].getsockname()[1])
        shown = None
        try:
            if given.proxy_only:
                print(json.dumps({"port": port}, separators=(",", ":")), flush=True)
            else:
                shown = asyncio.create_task(
                    processes.run(viewer(port), deadline_s=VIEWING_S, env=dict(os.environ)))
            reader, writer = await _first(arrived, shown)
            listener.close()
            await _joined(socket, reader, writer)
            viewer_left = not socket.closed     # the server need not answer our close: what follows says nothing
        finally:
            listener.close()
            if shown is not None:
                shown.cancel()
                await asyncio.gather(shown, return_exceptions=True)
    return 1 if not viewer_left and ended_badly(socket) else 0


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


async def _joined(socket: Socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        await joined(socket, lambda: reader.read(CHUNK), write)
    finally:
        writer.close()
