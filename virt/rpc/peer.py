"""One end of the connection between handler and launcher: requests, their answers, and events.

    peer = Peer(sock, serve=serve)                 # the launcher answers requests
    peer = Peer(sock, on_event=take)               # the handler asks, and hears events
    reply = await peer.call(Shutdown(), deadline_s=5)

Many requests may be in flight; each is served in a task of its own and answered when it is done.
"""

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from virt.base import log
from virt.rpc.errors import CallTimeout, ConnectionLost, RequestFailed
from virt.rpc.framing import Frame, FrameSocket, close_all, credentials
from virt.rpc.messages import Data, DomainStatus, Done, Event, Failed, Request

_logger = log.get("virt.rpc.peer")


class Reply(NamedTuple):
    """What a request led to. ``fds`` of a received reply belong to the caller; those of a served one are closed here
    after they were sent."""

    answer: DomainStatus | Done | Data
    fds: tuple[int, ...] = ()


Serve = Callable[[Request, tuple[int, ...]], Awaitable[Reply]]


class Peer:
    """``serve`` owns the descriptors of a request; it raises RequestFailed to refuse. ``on_event`` must not block.

    ``pid``, ``uid``: the process that connected, from the kernel.
    """

    def __init__(
        self, sock: socket.socket, *, serve: Serve | None = None, on_event: Callable[[Event], None] | None = None
    ) -> None:
        self.pid, self.uid, _ = credentials(sock)
        self._frames = FrameSocket(sock)
        self._serve = serve
        self._on_event = on_event
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[tuple[DomainStatus | Done | Data | Failed, tuple[int, ...]]]] = {}
        self._served: set[asyncio.Task[None]] = set()
        self._running = False
        self._lost = False

    async def run(self) -> None:
        """Read until the other side closes. Raises ConnectionLost when the connection breaks in another way.

        Whatever the end, calls in flight fail with ConnectionLost, requests being served are cancelled, and the
        socket is closed.
        """
        self._running = True
        try:
            while (received := await self._frames.receive()) is not None:
                self._take(*received)
        except ConnectionLost:
            if not self._lost:              # else it was close() that ended it
                raise
        finally:
            self._running = False
            self.close()

    async def call(self, request: Request, fds: Sequence[int] = (), *, deadline_s: float) -> Reply:
        """Send ``request`` and wait for its answer; :meth:`run` must be running.

        Raises RequestFailed, CallTimeout or ConnectionLost. ``fds`` stay the caller's.
        """
        if self._lost:
            raise ConnectionLost("the connection is closed")
        number = next(self._numbers)
        future: asyncio.Future[tuple[DomainStatus | Done | Data | Failed, tuple[int, ...]]]
        future = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        is_heard = False
        try:
            async with asyncio.timeout(deadline_s):
                await self._frames.send(Frame(number, False, request), fds)
                answer, received = await future
                is_heard = True
        except TimeoutError:
            raise CallTimeout(f"no answer to {type(request).__name__} within {deadline_s:g} s") from None
        finally:
            self._calls.pop(number, None)
            # A caller may be cancelled when the answer is there and it has not run since: what came is nobody's then.
            if not is_heard and future.done() and not future.cancelled() and future.exception() is None:
                close_all(future.result()[1])
        if isinstance(answer, Failed):
            close_all(received)
            raise RequestFailed(answer.code, answer.message)
        return Reply(answer, received)

    async def tell(self, event: Event) -> None:
        """Send an event. Raises ConnectionLost."""
        await self._frames.send(Frame(0, False, event))

    async def settle(self, *, deadline_s: float) -> None:
        """Wait until what is being served has been answered: before a clean :meth:`close`."""
        if self._served:
            await asyncio.wait(tuple(self._served), timeout=deadline_s)

    def close(self) -> None:
        """End the connection: :meth:`run` returns, calls in flight fail."""
        if not self._lost:
            self._lost = True
            for task in tuple(self._served):
                task.cancel()
            for future in self._calls.values():
                if not future.done():
                    future.set_exception(ConnectionLost("the other side went away"))
            self._frames.hang_up()
        if not self._running:               # run() closes the socket after it noticed
            self._frames.close()

    def _take(self, frame: Frame, fds: tuple[int, ...]) -> None:
        if frame.answers:
            future = self._calls.pop(frame.number, None)
            if future is None or future.done() or not isinstance(frame.body, DomainStatus | Done | Data | Failed):
                close_all(fds)          # the caller gave up
            else:
                future.set_result((frame.body, fds))
        elif isinstance(frame.body, Request) and self._serve is not None:
            unserved = list(fds)
            task = asyncio.create_task(self._answer(frame.number, frame.body, unserved, self._serve))
            self._served.add(task)
            task.add_done_callback(self._served.discard)
            # A task that is cancelled before its first step never runs at all: then nobody took the descriptors.
            task.add_done_callback(lambda _: close_all(unserved))
        elif isinstance(frame.body, Event) and self._on_event is not None:
            close_all(fds)
            self._on_event(frame.body)
        else:
            close_all(fds)
            raise ConnectionLost(f"{type(frame.body).__name__} is not for this side")

    async def _answer(self, number: int, request: Request, unserved: list[int], serve: Serve) -> None:
        answer: DomainStatus | Done | Data | Failed
        given: tuple[int, ...] = ()
        fds = tuple(unserved)
        unserved.clear()                    # from here on they are serve's
        try:
            answer, given = await serve(request, fds)
        except RequestFailed as refused:
            answer = Failed(code=refused.code, message=refused.message)
        except Exception as error:  # the other side must hear of it, whatever it is
            _logger.exception("request failed", request=type(request).__name__)
            answer = Failed(code="Internal", message=f"{type(error).__name__}: {error}")
        try:
            await self._frames.send(Frame(number, True, answer), given)
        except ConnectionLost as lost:
            _logger.info("answer not sent", request=type(request).__name__, error=str(lost))
        finally:
            close_all(given)
