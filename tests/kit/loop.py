"""An event loop that does not wait: when nothing can happen before the next timer, its clock jumps there.

With both sides of every connection on it, hours of silence pass at once, and a busy machine cannot make a timer
fire early: time stands still while there is work to do.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

# Bytes between two sockets of one process are there at once, but the kernel may take a moment when it is busy: the
# more there is to lose, the longer it is given.
_KERNELS_MOMENT_S: Final = 0.005
_SHORT_S: Final = 1.0


class _Selector(selectors.DefaultSelector):
    """Notes how long nothing would have happened."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        moment = _KERNELS_MOMENT_S if timeout > _SHORT_S else _KERNELS_MOMENT_S / 5
        events = super().select(min(timeout, moment))
        if not events:
            self.skipped += timeout
        return events


class SkippingLoop(asyncio.SelectorEventLoop):
    """The loop. Nothing on it may wait for a thread or for another process."""

    def __init__(self) -> None:
        self._skipping = _Selector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return 1000.0 + self._skipping.skipped


class LoopClock:
    """The gateway's clock, by the running loop."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(work: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, without the waiting."""
    loop = SkippingLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(_cancel_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
