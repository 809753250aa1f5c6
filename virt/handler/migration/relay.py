"""Bytes between two sockets, both ways, until both have ended. Nothing that was read is lost at the end.

In a thread for each pair, not in the event loop: with asyncio's TLS a GiB costs three times the processor time, and
what is left of a guest at its switch-over would wait for everything else that a handler does.
"""

import asyncio
import contextlib
import select
import socket
import ssl
import threading
import time

BUFFER = 1 << 18
RECORD = 1 << 14                # the most that TLS gives at once
LINGER_S = 30.0                 # how long one way may last when the other has ended


async def join(near: socket.socket, far: socket.socket) -> None:
    """Owns both, which do not block; ``far`` may be of TLS. The end of one is passed on as the end of the other, after
    everything that came before it. When cancelled both are cut."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def work() -> None:
        try:
            carry(near, far)
        finally:
            with contextlib.suppress(RuntimeError):     # the loop has ended before
                loop.call_soon_threadsafe(over.set)

    threading.Thread(target=work, name="relay", daemon=True).start()
    try:
        await over.wait()
    finally:
        for each in (near, far):
            _shut(each, socket.SHUT_RDWR)
        while not over.is_set():    # else the thread would use numbers that may be somebody else's by then
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()
        near.close()
        far.close()


def carry(near: socket.socket, far: socket.socket) -> None:
    """Returns when both ways have ended.

    An end closes ``near`` as a whole: its owner has gone, or is to hear at once that the other has. Of ``far`` it
    closes one way, since TCP drops what is under way when a socket is closed before all that came was read.
    """
    ways = [_Way(near, far, socket.SHUT_WR), _Way(far, near, socket.SHUT_RDWR)]
    deadline_s: float | None = None
    while True:
        waits = [(way, wait) for way in ways if (wait := way.advance()) is not None]
        if len(waits) < 2 and deadline_s is None:
            deadline_s = time.monotonic() + LINGER_S
        ways = [way for way, _ in waits]
        if not ways or not _ready([wait for _, wait in waits], deadline_s):
            return


class _Way:
    """One direction. ``how``: which part of its sink is shut at the end."""

    def __init__(self, source: socket.socket, sink: socket.socket, how: int) -> None:
        self._source, self._sink, self._how = source, sink, how
        self._buffer = memoryview(bytearray(BUFFER))
        self._unsent = self._buffer[:0]
        self._has_ended = False

    def advance(self) -> tuple[socket.socket, int] | None:
        """As far as it goes without waiting: what has to be waited for, None when the end was passed on. A buffer at a
        time, so that the other way has its turn."""
        if not self._unsent and not self._has_ended:
            self._fill()
        try:
            while self._unsent:
                self._unsent = self._unsent[self._sink.send(self._unsent):]
        except ssl.SSLWantReadError:
            return self._sink, select.POLLIN
        except (ssl.SSLWantWriteError, BlockingIOError):
            return self._sink, select.POLLOUT
        except OSError:
            self._has_ended = True          # nobody takes it any more
        if not self._has_ended:
            return self._source, select.POLLIN
        _shut(self._sink, self._how)
        return None

    def _fill(self) -> None:
        """A read of TLS gives one record, which is little: they are gathered. None is read by halves: what OpenSSL has
        left of one wakes no poll."""
        count = 0
        try:
            while count <= BUFFER - RECORD and not self._has_ended:
                more = self._source.recv_into(self._buffer[count:])
                self._has_ended = not more
                count += more
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except OSError:
            self._has_ended = True
        self._unsent = self._buffer[:count]


def _ready(waits: list[tuple[socket.socket, int]], deadline_s: float | None) -> bool:
    """Wait for one of them, until the deadline."""
    events: dict[int, int] = {}
    for sock, event in waits:
        events[sock.fileno()] = events.get(sock.fileno(), 0) | event
    poll = select.poll()
    for number, event in events.items():
        poll.register(number, event)
    return bool(poll.poll(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()) * 1000))


def _shut(sock: socket.socket, how: int) -> None:
    """Not by the method of a TLS socket, which goes on in the clear after it."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, how)
