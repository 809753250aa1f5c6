"""The alarm of a test's limit of time (pytest-timeout's: SIGALRM, whose handler raises in whatever runs just then)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held() -> Iterator[None]:
    """The clock stands still inside the block; what was left of it is left behind it. For code that is not the test's:
    there the alarm would end pytest itself, and with it the run."""
    left_s, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        if left_s:
            signal.setitimer(signal.ITIMER_REAL, left_s)
