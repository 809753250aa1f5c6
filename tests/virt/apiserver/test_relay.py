"""Port forwarding between a WebSocket and a TCP connection: bytes both ways, pings, and a client that is gone."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.waits import HANG_S
from virt.apiserver import relay


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1024):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def forwarded(
    *, autoping: bool = True, now: Callable[[], float] = time.monotonic
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A client's WebSocket that is forwarded to a TCP server which echoes."""
    target = await asyncio.start_server(_echo, "127.0.0.1", 0)

    async def forward(request: web.Request) -> web.StreamResponse:
        reader, writer = await asyncio.open_connection(*target.sockets[0].getsockname())
        socket = web.WebSocketResponse(autoping=False, timeout=0.2)
        await socket.prepare(request)
        await relay.join_stream(socket, reader, writer, ping_s=0.02, now=now)
        return socket

    app = web.Application()
    app.router.add_get("/", forward)
    async with target, TestClient(TestServer(app)) as client, client.ws_connect("/", autoping=autoping) as socket:
        yield socket


async def test_bytes_come_back_and_text_is_ignored() -> None:
    async with forwarded() as socket:
        await socket.send_str("no bytes")
        await socket.send_bytes(b"some bytes")
        assert await socket.receive_bytes(timeout=HANG_S) == b"some bytes"


async def test_a_client_that_answers_pings_stays() -> None:
    passed_s = 0.0
    async with forwarded(autoping=False, now=lambda: passed_s) as socket:
        while passed_s < 2 * relay.SILENCE_S:
            message = await socket.receive(timeout=HANG_S)
            assert message.type is aiohttp.WSMsgType.PING, f"after {passed_s} s"
            await socket.pong(message.data)
            passed_s += relay.SILENCE_S / 8
        await socket.send_bytes(b"still here")
        while (message := await socket.receive(timeout=HANG_S)).type is aiohttp.WSMsgType.PING:
            pass
        assert message.data == b"still here"


async def test_a_client_that_never_answers_is_dropped() -> None:
    passed_s = 0.0
    async with forwarded(autoping=False, now=lambda: passed_s) as socket:
        while (message := await socket.receive(timeout=HANG_S)).type is aiohttp.WSMsgType.PING:
            passed_s += relay.SILENCE_S / 8
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert passed_s >= relay.SILENCE_S


async def test_a_ping_of_the_client_is_answered() -> None:
    async with forwarded(autoping=False) as socket:
        await socket.ping(b"hello")
        while (message := await socket.receive(timeout=HANG_S)).type is aiohttp.WSMsgType.PING:
            pass
        assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"hello")
