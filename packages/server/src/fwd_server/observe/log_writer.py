"""Where log lines go: a thread writes them, so that nobody else ever waits for a full pipe or disk (contract D15).

What cannot be written in time is dropped and counted, and the count is the first line once lines are taken again.
"""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable
from typing import Final

MOST: Final = 10_000  # lines that wait to be written
CLOSE_S: Final = 1.0
_AT_ONCE: Final = 500


class Sink:
    """Lines on their way to a file descriptor.

    ``dropped`` counts the lines that were not written; ``say`` makes the line that tells so, and is given their number.
    """

    def __init__(self, fd: int, say: Callable[[int], str], most: int = MOST) -> None:
        self.dropped = 0
        self._told = 0
        self._fd = fd
        self._say = say
        self._most = most
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._run, name="fwd-log", daemon=True)
        self._writer.start()

    def put(self, line: str) -> None:
        """Have a line written soon; never waits."""
        if self._lines.qsize() < self._most:
            self._lines.put(line)
        else:
            self.dropped += 1

    def close(self, seconds: float = CLOSE_S) -> None:
        """Have what waits written, as far as that is possible within ``seconds``."""
        self._lines.put(None)
        self._writer.join(seconds)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            lines = [line, *self._more()]
            if not self._write(lines):
                self.dropped += len(lines)
            count = self.dropped - self._told
            if count and self._write([self._say(count)]):
                self._told += count

    def _more(self) -> list[str]:
        """What waits behind a line. The end is put back, for whoever looks for it."""
        more: list[str] = []
        while len(more) < _AT_ONCE and not self._lines.empty():
            line = self._lines.get()
            if line is None:
                self._lines.put(None)
                break
            more.append(line)
        return more

    def _write(self, lines: list[str]) -> bool:
        """Whether they could be written."""
        left = memoryview("".join(lines).encode("utf-8", "backslashreplace"))
        try:
            while left:
                left = left[self._write_some(left) :]
        except OSError:  # a full disk, or nobody reads any more: there is no other place to say so
            return False
        return True

    def _write_some(self, data: memoryview) -> int:
        """As ``os.write``, also where somebody who shares a pipe or terminal with us has made it non-blocking."""
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            select.select([], [self._fd], [])
            return 0
