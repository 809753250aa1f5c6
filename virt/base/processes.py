"""What the two doors for processes share: ``virt.base.exec`` waits with asyncio, ``cluster_up.exec`` with threads."""

import contextlib
import os
import signal
from collections.abc import Sequence


class Kept:
    """The head and the tail of a stream, never more than ``most`` bytes; in between it says how much it left out."""

    def __init__(self, most: int) -> None:
        self._half = most // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def add(self, part: bytes) -> None:
        room = self._half - len(self._head)
        self._head += part[:room]
        self._tail += part[room:]
        surplus = len(self._tail) - self._half
        if surplus > 0:
            self._dropped += surplus
            del self._tail[:surplus]

    def text(self) -> str:
        gap = f"\n[{self._dropped} bytes left out]\n".encode() if self._dropped else b""
        return (bytes(self._head) + gap + bytes(self._tail)).decode(errors="replace")


def hidden(text: str, secrets: Sequence[str]) -> str:
    """``text`` with stars in place of every secret."""
    for secret in secrets:
        if secret:                      # the empty text is between all letters
            text = text.replace(secret, "***")
    return text


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send it to the process group that ``pid`` leads; nothing when that is gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)
