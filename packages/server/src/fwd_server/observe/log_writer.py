"""Where log lines go: a thread writes them, so that nobody else ever waits for a full pipe or disk (contract D15).

What cannot be written in time is dropped and counted, and the count is the first line once lines are taken again.
"""

from __future__ import annotations

import asyncio
import os
import queue
import select
import threading
from collections.abc import Callable
from typing import Final

MAX_WAITING_LINES: Final = 10_000  # lines that wait to be written
CLOSE_S: Final = 1.0
# Lines of the event loop are handed over together: to wake the thread for each costs the loop more than to write it.
_BATCH_S: Final = 0.02
_BATCH_LINES: Final = 200


class LogWriter:
    """Lines on their way to a file descriptor.

    ``dropped`` counts the lines that were not written; ``say`` makes the line that reports them, and is given their
    number.
    """

    def __init__(self, fd: int, say: Callable[[int], bytes], most: int = MAX_WAITING_LINES) -> None:
        self.dropped = 0
        self._reported = 0
        self._fd = fd
        self._report = say
        self._most = most
        self._batches: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._queued = 0  # lines handed over so far, and of these
        self._taken = 0  # those the thread has taken
        self._gathered: list[bytes] = []  # of the loop's own thread, not handed over yet
        self._flush_loop: asyncio.AbstractEventLoop | None = None  # the one that will hand them over
        self._gatherer = 0  # its thread: no other one may touch what is gathered
        # A daemon, or a blocked pipe would keep the process from ending.
        self._thread = threading.Thread(target=self._write_batches, name="fwd-log", daemon=True)
        self._thread.start()

    def put_line(self, line: bytes) -> None:
        """Have a line written soon; never waits."""
        # The private function returns None without a loop; the public one raises, which costs more on other threads.
        loop = asyncio._get_running_loop()
        if loop is None:  # another thread, or nothing runs (any more): nobody would hand a batch over
            if threading.get_ident() == self._gatherer:
                self._hand_over_gathered()  # what a loop of this thread left behind came first
            self._hand_over([line])
            return
        self._gathered.append(line)
        if loop is not self._flush_loop:  # none is on its way, or a loop has ended before it did
            self._flush_loop, self._gatherer = loop, threading.get_ident()
            loop.call_later(_BATCH_S, self.flush)
        elif len(self._gathered) >= _BATCH_LINES:
            self._hand_over_gathered()

    def flush(self) -> None:
        """Hand over what the loop has gathered."""
        self._flush_loop = None
        self._hand_over_gathered()

    def close(self, seconds: float = CLOSE_S) -> None:
        """Have what waits written, as far as that is possible within ``seconds``."""
        self.flush()
        self._batches.put(None)
        self._thread.join(seconds)

    def _hand_over_gathered(self) -> None:
        lines, self._gathered = self._gathered, []
        if lines:
            self._hand_over(lines)

    def _hand_over(self, lines: list[bytes]) -> None:
        # Bounded by lines: a reader that has stopped must not fill the memory with log lines.
        room = max(0, self._most - (self._queued - self._taken))
        self.dropped += max(0, len(lines) - room)
        lines = lines[:room]
        if lines:
            self._queued += len(lines)
            self._batches.put(lines)

    def _write_batches(self) -> None:
        while (lines := self._batches.get()) is not None:
            self._taken += len(lines)
            if not self._write_lines(lines):
                self.dropped += len(lines)
            count = self.dropped - self._reported
            if count and self._write_lines([self._report(count)]):
                self._reported += count

    def _write_lines(self, lines: list[bytes]) -> bool:
        """Whether they could be written."""
        left = memoryview(b"".join(lines))
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
