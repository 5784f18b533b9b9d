"""The only room that knows the time."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time for everything that measures or waits; tests hand in one of their own."""

    def now(self) -> float:
        """Seconds since the epoch, for what people read. It may jump (contract D10)."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, for every timer."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    # The functions themselves: one call less for something that is read several times in every call.
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait without holding anything up."""
        await asyncio.sleep(seconds)
