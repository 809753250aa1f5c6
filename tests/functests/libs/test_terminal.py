"""A program on a pseudo-terminal."""

import sys

import pytest

from functests.libs.terminal import Terminal

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
        terminal.wait_for("banner", within_s=10)
        assert terminal.settings() != terminal.before
        terminal.interrupt()
        terminal.wait_for(r"'\\x03'", within_s=10)
        terminal.type("\x1d")
        assert terminal.wait_end(within_s=10) == 3
        assert terminal.settings() == terminal.before


@pytest.mark.runs_processes
def test_an_early_end_is_told() -> None:
    with (
        Terminal([sys.executable, "-c", "print('gone')"], {}) as terminal,
        pytest.raises(AssertionError, match=r"ended with 0 before 'more': gone"),
    ):
        terminal.wait_for("more", within_s=10)
