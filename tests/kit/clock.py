"""A clock that is told the time."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Stands still until moved; ``sleep`` moves it, and notes for how long."""

    def __init__(self, now: float = 1_795_305_600.0) -> None:
        self._now = now
        self._monotonic = 1000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def move(self, seconds: float) -> None:
        self._now += seconds
        self._monotonic += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.move(seconds)
        await asyncio.sleep(0)
