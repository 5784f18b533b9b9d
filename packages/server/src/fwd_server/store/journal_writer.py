"""The one thread that writes the journal, and what waits for it in the event loop.

The events of one turn of the loop are handed over together; the thread takes all there are, commits them, and wakes
the loop once for the whole batch. Only ends of calls are kept when a commit fails: a call that could not be recorded is
refused.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections import deque
from typing import Final, NamedTuple

from fwd_server.store.journal import JournalFile, JournalFull

MOST_EVENTS: Final = 256  # a batch
MOST_KEPT: Final = 10_000  # ends of calls that wait for a disk with room
_RETRY_S: Final = 0.25
_SWEEP_S: Final = 0.05  # how late a wait may end


class StorageBusy(Exception):
    """The journal cannot take a new call now: nothing may be sent upstream for it."""


class _Entry(NamedTuple):
    """One event on its way. ``future`` is None for whoever does not wait."""

    event: bytes
    is_open: bool
    future: asyncio.Future[None] | None = None


class JournalWriter:
    """Writes events in batches. Made and used in one event loop; ``close`` waits until everything is durable."""

    def __init__(self, file: JournalFile, loop: asyncio.AbstractEventLoop) -> None:
        self._file: Final = file
        self._loop: Final = loop
        self._queue: Final[queue.SimpleQueue[list[_Entry] | None]] = queue.SimpleQueue()
        self._gathered: list[_Entry] = []  # the events of this turn of the loop
        self._kept: Final[deque[_Entry]] = deque()
        self._thread: Final = threading.Thread(target=self._run, name="fwd-journal", daemon=True)
        self._waiting: Final[deque[tuple[float, asyncio.Future[None]]]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self.failure: str = ""  # why the last commit failed; empty when it did not
        self.lost: int = 0  # ends of calls dropped because too many waited
        self._thread.start()

    async def write_open(self, event: bytes, withdrawal: bytes, wait_s: float) -> None:
        """Return when the event is durable. Raises StorageBusy, and then the call must not be sent.

        ``withdrawal`` is written if the event may have become durable after that: otherwise a restart would take
        a call that was refused for one that was interrupted.
        """
        try:
            self._file.check_room(len(event), opens=True)
        except JournalFull as error:
            raise StorageBusy(str(error)) from None
        try:
            await self._put(event, wait_s, is_open=True)
        except asyncio.TimeoutError:
            self.put(withdrawal)
            raise StorageBusy(f"the journal has not answered for {wait_s:g} s") from None
        except asyncio.CancelledError:
            self.put(withdrawal)  # the caller has gone, or the gateway stops: nothing was sent
            raise

    async def write_end(self, event: bytes, wait_s: float) -> bool:
        """Whether the event became durable in time. If not, it is kept and written as soon as it can be."""
        try:
            await self._put(event, wait_s, is_open=False)
        except asyncio.TimeoutError:
            return False
        return True

    def put(self, event: bytes) -> None:
        """Write an event without waiting for it."""
        self._hand_over(_Entry(event, is_open=False))

    def _hand_over(self, entry: _Entry) -> None:
        """Give the thread what comes in one turn of the loop at once: it is woken once, and commits once."""
        if not self._gathered:
            self._loop.call_soon(self._flush)
        self._gathered.append(entry)

    def _flush(self) -> None:
        if self._gathered:
            self._queue.put(self._gathered)
            self._gathered = []

    def _put(self, event: bytes, wait_s: float, *, is_open: bool) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._hand_over(_Entry(event, is_open, future))
        self._waiting.append((self._loop.time() + wait_s, future))
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        return future

    def _sweep(self) -> None:
        """End the waits that took too long. One timer for all: ``wait_for`` would cost each call 15 us."""
        now = self._loop.time()
        # Waits are equally long, so they end in the order they began.
        while self._waiting and (self._waiting[0][1].done() or self._waiting[0][0] <= now):
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(asyncio.TimeoutError())
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep) if self._waiting else None

    @property
    def kept(self) -> int:
        """Ends of calls that could not be written yet."""
        return len(self._kept)

    async def close(self) -> None:
        """Write what is there, then end the thread. The file stays open."""
        self._flush()
        self._queue.put(None)
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._loop.run_in_executor(None, self._thread.join)

    # In the thread

    def _run(self) -> None:
        is_ending = False
        while not is_ending:
            try:
                # While ends are kept it wakes by itself: nobody says when a full disk has room again.
                first = self._queue.get(timeout=_RETRY_S if self._kept else None)
            except queue.Empty:
                self._commit([])
                continue
            batch: list[_Entry] = []
            is_ending = first is None or self._gather(first, batch)
            self._commit(batch)
        if self._kept:  # one more try: the disk may have room again
            time.sleep(_RETRY_S)
            self._commit([])

    def _gather(self, entries: list[_Entry] | None, batch: list[_Entry]) -> bool:
        """Take what is there, up to a batch; True when the end was asked for."""
        while entries is not None:
            batch += entries
            if len(batch) >= MOST_EVENTS:
                return False
            try:
                entries = self._queue.get_nowait()
            except queue.Empty:
                return False
        return True

    def _commit(self, batch: list[_Entry]) -> None:
        # What was kept goes first, so that events stay in the order they came.
        entries = [*self._kept, *batch]
        if not entries:
            return
        try:
            self._file.append([entry.event for entry in entries])
        except (sqlite3.Error, OSError) as error:
            self.failure = str(error)
            self._keep_ends(batch)
            self._wake(
                [entry for entry in batch if entry.is_open], StorageBusy(f"the journal cannot be written: {error}")
            )
            return
        self.failure = ""
        self._kept.clear()
        self._wake(entries, None)

    def _keep_ends(self, batch: list[_Entry]) -> None:
        for entry in batch:
            # The call was refused, so there is nothing to write down for it later.
            if entry.is_open:
                continue
            if len(self._kept) >= MOST_KEPT:
                self.lost += 1
                continue
            self._kept.append(entry)

    def _wake(self, entries: list[_Entry], error: Exception | None) -> None:
        futures = [entry.future for entry in entries if entry.future is not None]
        if not futures:
            return
        try:
            self._loop.call_soon_threadsafe(_resolve, futures, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return


def _resolve(futures: list[asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if future.done():  # timed out, or its caller is gone
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
