"""Probes of the kubelet that go to the guest's agent: a socket in the pod, dialled by the helper virt-probe.

Its words, each ended by a zero byte: the seconds that the guest has, then "ping", or "exec" and a command. The answer
is an exit status on a line and a text. Everything in the pod may dial: whoever is in there can ask libvirt anyway.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from virt.base import log
from virt.launcher.guest import Guest
from virt.launcher.libvirt_conn import HypervisorError, NoAgent
from virt.rpc.messages import DomainState, GuestAgentSilent

LONGEST_S = 300
MOST_BYTES = 64 << 10
READ_S = 5.0
_FAILED = 1
T = TypeVar("T")
_logger = log.get("virt.launcher.probes")


class Owner(Protocol):
    """``is_expecting``: a guest that runs elsewhere is on its way here."""

    @property
    def guest(self) -> Guest | None: ...

    @property
    def is_expecting(self) -> bool: ...


@dataclass(frozen=True)
class Question:
    """``argv`` is empty for a ping."""

    timeout_s: int
    argv: tuple[str, ...] = ()


def question(words: bytes) -> Question:
    """Raises ValueError for what virt-probe would not send.

    >>> question(b"3\\0exec\\0test\\0-f\\0")
    Question(timeout_s=3, argv=('test', '-f'))
    """
    seconds, kind, *argv = words.decode(errors="surrogateescape").split("\0")[:-1] or ("", "")
    if not seconds.isdecimal() or kind not in ("ping", "exec") or bool(argv) != (kind == "exec"):
        raise ValueError(f"{words[:80]!r} is no probe")
    return Question(min(max(int(seconds), 1), LONGEST_S), tuple(argv))


class Probes:
    """``owner`` has the guest, once there is one. A failed ping is told to the handler, the first of a row only."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._is_silent = False

    @contextlib.asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[None]:
        """Listens at ``path`` inside the block."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._met, path)
        try:
            yield
        finally:
            server.close()

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError):
            try:
                async with asyncio.timeout(READ_S):
                    words = await _all(reader)
                code, text = await self.answer(question(words))
            except (ValueError, TimeoutError) as error:
                code, text = 2, f"{error or 'the question did not end in time'}\n"
            writer.write(f"{code}\n{text}".encode(errors="replace"))
            await writer.drain()

    async def answer(self, asked: Question) -> tuple[int, str]:
        """Exit status and text for virt-probe."""
        guest = self._owner.guest
        if guest is None and self._owner.is_expecting:
            return 0, "the guest is on its way here\n"      # this pod must live until it comes
        if guest is None or guest.ended.is_set():
            return _FAILED, "the guest does not run\n"
        if not asked.argv:
            return await self._ping(guest, asked.timeout_s)
        try:
            done = await _answered(guest, asked.timeout_s, lambda: guest.agent.execute(asked.argv, asked.timeout_s))
        except HypervisorError as error:
            return _FAILED, f"{error}\n"
        return int(done["exitCode"]) & 255, f"{done['out']}{done['err']}"

    async def _ping(self, guest: Guest, timeout_s: int) -> tuple[int, str]:
        try:
            # A paused guest cannot answer, and nobody paused it in order to have it killed.
            if guest.status.state is not DomainState.PAUSED:
                await _answered(guest, timeout_s, lambda: guest.agent.ping(timeout_s))
        except HypervisorError as error:
            if not self._is_silent:
                self._is_silent = True
                _logger.warning("guest agent does not answer its probe", error=str(error))
                await guest.tell(GuestAgentSilent(seconds=timeout_s))
            return _FAILED, f"the guest agent did not answer within {timeout_s} s\n"
        self._is_silent = False
        return 0, ""


async def _answered(guest: Guest, timeout_s: int, ask: Callable[[], Awaitable[T]]) -> T:
    """An agent that is not connected has the probe's time to come: that of a guest which has just moved here comes a
    moment after it. Raises HypervisorError."""
    try:
        return await ask()
    except NoAgent:
        if guest.agent_came.is_set():
            raise
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(guest.agent_came.wait(), timeout_s)
        return await ask()


async def _all(reader: asyncio.StreamReader) -> bytes:
    words = b""
    while len(words) <= MOST_BYTES and (more := await reader.read(MOST_BYTES)):
        words += more
    return words
