"""An event loop that does not wait: when nothing can happen before the next timer, its clock jumps there.

With both sides of every connection on it, hours of silence pass at once, and a busy machine cannot make a timer
fire early: time stands still while there is work to do.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

# Bytes between two sockets of one process are there at once, but the kernel may take a moment when it is busy: it is
# given one before every leap, however small the steps of the leap are.
_KERNELS_MOMENT_S: Final = 0.002
_LEAP_S: Final = 5.0


class _Probe:
    """A connection to ourselves. The kernel delivers in order, so what comes through it is behind all that was sent."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._near = socket.create_connection(listener.getsockname())
            self._far, _ = listener.accept()
        self._near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wait(self) -> None:
        """Return once the kernel has delivered what was under way."""
        self._near.send(b".")
        self._far.recv(1)

    def close(self) -> None:
        self._near.close()
        self._far.close()


class _Selector(selectors.DefaultSelector):
    """Notes how long nothing would have happened."""

    skipped = 0.0
    _rested = 0.0  # where the last moment was given, or something happened

    def __init__(self) -> None:
        super().__init__()
        self._probe = _Probe()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        self._probe.wait()
        events = super().select(self._moment(timeout))
        if not events:
            self._probe.wait()  # again: we may have woken up on another processor
            events = super().select(0)
        if events:
            self._rested = self.skipped
        else:
            self.skipped += timeout
        return events

    def _moment(self, timeout: float) -> float:
        if self.skipped + timeout - self._rested < _LEAP_S:
            return 0
        self._rested = self.skipped + timeout
        return min(timeout, _KERNELS_MOMENT_S)

    def close(self) -> None:
        self._probe.close()
        super().close()


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
