"""A program on a pseudo-terminal."""

import sys
import time
from collections.abc import Callable
from itertools import chain, repeat

import pytest

from functests.libs.terminal import Terminal
from tests.waits import HANG_S

RAW = """
import sys, termios, tty
before = termios.tcgetattr(0)
tty.setraw(0)
print("banner", end="\\r\\n", flush=True)
while (key := sys.stdin.read(1)) != "\\x1d":
    print(repr(key), end="\\r\\n", flush=True)
termios.tcsetattr(0, termios.TCSADRAIN, before)
sys.exit(3)
"""


@pytest.mark.runs_processes
def test_keys_arrive_and_settings_come_back() -> None:
    with Terminal([sys.executable, "-c", RAW], {}) as terminal:
        terminal.wait_for("banner", within_s=HANG_S)
        assert terminal.settings() != terminal.before
        terminal.interrupt()
        terminal.wait_for(r"'\\x03'", within_s=HANG_S)
        terminal.type("\x1d")
        assert terminal.wait_end(within_s=HANG_S) == 3
        assert terminal.settings() == terminal.before


@pytest.mark.runs_processes
def test_an_early_end_is_told() -> None:
    with (
        Terminal([sys.executable, "-c", "print('gone')"], {}) as terminal,
        pytest.raises(AssertionError, match=r"ended with 0 before 'more': gone"),
    ):
        terminal.wait_for("more", within_s=HANG_S)


@pytest.mark.runs_processes
def test_what_came_while_nobody_looked_is_seen_however_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process stood still, and the deadline passed meanwhile."""
    with Terminal([sys.executable, "-c", RAW], {}) as terminal:
        terminal.wait_for("banner", within_s=HANG_S)
        terminal.type("x")
        terminal.wait_for("'x'", within_s=HANG_S)
        for look in (
            lambda: terminal.wait_for("banner", within_s=5),
            lambda: terminal.wait_raw(within_s=5),
        ):
            monkeypatch.setattr(time, "monotonic", standing_still())
            look()
        monkeypatch.setattr(time, "monotonic", standing_still())
        with pytest.raises(AssertionError, match="did not appear in 5 s"):
            terminal.wait_for("never", within_s=5)
        monkeypatch.undo()


def standing_still() -> Callable[[], float]:
    """Times of a clock that is far behind each deadline from the second look on."""
    return chain([0.0], repeat(1000.0)).__next__
