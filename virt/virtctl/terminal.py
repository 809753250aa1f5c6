"""The person's terminal during a console: raw, and as it was before in any case."""

import asyncio
import contextlib
import os
import termios
import threading
import tty
from collections.abc import Iterator

READ: int = 1024


@contextlib.contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """Every key goes to the guest, Ctrl-C too. Nothing happens to what is no terminal."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor, termios.TCSADRAIN)       # what was typed early is for the guest too
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class Keys:
    """What is typed, or comes through a pipe or from a file. Read by a thread, because a file cannot be waited for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(maxsize=64)
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, name="keys", daemon=True).start()

    async def next(self) -> bytes:
        """b"" at the end, and only once."""
        return await self._queue.get()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._descriptor, READ)
            except OSError:
                data = b""
            put = self._queue.put(data)
            try:
                asyncio.run_coroutine_threadsafe(put, self._loop).result()
            except (asyncio.CancelledError, TimeoutError):
                return
            except RuntimeError:                # the loop has ended
                put.close()
                return
            if not data:
                return


def write(descriptor: int, data: bytes) -> None:
    """All of it, however little the descriptor takes at once."""
    while data:
        data = data[os.write(descriptor, data):]
