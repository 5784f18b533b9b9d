"""Notices when the event loop stands still, and where (contract R5).

A callback that is due every few milliseconds measures by how much it is late. A thread looks after that callback: while
it is overdue, the thread notes what the loop's thread is doing, because later that would be unknown.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from fwd_server.observe import log

EVERY_S: Final = 0.005
LIMIT_S: Final = 0.05
# A bounded deque: the gateway may run for months.
_KEPT: Final = 200_000  # lags for the summary: the last quarter of an hour
_FRAMES: Final = 6


class LoopLag:
    """Watches the running loop for as long as the block lasts; ``say`` gets a line for each stall over ``limit_s``."""

    def __init__(self, limit_s: float = LIMIT_S, say: Callable[[str], None] = log.app.warning) -> None:
        self.lags: deque[float] = deque(maxlen=_KEPT)
        self._limit_s = limit_s
        self._say = say
        self.seen: list[str] = []  # where it stood, each time the watcher looked while it was overdue
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch_loop, name="fwd-loop-lag", daemon=True)

    def __enter__(self) -> LoopLag:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._due = time.monotonic()
        self._measure_lag()
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._over.set()
        self._watcher.join()
        self._say(self.summary())

    def summary(self) -> str:
        """How late the loop was at worst, and at p99.9, in words."""
        ordered = sorted(self.lags)
        high = ordered[int(len(ordered) * 0.999)]
        over = sum(lag > self._limit_s for lag in ordered)
        worst, limit = ordered[-1] * 1000, self._limit_s * 1000
        return (
            f"Event loop: late by {worst:.1f} ms at most, p99.9 {high * 1000:.1f} ms, {over} times over {limit:g} ms."
        )

    def _measure_lag(self) -> None:
        now = time.monotonic()
        lag = max(0.0, now - self._due)
        self.lags.append(lag)
        if lag > self._limit_s:
            self._say(f"The event loop was blocked for {lag * 1000:.0f} ms: {most_seen(self.seen)}")
        self.seen = []
        self._due = now + EVERY_S
        self._timer = self._loop.call_later(EVERY_S, self._measure_lag)

    def _watch_loop(self) -> None:
        while not self._over.wait(self._limit_s / 2):
            if time.monotonic() - self._due > self._limit_s / 2:
                self.seen.append(current_calls(self._thread))


def most_seen(places: list[str]) -> str:
    """The place named most often. Takes a copy first: the watcher may still be adding to the list."""
    counted = Counter(places.copy()).most_common(1)
    return counted[0][0] if counted else "the place is unknown"


def current_calls(thread: int) -> str:
    """The innermost calls of a thread, innermost first. Names and lines only, never a value."""
    # The only way to see another thread's stack without a profiler.
    frame = sys._current_frames().get(thread)
    found = traceback.extract_stack(frame)[-_FRAMES:] if frame else []
    return " < ".join(
        f"{one.name} ({one.filename.rpartition('site-packages/')[2]}:{one.lineno})" for one in found[::-1]
    )
