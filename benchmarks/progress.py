"""How far a benchmark that does the same thing many times has come, for who waits: lines on standard error."""

import sys
import time
from collections.abc import Callable, Iterator

from functests.verdict.summary import minutes

EVERY_S = 10.0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def each(
    what: str, count: int, *, clock: Callable[[], float] = time.monotonic,
    say: Callable[[str], None] = _say,
) -> Iterator[int]:
    """The numbers from 0 to ``count``, exclusive. A line at most every ten seconds, and one at the end."""
    began = said = clock()
    for number in range(count):
        now = clock()
        if number and now - said >= EVERY_S:
            said, passed = now, now - began
            left = passed / number * (count - number)
            say(f"{what}: {number} of {count} after {minutes(passed)}, about {minutes(left)} left")
        yield number
    say(f"{what}: {count} of {count} after {minutes(clock() - began)}")
