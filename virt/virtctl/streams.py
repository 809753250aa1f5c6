"""WebSockets to subresources. aiohttp is loaded with this module, so import it only where a stream is needed."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from virt.api import names
from virt.kube import upgrades
from virt.virtctl.errors import ServerError
from virt.virtctl.kubeconfig import Access
from virt.virtctl.server import refusal, unreachable

DIAL_S: Final = 40.0
CHUNK: Final = 32 * 1024

Socket = aiohttp.ClientWebSocketResponse


@asynccontextmanager
async def stream(access: Access, path: str) -> AsyncIterator[Socket]:
    """Raises ServerError with the server's text when there is no upgrade."""
    said: list[str] = []
    trace = upgrades.refusals(lambda code, body: said.append(refusal(code, body)))
    options: dict[str, Any] = {"ssl": access.tls if access.tls is not None else True}
    if access.server_hostname:
        options["server_hostname"] = access.server_hostname
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=DIAL_S)
    async with aiohttp.ClientSession(trace_configs=[trace], timeout=timeout) as session:
        try:
            socket = await session.ws_connect(
                access.server + path, protocols=(names.SUBPROTOCOL,), headers=list(access.headers),
                max_msg_size=0, **options)
        except aiohttp.WSServerHandshakeError as error:
            raise ServerError(error.status, said[0] if said else error.message) from error
        except (aiohttp.ClientError, ssl.SSLError, OSError) as error:
            raise unreachable(access, error) from error
        try:
            yield socket
        finally:
            await socket.close()


async def joined(
    socket: Socket, read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]
) -> None:
    """Carry bytes both ways until one side ends: ``read`` gives b"" then."""
    async def up() -> None:
        while data := await read():
            await socket.send_bytes(data)

    async def down() -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await write(message.data)

    tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def carried(socket: Socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same with a local connection."""
    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    await joined(socket, lambda: reader.read(CHUNK), write)


def ended_badly(socket: Socket) -> bool:
    """Whether the other side went away without a proper end."""
    return socket.close_code not in (None, 1000, 1001)
