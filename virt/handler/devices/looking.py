"""Looks at the node again and again: what is asked for changes, and devices come and go without a word."""

import asyncio
from collections.abc import Awaitable, Callable

LOOK_S = 5.0


class Looking:
    """``look`` is called every :data:`LOOK_S` while ``is_wanted()``, and once whenever somebody says :meth:`again`."""

    def __init__(self, look: Callable[[], Awaitable[None]], is_wanted: Callable[[], bool]) -> None:
        self._look = look
        self._is_wanted = is_wanted
        self._again = asyncio.Event()

    def again(self) -> None:
        self._again.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._again.clear()
            await self._look()
            try:
                async with asyncio.timeout(LOOK_S if self._is_wanted() else None):
                    await self._again.wait()
            except TimeoutError:
                continue
