"""A clock that moves only when code sleeps, so waiting tests take no time."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Implements :class:`virt.base.clock.Clock`. A sleep gives others a turn, then moves the time."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self.passed_s = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return 1000.0 + self.passed_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.passed_s += seconds
        await asyncio.sleep(0)
