"""The connection to the handler, over real sockets."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waits import HANG_S
from virt.launcher.link import HandlerLink
from virt.rpc.messages import DomainEvent, DomainState, DomainStatus, Done, Event, GuestPanicked, Hello, Pause, Request
from virt.rpc.peer import Peer, Reply

STATUS = DomainStatus(state=DomainState.RUNNING, domain_name="default_web")


class Handler:
    """Accepts one launcher after the other."""

    def __init__(self, path: Path) -> None:
        self.heard: list[Event] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._socket.setblocking(False)

    async def accept(self) -> tuple[Peer, asyncio.Task[None]]:
        connection, _ = await asyncio.get_running_loop().sock_accept(self._socket)
        peer = Peer(connection, on_event=self.heard.append)
        return peer, asyncio.create_task(peer.run())

    async def hear(self, count: int) -> None:
        async with asyncio.timeout(HANG_S):
            while len(self.heard) < count:
                await asyncio.sleep(0.005)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "handler.sock"


async def serve(_request: Request, _fds: tuple[int, ...]) -> Reply:
    await asyncio.sleep(0.05)
    return Reply(Done())


async def test_each_connection_begins_with_hello_and_the_state(path: Path) -> None:
    link = HandlerLink(serve, lambda: STATUS, pid=os.getpid(), path=str(path))
    running = asyncio.create_task(link.run())
    await asyncio.sleep(0.05)                   # nobody listens yet
    assert not await link.tell(GuestPanicked())
    handler = Handler(path)
    for _ in range(2):
        handler.heard.clear()
        peer, reading = await asyncio.wait_for(handler.accept(), HANG_S)
        await handler.hear(2)
        assert isinstance(handler.heard[0], Hello)
        assert handler.heard[1] == DomainEvent(status=STATUS)
        peer.close()
        await asyncio.gather(reading, return_exceptions=True)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    handler.close()


async def test_settle_lets_the_answer_out(path: Path) -> None:
    asked = asyncio.Event()

    async def serve_slowly(_request: Request, _fds: tuple[int, ...]) -> Reply:
        asked.set()
        await asyncio.sleep(0.05)
        return Reply(Done())

    link = HandlerLink(serve_slowly, lambda: STATUS, pid=os.getpid(), path=str(path))
    handler = Handler(path)
    running = asyncio.create_task(link.run())
    peer, reading = await asyncio.wait_for(handler.accept(), HANG_S)
    await handler.hear(2)
    assert await link.tell(GuestPanicked())
    asking = asyncio.create_task(peer.call(Pause(), deadline_s=HANG_S))
    await asked.wait()
    await link.settle()
    running.cancel()
    assert (await asking).answer == Done()
    peer.close()
    await asyncio.gather(running, reading, return_exceptions=True)
    handler.close()
