"""Whose the stream socket is, and that it is closed whatever happens."""

import asyncio
import socket
from typing import cast

from aiohttp import web

from tests.waits import HANG_S
from virt.handler.tunnel.relay import relay


class SlowClient:
    """A WebSocket that takes nothing, and takes its time when it is told to stop."""

    async def send_bytes(self, _data: bytes) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(30)

    def __aiter__(self) -> "SlowClient":
        return self

    async def __anext__(self) -> object:
        await asyncio.Event().wait()
        raise StopAsyncIteration


async def test_a_session_that_is_cut_off_while_it_ends_leaves_no_socket_open() -> None:
    guest, ours = socket.socketpair()
    guest.setblocking(False)
    with guest:
        session = asyncio.create_task(relay(cast("web.WebSocketResponse", SlowClient()), ours))
        guest.send(b"x")
        await asyncio.sleep(0.05)
        for _ in range(2):                  # by its own client, and by the one that takes over
            session.cancel()
            await asyncio.sleep(0.05)
        assert session.done()               # whoever keeps it keeps what it had: only closing helps
        async with asyncio.timeout(HANG_S):
            assert await asyncio.get_running_loop().sock_recv(guest, 1) == b""
