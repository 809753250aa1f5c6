"""The relay between real sockets: what arrives, and who hears of an end."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from virt.handler.migration import relay
from virt.handler.migration.relay import BUFFER, join

LONG_S = 60


@dataclass
class Sides:
    """``guest`` and ``peer`` are what stands on either side of the relay."""

    guest: socket.socket
    peer: socket.socket
    near: socket.socket
    far: socket.socket
    relay: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        for each in (self.guest, self.peer, self.near, self.far):
            each.setblocking(False)
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)       # else the kernel holds megabytes
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.relay = asyncio.create_task(join(self.near, self.far))


@pytest.fixture
async def sides() -> AsyncIterator[Sides]:
    guest, near = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    made = Sides(guest, peer, near, far)
    yield made
    made.relay.cancel()
    await asyncio.gather(made.relay, return_exceptions=True)
    guest.close()
    peer.close()


async def received(sock: socket.socket) -> bytes:
    """All until the end."""
    loop = asyncio.get_running_loop()
    found = bytearray()
    while data := await loop.sock_recv(sock, 1 << 16):
        found += data
    return bytes(found)


async def ended(sides: Sides) -> None:
    async with asyncio.timeout(LONG_S):
        await sides.relay
    assert (sides.near.fileno(), sides.far.fileno()) == (-1, -1), "a socket was left open"


async def test_all_arrives_before_the_end(sides: Sides) -> None:
    """Much in both directions at the same time, more than all buffers hold."""
    loop = asyncio.get_running_loop()
    there, back = os.urandom(20 * BUFFER + 1), os.urandom(20 * BUFFER + 7)
    async with asyncio.timeout(LONG_S):
        answer = asyncio.create_task(loop.sock_sendall(sides.peer, back))
        memory = asyncio.create_task(received(sides.peer))
        told = asyncio.create_task(received(sides.guest))
        await loop.sock_sendall(sides.guest, there)
        await answer
        sides.guest.shutdown(socket.SHUT_WR)
        assert await memory == there
        sides.peer.close()
        assert await told == back
    await ended(sides)


async def test_what_was_sent_arrives_though_the_sender_has_gone(sides: Sides) -> None:
    """Also when something is sent to it meanwhile: a socket that is closed answers that with a reset."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sides.guest, b"device state")
    sides.guest.close()
    done, _ = await asyncio.wait({sides.relay}, timeout=0.3)
    assert not done, "the connection was closed though the other side had not ended"
    await loop.sock_sendall(sides.peer, b"late")
    async with asyncio.timeout(LONG_S):
        assert await received(sides.peer) == b"device state"
    sides.peer.close()
    await ended(sides)


async def test_a_reader_that_pauses_gets_all(sides: Sides) -> None:
    """Nothing comes from it that could wake the relay instead."""
    loop = asyncio.get_running_loop()
    sending = asyncio.create_task(loop.sock_sendall(sides.guest, bytes(64 * BUFFER)))
    done, _ = await asyncio.wait({sending}, timeout=0.3)
    assert not done, "the kernel holds it all: nothing had to wait"
    count = 0
    async with asyncio.timeout(LONG_S):
        while count < 64 * BUFFER:
            count += len(await loop.sock_recv(sides.peer, 1 << 16))
        await sending


async def test_a_guest_hears_at_once_that_the_other_side_has_gone(sides: Sides) -> None:
    """QEMU does not read where it sends memory: a stream that is closed as a whole tells it."""
    sides.peer.close()
    await ended(sides)
    with pytest.raises(BrokenPipeError):
        sides.guest.send(b"memory")


async def test_a_side_that_never_closes_does_not_keep_it(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "LINGER_S", 0.1)
    sides.guest.close()
    await ended(sides)
    async with asyncio.timeout(LONG_S):
        assert await received(sides.peer) == b"", "the side that never closed does not hear of the end"


async def test_a_cut_ends_both(sides: Sides) -> None:
    """Also when it is stuck with what nobody takes."""
    loop = asyncio.get_running_loop()
    sending = asyncio.create_task(loop.sock_sendall(sides.guest, bytes(64 * BUFFER)))
    async with asyncio.timeout(LONG_S):
        assert await loop.sock_recv(sides.peer, 1) == b"\0"
        sides.relay.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sides.relay
        with pytest.raises(OSError, match="Broken pipe"):
            await sending
    assert (sides.near.fileno(), sides.far.fileno()) == (-1, -1)
