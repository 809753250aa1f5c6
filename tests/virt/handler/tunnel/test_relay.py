"""Whose the stream socket is, and that it is closed whatever happens."""

import asyncio
import socket
from typing import cast

from aiohttp import web

from tests.waits import HANG_S
from virt.handler.tunnel.relay import relay


class SlowClient:
    """A WebSocket that takes nothing, and takes its time when it is told to stop."""

    def __init__(self) -> None:
        self.takes, self.ends = asyncio.Event(), asyncio.Event()

    async def send_bytes(self, _data: bytes) -> None:
        try:
            self.takes.set()
            await asyncio.Event().wait()
        finally:
            self.ends.set()
            await asyncio.sleep(3600)

    def __aiter__(self) -> "SlowClient":
        return self

    async def __anext__(self) -> object:
        await asyncio.Event().wait()
        raise StopAsyncIteration


async def test_a_session_that_is_cut_off_while_it_ends_leaves_no_socket_open() -> None:
    guest, ours = socket.socketpair()
    guest.setblocking(False)
    with guest:
        client = SlowClient()
        session = asyncio.create_task(relay(cast("web.WebSocketResponse", client), ours))
        guest.send(b"x")
        async with asyncio.timeout(HANG_S):
            for reached in (client.takes, client.ends):         # by its own client, and by the one that takes over
                await reached.wait()
                session.cancel()
            await asyncio.wait({session})       # whoever keeps it keeps what it had: only closing helps
            assert await asyncio.get_running_loop().sock_recv(guest, 1) == b""
