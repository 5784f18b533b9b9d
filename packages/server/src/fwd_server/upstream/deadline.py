"""A time limit around a piece of a task; ``asyncio.timeout`` is not there on Python 3.10."""

from __future__ import annotations

import asyncio
import math
import sys
from types import TracebackType
from typing import Any

from fwd_server.timer_wheel import wheel_of
from fwd_server.values.errors import upstream_failure


class Deadline:
    """Ends the block after ``seconds`` with the UpstreamError that ``code`` stands for (contract 3c).

    ``restart`` gives the seconds anew, as often as it is called, but never beyond ``bound_s`` from the beginning; when
    that is over, the failure is the one of ``bound_code``. A cancellation from outside that comes at the same moment
    wins on Python 3.11 and newer.
    """

    __slots__ = ("_bound", "_bound_code", "_code", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float, code: str, bound_s: float = math.inf, bound_code: str = "deadline") -> None:
        self._seconds = seconds
        self._code = code
        self._bound = bound_s
        self._bound_code = bound_code
        self._expired = ""

    def __enter__(self) -> Deadline:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline needs a task")
        self._task: asyncio.Task[Any] = task
        loop = task.get_loop()
        # The bound is absolute from here on; only the seconds start again with restart().
        if self._bound < math.inf:
            self._bound += loop.time()
        self._timer = wheel_of(loop).call_later(self._seconds, self._cancel_task, self._code)
        return self

    def restart(self) -> None:
        """Give the time anew."""
        loop = self._task.get_loop()
        remaining = self._bound - loop.time()
        self._timer.cancel()
        # The code differs, because the caller is told which of the two times was exceeded.
        if remaining > self._seconds:
            self._timer = wheel_of(loop).call_later(self._seconds, self._cancel_task, self._code)
        else:
            self._timer = wheel_of(loop).call_later(remaining, self._cancel_task, self._bound_code)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if not self._expired:
            return
        # A cancellation from outside counts as well (3.11 counts them): then the caller disconnected at the same
        # moment, and that must win, or the task could not be stopped.
        if kind is asyncio.CancelledError and not self._undo_cancel():
            raise upstream_failure(self._expired) from None

    def _undo_cancel(self) -> int:
        """Take our own cancellation back; returns how many from others remain."""
        if sys.version_info >= (3, 11):
            return self._task.uncancel()
        return 0

    def _cancel_task(self, code: str) -> None:
        self._expired = code
        self._task.cancel()
