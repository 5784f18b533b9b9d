"""A time limit around a piece of a task; ``asyncio.timeout`` is not there on Python 3.10."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import Any

from fwd_server.timer_wheel import wheel_of
from fwd_server.values.errors import upstream_failure


class Deadline:
    """Ends the block after ``seconds`` with the UpstreamError that ``code`` stands for (contract 3c).

    A cancellation from outside that comes at the same moment wins on Python 3.11 and newer.
    """

    __slots__ = ("_code", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float, code: str) -> None:
        self._seconds = seconds
        self._code = code
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task")
        self._task: asyncio.Task[Any] = task
        self._timer = wheel_of(task.get_loop()).call_later(self._seconds, self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if not self._expired:
            return
        if kind is asyncio.CancelledError and not self._uncancel():
            raise upstream_failure(self._code) from None

    def _uncancel(self) -> int:
        """Take our own cancellation back; says how many from others remain."""
        if sys.version_info >= (3, 11):
            return self._task.uncancel()
        return 0

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
