"""A sliding window that counts what was admitted: the one behind every limit, of callers and of provider accounts.

The window is 61 slots of a sixtieth of its length: the current one and the 60 before it are counted. So in any interval
of the window's length at most ``amount`` is admitted, and who keeps exactly to the limit is refused at most a
sixtieth of the time. Token buckets let twice the limit through in a window, two-bucket windows half as much again.
"""

from __future__ import annotations

import math
from typing import Final

SLOTS: Final = 61


class SlidingWindow:
    """At most ``amount`` in any ``span_s`` seconds. ``now`` is in monotonic seconds everywhere and never runs back."""

    __slots__ = ("_counts", "_current", "_slot_s", "_total", "amount")

    def __init__(self, amount: int, span_s: float) -> None:
        self.amount = amount
        self._slot_s = span_s / (SLOTS - 1)
        self._counts = [0] * SLOTS
        self._current = 0  # the number of the slot that is open, counted from the clock's zero
        self._total = 0

    def used(self, now: float) -> int:
        """What is counted at this moment."""
        self._advance(now)
        return self._total

    def wait_s(self, count: int, now: float) -> float:
        """Seconds until ``count`` more have room: 0 if they have it now, infinity if they never will."""
        self._advance(now)
        excess = self._total + count - self.amount
        if excess <= 0:
            return 0.0
        if count > self.amount:
            return math.inf
        for slot in range(self._current - SLOTS + 1, self._current + 1):
            excess -= self._counts[slot % SLOTS]
            if excess <= 0:
                return max(0.0, (slot + SLOTS) * self._slot_s - now)
        return math.inf  # corrections may have taken more out than was in

    def add(self, count: int, now: float) -> int:
        """Count ``count``, whether or not there is room; the slot is what a correction needs."""
        self._advance(now)
        self._counts[self._current % SLOTS] += count
        self._total += count
        return self._current

    def correct(self, slot: int, difference: int, now: float) -> None:
        """Add ``difference`` to what was counted in ``slot``; nothing if that slot is no longer counted."""
        self._advance(now)
        if self._current - SLOTS < slot <= self._current:
            self._counts[slot % SLOTS] += difference
            self._total += difference

    def _advance(self, now: float) -> None:
        slot = int(now / self._slot_s)
        if slot <= self._current:
            return
        if slot - self._current >= SLOTS:
            self._counts = [0] * SLOTS
            self._total = 0
        else:
            for passed in range(self._current + 1, slot + 1):
                self._total -= self._counts[passed % SLOTS]
                self._counts[passed % SLOTS] = 0
        self._current = slot
