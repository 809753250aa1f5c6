"""How long unit tests wait: a machine may stand still for seconds, so only what hangs may reach a limit."""

import asyncio
from collections.abc import Callable

HANG_S = 60.0           # half of pytest's own limit, so that the test itself says what hangs


async def until(true: Callable[[], object], within_s: float = HANG_S) -> None:
    """Until ``true()`` is; raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.005)
