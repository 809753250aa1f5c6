"""Handler and launcher over a real socket pair."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.waits import HANG_S
from virt.rpc.errors import CallTimeout, ConnectionLost, RequestFailed
from virt.rpc.framing import Frame
from virt.rpc.messages import (
    Data,
    Destroy,
    Done,
    Event,
    GuestInfo,
    Hello,
    HostFacts,
    OpenSerial,
    Pause,
    Request,
    Shutdown,
    SyncVmi,
)
from virt.rpc.peer import Peer, Reply


async def serve(request: Request, fds: tuple[int, ...]) -> Reply:
    """A launcher of a few words."""
    match request:
        case SyncVmi():
            said = b"".join(os.read(fd, 100) for fd in fds)
            for fd in fds:
                os.close(fd)
            return Reply(Data(body=said))
        case OpenSerial():
            reading, writing = os.pipe()
            os.write(writing, b"login:")
            os.close(writing)
            return Reply(Done(), (reading,))
        case Pause():
            await asyncio.sleep(60)
        case Shutdown():
            raise RequestFailed("NotRunning", "no domain runs")
        case Destroy():
            raise ValueError("a fault of ours")
        case GuestInfo():
            return Reply(Data(body=b"x" * 3_000_000))
    return Reply(Done())


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Peer, Peer, list[Event]]]:
    """(handler, launcher, events that the handler heard)"""
    here, there = socket.socketpair()
    heard: list[Event] = []
    handler, launcher = Peer(here, on_event=heard.append), Peer(there, serve=serve)
    running = [asyncio.create_task(handler.run()), asyncio.create_task(launcher.run())]
    try:
        yield handler, launcher, heard
    finally:
        handler.close()
        launcher.close()
        await asyncio.wait_for(asyncio.gather(*running), HANG_S)


async def test_descriptors_travel_both_ways() -> None:
    async with connected() as (handler, _, _):
        pipes = [os.pipe() for _ in range(2)]
        for number, (_, writing) in enumerate(pipes):
            os.write(writing, b"%d" % number)
        given = [reading for reading, _ in pipes]
        request = SyncVmi(vmi=b"{}" * 100_000, interfaces=(), facts=HostFacts(kvm=False))
        answer, _ = await handler.call(request, given, deadline_s=HANG_S)
        assert answer == Data(body=b"01")

        answer, fds = await handler.call(OpenSerial(), deadline_s=HANG_S)
        assert answer == Done()
        assert os.read(fds[0], 100) == b"login:"
        for fd in [*fds, *(fd for pipe in pipes for fd in pipe)]:
            os.close(fd)                    # the caller's own, also those that were sent


async def test_large_answers_and_calls_in_flight_do_not_mix() -> None:
    async with connected() as (handler, _, _):
        replies = await asyncio.gather(
            *(handler.call(GuestInfo(), deadline_s=HANG_S) for _ in range(3)),
            *(handler.call(OpenSerial(), deadline_s=HANG_S) for _ in range(5)),
        )
        assert [len(reply.answer.body) for reply in replies[:3] if isinstance(reply.answer, Data)] == [3_000_000] * 3
        for reply in replies[3:]:
            assert os.read(reply.fds[0], 100) == b"login:"
            os.close(reply.fds[0])


async def test_a_refusal_and_a_fault_reach_the_caller() -> None:
    async with connected() as (handler, _, _):
        with pytest.raises(RequestFailed, match="no domain runs") as refused:
            await handler.call(Shutdown(), deadline_s=HANG_S)
        assert refused.value.code == "NotRunning"
        with pytest.raises(RequestFailed, match="a fault of ours") as failed:
            await handler.call(Destroy(), deadline_s=HANG_S)
        assert failed.value.code == "Internal"


async def test_a_call_ends_at_its_deadline_and_others_go_on() -> None:
    async with connected() as (handler, _, _):
        with pytest.raises(CallTimeout):
            await handler.call(Pause(), deadline_s=0.05)
        assert (await handler.call(GuestInfo(), deadline_s=HANG_S)).answer


async def test_events_arrive_in_order() -> None:
    async with connected() as (handler, launcher, heard):
        for pid in range(50):
            await launcher.tell(Hello(version=1, pid=pid))
        await handler.call(OpenSerial(), deadline_s=HANG_S)
        assert heard == [Hello(version=1, pid=pid) for pid in range(50)]


async def test_calls_fail_when_the_other_side_dies() -> None:
    async with connected() as (handler, launcher, _):
        call = asyncio.create_task(handler.call(Pause(), deadline_s=60))
        await asyncio.sleep(0.05)
        launcher.close()
        with pytest.raises(ConnectionLost):
            await asyncio.wait_for(call, HANG_S)
        with pytest.raises(ConnectionLost):
            await handler.call(Pause(), deadline_s=HANG_S)


@pytest.mark.parametrize(("said", "fault"), [
    (b"\x00\x00\x00\x05GET /", "not a message"),
    (b"\xff\xff\xff\xff", "at most"),
], ids=["noise", "absurd length"])
async def test_what_is_no_message_ends_the_connection(said: bytes, fault: str) -> None:
    here, there = socket.socketpair()
    peer = Peer(here)
    there.sendall(said)
    with pytest.raises(ConnectionLost, match=fault):
        await asyncio.wait_for(peer.run(), HANG_S)
    there.close()


HELLO = b"\x93\xce\0\0\0\0\xc2\x84\xa4type\xa5Hello\xa7version\x01\xa3pid\x01\xa1x"
HOSTILE = {
    "no UTF-8": b"\x93\xce\0\0\0\0\xc2\x82\xa4type\xa2\xff\xff",
    "endless nesting": HELLO + b"\x91" * 100_000 + b"\xc0",
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_what_only_python_cannot_read_is_no_message_either(what: str) -> None:
    here, there = socket.socketpair()
    peer = Peer(here, on_event=lambda _event: None)
    reading, writing = os.pipe()
    socket.send_fds(there, [len(HOSTILE[what]).to_bytes(4, "big")], [reading])
    there.sendall(HOSTILE[what])
    with pytest.raises(ConnectionLost, match="not a message"):
        await peer.run()
    there.close()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")             # the descriptor that came along is closed
    os.close(writing)


async def test_a_flood_of_descriptors_ends_the_connection() -> None:
    here, there = socket.socketpair()
    peer = Peer(here, on_event=lambda _event: None)
    running = asyncio.create_task(peer.run())
    there.sendall((1000).to_bytes(4, "big"))
    null = os.open(os.devnull, os.O_RDONLY)
    mine = Path("/proc/self/fd")
    before = len(list(mine.iterdir()))
    for _ in range(10):
        with contextlib.suppress(OSError):      # it hangs up
            socket.send_fds(there, [b"x"], [null] * 50)
        await asyncio.sleep(0.01)
    with pytest.raises(ConnectionLost, match="descriptors"):
        await running
    assert len(list(mine.iterdir())) < before   # its own socket is closed, and nothing else is left
    os.close(null)
    there.close()


async def test_descriptors_are_closed_of_a_request_that_is_never_begun() -> None:
    """Behind it comes noise: the connection ends before the request's task has run for the first time."""
    here, there = socket.socketpair()
    served: list[Request] = []

    async def never(request: Request, _fds: tuple[int, ...]) -> Reply:
        served.append(request)
        return Reply(Done())

    peer = Peer(here, serve=never)
    reading, writing = os.pipe()
    with there:
        body = msgspec.msgpack.encode(Frame(1, False, OpenSerial()))
        socket.send_fds(there, [len(body).to_bytes(4, "big") + body], [reading])
        there.sendall(b"\xff\xff\xff\xff")
        os.close(reading)
        with pytest.raises(ConnectionLost, match="at most"):
            await peer.run()
        await peer.settle(deadline_s=HANG_S)
    assert served == []
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")
    os.close(writing)


async def test_descriptors_are_closed_of_a_message_that_never_ends() -> None:
    here, there = socket.socketpair()
    reading, writing = os.pipe()
    with there:
        socket.send_fds(there, [(1000).to_bytes(4, "big")], [reading])
        os.close(reading)
        running = asyncio.create_task(Peer(here).run())
        await asyncio.sleep(0)              # it has read the head, and waits for the rest
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")
    os.close(writing)


async def test_descriptors_are_closed_that_come_as_the_caller_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is taken, and before the caller runs again it is cancelled: the serial port has one client only."""
    async with connected() as (handler, _, _):
        taken: list[int] = []
        take = handler._take

        def take_and_cancel(frame: Any, fds: tuple[int, ...]) -> None:
            take(frame, fds)
            taken.extend(fds)
            call.cancel()

        monkeypatch.setattr(handler, "_take", take_and_cancel)
        call = asyncio.create_task(handler.call(OpenSerial(), deadline_s=HANG_S))
        with pytest.raises(asyncio.CancelledError):
            await call
        (fd,) = taken
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
