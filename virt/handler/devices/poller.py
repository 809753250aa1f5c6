"""Looks at the node again and again: what is asked for changes, and devices come and go without notice."""

import asyncio
from collections.abc import Awaitable, Callable

EVERY_S = 5.0


class Poller:
    """``look`` is called every :data:`EVERY_S` while ``is_wanted()``, and once after each :meth:`poll_now`."""

    def __init__(self, look: Callable[[], Awaitable[None]], is_wanted: Callable[[], bool]) -> None:
        self._look = look
        self._is_wanted = is_wanted
        self._due = asyncio.Event()

    def poll_now(self) -> None:
        self._due.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._due.clear()
            await self._look()
            try:
                async with asyncio.timeout(EVERY_S if self._is_wanted() else None):
                    await self._due.wait()
            except TimeoutError:
                continue
