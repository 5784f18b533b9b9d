"""One loop timer for thousands of timeouts.

Nearly every timeout of a gateway is cancelled long before it is due: a call has half a dozen of them (first byte, idle,
deadline, heartbeat) and ends within a second. A loop timer each costs more than the rest of the bookkeeping of an
exchange; here, to schedule one is to put it into a dict, and to cancel it is to take it out again (Varghese and Lauck,
"Hashed and hierarchical timing wheels", 1987).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

STEP_S: Final = 0.01
_BLOCK: Final = 256  # steps; timers of a later block are sorted into their steps only when their block begins
_ATTRIBUTE: Final = "_fwd_timer_wheel"
_due = attrgetter("due")

_Slot = dict["WheelTimer", None]  # a set that keeps its order


class WheelTimer:
    """A scheduled callback. ``due`` is in the time of the loop."""

    __slots__ = ("_arguments", "_callback", "_slot", "due")

    def __init__(self, due: float, callback: Callable[..., object], arguments: tuple[Any, ...], slot: _Slot) -> None:
        self.due = due
        self._callback = callback
        self._arguments = arguments
        self._slot = slot
        slot[self] = None

    def cancel(self) -> None:
        """Do not call back; does nothing once the callback was called or cancelled."""
        self._slot.pop(self, None)

    def move_to(self, slot: _Slot) -> None:
        """Wait in another slot."""
        self._slot = slot
        slot[self] = None

    def run(self) -> None:
        """Call back."""
        self._callback(*self._arguments)


class TimerWheel:
    """Timers of one event loop: never early by the loop's clock, and at most two steps (20 ms) late.

    Scheduling and cancelling take constant time. No loop timer runs while the wheel is empty, except that the one set
    before the last timer was cancelled may still run out (within a block, 2.56 s): to stop it and set it again for
    each call would cost what the wheel saves.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._now = loop.time  # bound once: a call asks several times
        self._near: dict[int, _Slot] = {}  # by step, those of the current block
        self._far: dict[int, _Slot] = {}  # by block
        self._wakes_at: float = math.inf  # the step at which the loop calls
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many timers wait."""
        return sum(map(len, self._near.values())) + sum(map(len, self._far.values()))

    @property
    def armed(self) -> bool:
        """Whether a loop timer is running."""
        return self._handle is not None

    def call_later(self, seconds: float, callback: Callable[..., object], *arguments: Any) -> WheelTimer:
        """Call ``callback(*arguments)`` once, after ``seconds`` seconds.

        Timers that are due in the same step are called in the order of their times. An exception goes to the loop's
        exception handler, as that of any callback.
        """
        now = self._now()
        due = now + seconds
        step = int(due / STEP_S) + 1
        block = step // _BLOCK
        this_block = int(now / STEP_S) // _BLOCK
        slots, key = (self._near, step) if block <= this_block else (self._far, block)
        slot = slots.get(key)
        if slot is None:
            slot = slots[key] = {}
        if step < self._wakes_at:
            self._arm(min(step, (this_block + 1) * _BLOCK), now)
        return WheelTimer(due, callback, arguments, slot)

    def _arm(self, step: int, now: float) -> None:
        if step >= self._wakes_at:
            return  # it wakes for the next block anyway
        if self._handle is not None:
            self._handle.cancel()
        self._wakes_at = step
        # uvloop rounds to milliseconds: without one more it would often wake just before the step, and again after it.
        self._handle = self._loop.call_later(step * STEP_S - now + 0.001, self._wake)

    def _wake(self) -> None:
        """Run what is due, then have the loop call again at the next step that holds something, or the next block."""
        self._handle, self._wakes_at = None, math.inf
        step = int(self._now() / STEP_S)
        self._sort_far(step // _BLOCK)
        for key in sorted(key for key in self._near if key <= step):
            self._run_slot(self._near.pop(key))
        # Cancelled timers leave empty slots behind; they are dropped here, once for all of them.
        self._near = {key: slot for key, slot in self._near.items() if slot}
        self._far = {key: slot for key, slot in self._far.items() if slot}
        if self._near or self._far:
            upcoming = min(self._near, default=math.inf)
            self._arm(int(min(upcoming, (step // _BLOCK + 1) * _BLOCK)), self._now())

    def _sort_far(self, this_block: int) -> None:
        """Give the timers of the blocks that have begun the slots of their steps."""
        for block in [block for block in self._far if block <= this_block]:
            for timer in self._far.pop(block):
                timer.move_to(self._near.setdefault(int(timer.due / STEP_S) + 1, {}))

    def _run_slot(self, slot: _Slot) -> None:
        """Call every timer of a slot. A callback may cancel those after it."""
        for timer in sorted(slot, key=_due):
            # A callback before it has cancelled it.
            if timer not in slot:
                continue
            timer.cancel()
            try:
                timer.run()
            except Exception as error:  # noqa: BLE001 (one bug must not stop every other timer of the loop)
                self._loop.call_exception_handler({"message": f"Exception in timer {timer}", "exception": error})


def wheel_of(loop: asyncio.AbstractEventLoop) -> TimerWheel:
    """The wheel of a loop, made when it is first asked for. It lives as long as the loop."""
    wheel: TimerWheel | None = getattr(loop, _ATTRIBUTE, None)
    if wheel is None:
        wheel = TimerWheel(loop)
        setattr(loop, _ATTRIBUTE, wheel)
    return wheel
