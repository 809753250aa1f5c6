"""A queue of keys with the promises of client-go's work queue (util/workqueue/doc.go):

- a key added several times before it is taken is handed out once;
- a key is never handed to two workers at a time; added while it is being worked on, it is handed out again after
  ``done``;
- order of first addition is kept;
- ``add_rate_limited`` waits longer with each failure of that key until ``forget``;
- news of a key that fails does not wait for the whole pause, but for :data:`NEWS_S` of it: a reconciler that writes
  down why it failed makes such news itself, and would go round and round without a pause.
"""

import asyncio
from collections import deque

NEWS_S = 1.0


class WorkQueue:
    """For one event loop. ``base_s`` doubles per failure of a key up to ``max_s``."""

    def __init__(self, *, base_s: float = 0.05, max_s: float = 60.0) -> None:
        self._base_s = base_s
        self._max_s = max_s
        self._waiting: deque[str] = deque()
        self._dirty: set[str] = set()           # waiting, or to be queued again after done()
        self._processing: set[str] = set()
        self._failures: dict[str, int] = {}
        self._not_before: dict[str, float] = {}         # the loop's time until which news of a failing key waits
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wakers: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        """Keys that wait to be taken; delayed ones are not counted."""
        return len(self._waiting)

    def add(self, key: str) -> None:
        if key in self._dirty:
            return
        if key in self._processing:
            self._dirty.add(key)
        elif (pause_s := self._pause_s(key)) > 0:
            self.add_after(key, pause_s)
        else:
            self._dirty.add(key)
            self._waiting.append(key)
            self._wake()

    def add_after(self, key: str, delay_s: float) -> None:
        """Add after a delay. Of several delays for one key the shortest counts."""
        if delay_s <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + delay_s:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(delay_s, self._due, key)

    def add_rate_limited(self, key: str, *, waits_for_news: bool = False) -> float:
        """Add after the pause that this key's failures have earned; returns it in seconds.

        ``waits_for_news``: of a failure that news is to mend, so they end the pause at once.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._base_s * 2.0 ** min(failures, 32), self._max_s)
        if not waits_for_news:
            self._not_before[key] = asyncio.get_running_loop().time() + min(delay, NEWS_S)
        self.add_after(key, delay)
        return delay

    def failures(self, key: str) -> int:
        return self._failures.get(key, 0)

    def forget(self, key: str) -> None:
        self._failures.pop(key, None)
        self._not_before.pop(key, None)

    async def get(self) -> str:
        """The next key; call :meth:`done` with it afterwards."""
        while not self._waiting:
            waker = asyncio.get_running_loop().create_future()
            self._wakers.add(waker)
            try:
                await waker
            except asyncio.CancelledError:
                if self._waiting:
                    self._wake()                # it was woken and cancelled at once: pass the news on
                raise
            finally:
                self._wakers.discard(waker)
        key = self._waiting.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: str) -> None:
        self._processing.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def _pause_s(self, key: str) -> float:
        """How long news of the key has to wait."""
        due = self._not_before.get(key)
        return 0.0 if due is None else due - asyncio.get_running_loop().time()

    def _due(self, key: str) -> None:
        del self._timers[key]
        self.add(key)

    def _wake(self) -> None:
        for waker in self._wakers:
            if not waker.done():
                waker.set_result(None)
                return
