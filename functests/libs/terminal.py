"""A program on a pseudo-terminal, as under a person's hands.

The one door for processes gives no controlling terminal, and a program's way with its terminal is the subject here, so
this module forks by itself; nothing else does.
"""

import fcntl
import os
import pty
import re
import select
import signal
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Any


class Terminal:
    """Context manager around one program. Everything it prints is in ``output``."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.output = b""
        self._status: int | None = None
        variables = {**os.environ, **env}
        # The second end stays open here: a terminal that everybody has left can no longer be asked for its settings.
        self._hand, self._seat = pty.openpty()
        self.before = self.settings()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _login(self._seat)
                os.execvpe(argv[0], list(argv), variables)
            finally:
                os._exit(127)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is None and self._ended() is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._hand)
        os.close(self._seat)

    def settings(self) -> list[Any]:
        """The terminal's settings, to be compared."""
        return termios.tcgetattr(self._seat)

    def type(self, text: str) -> None:
        os.write(self._hand, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C as a key: a signal in cooked mode, a byte in raw mode."""
        self.type("\x03")

    def wait_for(self, pattern: str, *, within_s: float, since: int = 0) -> re.Match[bytes]:
        deadline = time.monotonic() + within_s
        while True:
            # Asked before the last look: this process may stand still as long as the program.
            late, ended = time.monotonic() > deadline, self._ended() is not None
            more = self._read(0 if late else 0.2)
            found = re.search(pattern.encode(), self.output[since:])
            if found:
                return found
            if not more and ended:
                raise AssertionError(f"the program ended with {self._status} before {pattern!r}: {self._tail()}")
            if late:
                raise AssertionError(f"{pattern!r} did not appear in {within_s:.0f} s: {self._tail()}")

    def wait_raw(self, *, within_s: float) -> None:
        """Until the program has changed the terminal's settings: what is typed before that may be thrown away."""
        deadline = time.monotonic() + within_s
        while True:
            late = time.monotonic() > deadline
            if self.settings() != self.before:
                return
            if late:
                raise AssertionError(f"the terminal's settings are still the old ones: {self._tail()}")
            self._read(0.05)

    def wait_end(self, *, within_s: float) -> int:
        """Its exit status."""
        deadline = time.monotonic() + within_s
        while True:
            late = time.monotonic() > deadline
            if self._ended() is not None:
                break
            if late:
                raise AssertionError(f"the program still runs after {within_s:.0f} s: {self._tail()}")
            self._read(0.1)
        while self._read(0.1):
            pass
        assert self._status is not None
        return self._status

    def _ended(self) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def _read(self, wait_s: float) -> bool:
        if not select.select([self._hand], [], [], wait_s)[0]:
            return False
        self.output += os.read(self._hand, 65536)
        return True

    def _tail(self) -> str:
        return self.output[-2000:].decode(errors="replace")


def _login(seat: int) -> None:
    """A session of its own with ``seat`` as its terminal and standard streams."""
    os.setsid()
    fcntl.ioctl(seat, termios.TIOCSCTTY, 0)
    for number in range(3):
        os.dup2(seat, number)
    if seat > 2:
        os.close(seat)
