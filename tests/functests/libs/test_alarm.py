"""A test's alarm waits while the block runs that it must not strike, and no longer."""

import signal
import time
from collections.abc import Iterator

import pytest

from functests.libs import alarm


@pytest.fixture
def rung() -> Iterator[list[int]]:
    """What has rung; pytest-timeout's own alarm of this test is put back behind it."""
    struck: list[int] = []
    with alarm.held():
        before = signal.signal(signal.SIGALRM, lambda number, _: struck.append(number))
        yield struck
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _pass(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_an_alarm_that_is_held_rings_behind_the_block(rung: list[int]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with alarm.held():
        _pass(0.15)
        assert rung == []
    _pass(0.15)
    assert rung == [signal.SIGALRM]


def test_where_none_is_set_none_rings(rung: list[int]) -> None:
    with alarm.held():
        pass
    _pass(0.05)
    assert rung == []
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
