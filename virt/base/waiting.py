"""Waiting for a condition: one deadline, an early end where success is impossible, and the history in the error.

``wait_for`` blocks and serves people's programs and tests; ``wait_for_async`` serves daemons. Both mean the same.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from virt.base.errors import VirtError

T = TypeVar("T")

KEPT_STATES = 12
STATE_CHARS = 400


class WaitTimeout(VirtError):
    """The deadline passed. ``history`` holds what was seen: (seconds since the start, state), changes only."""

    reference = "wait-timeout"
    hint = "the last state above is what it stayed at; look for the component that should have changed it"

    def __init__(self, message: str, history: tuple[tuple[float, str], ...]) -> None:
        super().__init__(message)
        self.history = history


class WaitStopped(VirtError):
    """A state was seen from which the awaited one cannot be reached. ``history`` as in :class:`WaitTimeout`."""

    reference = "wait-stopped"
    hint = "the last state above is final; waiting longer would not have helped"

    def __init__(self, message: str, history: tuple[tuple[float, str], ...]) -> None:
        super().__init__(message)
        self.history = history


@dataclass
class _Watch(Generic[T]):
    """The decisions of a wait, apart from sleeping: look at each observed state in turn."""

    what: str
    ready: Callable[[T], Any]
    stop: Callable[[T], Any] | None
    deadline_s: float
    shown: Callable[[T], str] = repr
    started: float = field(default_factory=time.monotonic)
    history: list[tuple[float, str]] = field(default_factory=list)
    looks: int = 0

    def is_over(self, state: T) -> bool:
        """True when ready; raises when it can no longer be, or when the time is up."""
        passed = time.monotonic() - self.started
        self.looks += 1
        text = self.shown(state)[:STATE_CHARS]
        if not self.history or self.history[-1][1] != text:
            self.history.append((passed, text))
            del self.history[1:-KEPT_STATES]
        if self.ready(state):
            return True
        if self.stop is not None and self.stop(state):
            raise WaitStopped(self._said(f"cannot succeed any more, after {passed:.1f} s"), tuple(self.history))
        if passed >= self.deadline_s:
            raise WaitTimeout(
                self._said(f"gave up after {passed:.1f} s and {self.looks} looks"), tuple(self.history)
            )
        return False

    def pause_s(self, every_s: float) -> float:
        """One last look is always taken at the deadline itself."""
        return max(0.0, min(every_s, self.deadline_s - (time.monotonic() - self.started)))

    def _said(self, how: str) -> str:
        lines = [f"waiting for {self.what or 'a condition'}: {how}; seen:"]
        lines += [f"  {at:7.2f} s  {state}" for at, state in self.history]
        return "\n".join(lines)


def wait_for(
    observe: Callable[[], T],
    ready: Callable[[T], Any],
    *,
    stop: Callable[[T], Any] | None = None,
    deadline_s: float,
    every_s: float = 0.25,
    what: str = "",
    shown: Callable[[T], str] = repr,
) -> T:
    """Observe every ``every_s`` seconds until ``ready(state)`` is true, and return that state.

    ``stop(state)`` true means that ``ready`` can never come true: raises :class:`WaitStopped` at once. After
    ``deadline_s`` raises :class:`WaitTimeout`. Both carry the states seen, as ``shown`` says them. Errors of
    ``observe`` pass through; an observer that may fail while things settle returns None or the error as its state.

    >>> counts = iter(range(10))
    >>> wait_for(lambda: next(counts), lambda count: count == 3, deadline_s=5, every_s=0)
    3
    """
    watch = _Watch(what, ready, stop, deadline_s, shown)
    while not watch.is_over(state := observe()):
        time.sleep(watch.pause_s(every_s))
    return state


async def wait_for_async(
    observe: Callable[[], Awaitable[T]],
    ready: Callable[[T], Any],
    *,
    stop: Callable[[T], Any] | None = None,
    deadline_s: float,
    every_s: float = 0.25,
    what: str = "",
) -> T:
    """:func:`wait_for` for coroutines. ``observe`` itself is cut off at the deadline too."""
    watch = _Watch(what, ready, stop, deadline_s)
    while True:
        left = deadline_s - (time.monotonic() - watch.started)
        try:
            async with asyncio.timeout(max(left, 0.05)) as limit:
                state = await observe()
        except TimeoutError:
            if not limit.expired():
                raise
            raise WaitTimeout(
                f"waiting for {what or 'a condition'}: observing it took until the deadline of {deadline_s} s",
                tuple(watch.history),
            ) from None
        if watch.is_over(state):
            return state
        await asyncio.sleep(watch.pause_s(every_s))
