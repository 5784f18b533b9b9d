"""Sliding windows and gauges: what the limits of a key are counted with.

A window is 61 slots of a sixtieth each; the current one and the 60 before it are counted. So in *any* interval of the
window's length at most the limit is admitted, and a caller who paces himself exactly at the limit is refused at most
1.7 % of the time. Token buckets let twice the limit through in a window, two-bucket windows half as much again.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

SLOTS: Final = 61


@define
class Window:
    """Counts what came in the last ``seconds``. Told the monotonic time, which it only ever moves forward."""

    seconds: float
    total: int = field(default=0, init=False)
    _slot_s: float = field(init=False)
    # Before any time, so that the first use clears the window like a long pause does.
    _head: int = field(default=-(1 << 62), init=False)
    _slots: list[int] = field(factory=lambda: [0] * SLOTS, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._slot_s = self.seconds / (SLOTS - 1)

    def count_at(self, now: float) -> int:
        """The amount counted at a moment."""
        head = int(now / self._slot_s)
        if head > self._head:
            self._move_to(head)
        return self.total

    def _move_to(self, head: int) -> None:
        passed = head - self._head
        # After a long pause every slot is old: one new list instead of sixty-one steps.
        if passed >= SLOTS:
            self._slots, self.total = [0] * SLOTS, 0
        else:
            for slot in range(self._head + 1, head + 1):
                self.total -= self._slots[slot % SLOTS]
                self._slots[slot % SLOTS] = 0
        self._head = head

    def add(self, now: float, amount: int) -> int:
        """Count ``amount`` now; the slot, for a later correction."""
        self.count_at(now)
        self._slots[self._head % SLOTS] += amount
        self.total += amount
        return self._head

    def correct(self, slot: int, difference: int) -> None:
        """Replace an estimate by the true figure, in the slot of admission; nothing once that slot has left."""
        if self._head - slot < SLOTS:
            index = slot % SLOTS
            # A slot below zero would let more through later than the limit allows.
            difference = max(difference, -self._slots[index])
            self._slots[index] += difference
            self.total += difference

    def put_past(self, now: float, age_s: float, amount: int) -> None:
        """Count what came before a restart."""
        self.count_at(now)
        slot = self._head - int(age_s / self._slot_s)
        if self._head - slot < SLOTS:
            self._slots[slot % SLOTS] += amount
            self.total += amount

    def seconds_until_room(self, now: float, amount: int, limit: int) -> float | None:
        """Exactly how long until ``amount`` more fits under ``limit``; None when it never will."""
        excess = self.count_at(now) + amount - limit
        if excess <= 0:
            return 0.0
        for slot in range(self._head - SLOTS + 1, self._head + 1):
            excess -= self._slots[slot % SLOTS]
            if excess <= 0:
                return max((slot + SLOTS) * self._slot_s - now, 0.0)
        return None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is counted: an idle subject's window can be forgotten."""
        return self.total == 0


@define
class Gauge:
    """Counts calls that run now."""

    running: int = 0
