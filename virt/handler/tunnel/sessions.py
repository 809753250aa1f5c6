"""At most one console and one VNC session per VMI: serial port and RFB stream can serve one client each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

END_DEADLINE_S = 5.0


class SessionBusyError(Exception):
    """There is a session, and the new one was asked to leave it alone."""


class Sessions:
    """Sessions by key (VMI uid and kind)."""

    def __init__(self) -> None:
        self._tasks: dict[str, set[asyncio.Task[None]]] = {}

    async def run(self, key: str, session: Callable[[], Awaitable[None]], *, preserve: bool = False) -> bool:
        """Run ``session`` as the one of ``key``; those before it are cancelled and have ended when it begins.

        False when a later one took over. With ``preserve`` SessionBusyError is raised where there is one. Errors of
        ``session`` pass through.
        """
        before = frozenset(self._tasks.get(key, ()))
        if before and preserve:
            raise SessionBusyError(key)
        for other in before:
            other.cancel()
        task = asyncio.create_task(_after(before, session))
        self._tasks.setdefault(key, set()).add(task)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            self._tasks[key].discard(task)
            if not self._tasks[key]:
                del self._tasks[key]
        if task.cancelled():
            return False
        task.result()
        return True


async def _after(before: Iterable[asyncio.Task[None]], session: Callable[[], Awaitable[None]]) -> None:
    if before:
        await asyncio.wait(before, timeout=END_DEADLINE_S)
    await session()
