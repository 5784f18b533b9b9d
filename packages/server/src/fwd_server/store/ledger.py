"""The ledger: journal, store and fold of one data directory, opened, recovered and closed together.

Start: take the directory, make or migrate the store, replay the journal, turn calls that were open when the last run
died into ``interrupted`` rows with what they probably cost, and give the book its counters back. Then calls may come.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Awaitable, Collection, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson

from fwd_server.clock import Clock
from fwd_server.metering.book import Book
from fwd_server.metering.counters import BudgetKey, Counter
from fwd_server.metering.rules import LIMITS, Rule, matches_model
from fwd_server.metering.windows import SLOTS
from fwd_server.store.fold import REJECTED_NAME, Fold
from fwd_server.store.journal import DEFAULT_SPOOL, JournalFile, JournalInUse
from fwd_server.store.journal_writer import JournalWriter
from fwd_server.store.statements import LATEST_TIME, READ_COUNTERS, RECENT_CALLS
from fwd_server.store.store_file import STORE_NAME, open_store, read_store
from fwd_server.store.upkeep import prune_calls

SETTLE_WAIT_S: Final = 2.0
FOLD_S: Final = 0.5  # reports are complete up to a second ago
TRIM_S: Final = 10.0  # long calls are carried once in so many seconds
MICRO: Final = 1_000_000
_FORGOTTEN_S: Final = 60
_BACKOFF_S: Final = (0.1, 5.0)


class Ledger:
    """Everything durable about calls. Opened before the first call, closed after the last one."""

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        full_sync: bool = False,
        spool: int = DEFAULT_SPOOL,
        settle_wait_s: float = SETTLE_WAIT_S,
        keep_s: float | None = None,
        journal: JournalFile | None = None,
    ) -> None:
        """Take the directory and recover. Raises StoreError, OSError, or OperationalError for a locked store.

        ``keep_s`` is how long single calls are kept (None: for ever). ``journal`` is one that was taken already: other
        workers write to the same store, each from a journal of its own.
        """
        self.directory: Final = directory
        self.settle_wait_s: Final = settle_wait_s
        self._clock: Final = clock
        self._keep_s: Final = keep_s
        self._ids: Final = CallIds(clock)
        with contextlib.ExitStack() as stack:
            self._journal: Final = journal or JournalFile(directory, full_sync=full_sync, spool=spool)
            stack.callback(self._journal.close)
            self._store: Final = open_store(directory / STORE_NAME, to_micro(clock.now()))
            stack.callback(self._store.close)
            self._fold: Final = Fold(self._journal, self._store, directory / REJECTED_NAME)
            self.interrupted: Final = self._recover()
            # From here on the fold tries again by itself; a long wait would only delay the end of the process.
            self._store.execute("pragma busy_timeout = 100")
            stack.pop_all()
        self._writer: JournalWriter | None = None
        self._stop: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._run_fold, name="fwd-fold", daemon=True)
        self.fold_failure: str = ""
        self._folded_at: float = clock.monotonic()

    def _recover(self) -> int:
        """Replay the journal, and end the calls that the last run left open; how many there were."""
        self._fold.start()
        self._fold.run_all()
        left_open = [*self._fold.open_calls.values()]
        if left_open:
            now = to_micro(self._clock.now())
            self._journal.append([orjson.dumps(make_interrupted(event, now)) for event in left_open])
            self._fold.run_all()
        self._fold.trim_journal()
        return len(left_open)

    def start(self) -> None:
        """Begin to take events; called in the event loop that calls will come from."""
        self._writer = JournalWriter(self._journal, asyncio.get_running_loop())
        self._thread.start()

    def restore_book(self, book: Book, rules: Collection[str]) -> None:
        """Give rules of a book, by their ids, the counters of their periods and the calls of the last hour and day.

        Raises OperationalError for a locked store, StoreError for one that cannot be read.
        """
        with contextlib.closing(read_store(self.directory / STORE_NAME, busy_s=0.1)) as store:
            (latest,) = store.execute(LATEST_TIME).fetchone()
            # A clock that was set back over the restart must not open yesterday's budget again (D10).
            wall = max(self._clock.now(), latest / MICRO)
            for rule_id, subject, period, spent, calls, adjusted in store.execute(READ_COUNTERS):
                if rule_id in rules:
                    book.restore_counter(Counter(BudgetKey(rule_id, subject, period), spent, 0, adjusted, calls), wall)
            for rule in book.rules:
                if rule.id in rules:
                    self._restore_window(store, book, rule)

    def _restore_window(self, store: sqlite3.Connection, book: Book, rule: Rule) -> None:
        """Count the calls of the last hour or day again. Minute windows begin empty: an error of one window (D10)."""
        _, seconds = LIMITS.get(rule.kind, ("calls", None))
        if seconds is None or seconds <= _FORGOTTEN_S:
            return
        now, mono = to_micro(self._clock.now()), self._clock.monotonic()
        slot = seconds * MICRO // (SLOTS - 1)
        kind, _, name = rule.scope.partition(":")
        where = {"key": " and key_id = ?", "project": " and project_id = ?"}.get(kind, "")
        values = (now, slot, now - seconds * MICRO, *([name] if where else []))
        rows = store.execute(RECENT_CALLS.format(where=where), values)
        for age, model, user, calls, tokens in rows:
            if matches_model(rule.models, model or ""):
                book.restore_window(rule.id, user or "", mono, age * slot / MICRO, calls, tokens)

    def new_id(self) -> str:
        """A call id: 48 bits of milliseconds, then 80 random ones, as 32 hex digits."""
        return self._ids.new_id()

    def record_open(self, call_id: str, row: bytes) -> Awaitable[None]:
        """Write down that a call begins, with its row as a JSON object.

        Awaiting it raises StorageBusy: then nothing may be sent upstream for it.
        """
        event, withdrawal = b'["o","%b",%b]' % (call_id.encode(), row), b'["x","%b"]' % call_id.encode()
        return self._need_writer().write_open(event, withdrawal, self.settle_wait_s)

    def record_hold(self, call_id: str, hold: int) -> None:
        """Write down that a running call holds more; nobody waits, because ``likely`` is booked if it is lost."""
        self._need_writer().put(orjson.dumps(["h", call_id, hold]))

    def record_end(
        self, call_id: str, row: bytes, attempts: Sequence[Mapping[str, Any]] = (), *, wait: bool = True
    ) -> Awaitable[bool] | None:
        """Write down how a call ended, with its row as a JSON object; to be awaited before the last byte.

        It gives whether that was durable in time. If not, it is kept and written later. Without ``wait`` there is
        nothing to await: the caller has gone.
        """
        event = b'["e","%b",%b,%b]' % (call_id.encode(), row, orjson.dumps(attempts) if attempts else b"[]")
        if not wait:
            self._need_writer().put(event)
            return None
        return self._need_writer().write_end(event, self.settle_wait_s)

    def record_adjustment(self, row: Mapping[str, Any]) -> None:
        """Write down that somebody added to a budget."""
        self._need_writer().put(orjson.dumps(["a", row]))

    def _need_writer(self) -> JournalWriter:
        if self._writer is None:
            raise RuntimeError("the ledger has not been started")
        return self._writer

    def describe_state(self) -> dict[str, Any]:
        """For ``/ready`` and ``fwd doctor``: what waits where, and why."""
        writer = self._need_writer()
        return {
            "spool_bytes": self._journal.size,
            "fold_lag_s": max(self._clock.monotonic() - self._folded_at, 0.0),
            "fold_failure": self.fold_failure,
            "journal_failure": writer.failure,
            "kept_ends": writer.kept,
            "lost_ends": writer.lost,
            "rejected_rows": self._fold.rejected_count,
        }

    def release(self) -> None:
        """Give the directory back; for a ledger that was never started."""
        self._store.close()
        self._journal.close()

    async def close(self) -> None:
        """Make everything durable, fold it, and give the directory back."""
        if self._writer is not None:
            await self._writer.close()
            self._stop.set()
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        with contextlib.suppress(sqlite3.OperationalError):  # it stays in the journal, for the next start
            self._fold.run_all()
            self._fold.trim_journal()
        self.release()

    # In the fold's thread

    def _run_fold(self) -> None:
        wait, trimmed_at = FOLD_S, self._clock.monotonic()
        while not self._stop.wait(wait):
            self.fold_failure = self._try_fold()
            now = self._clock.monotonic()
            if self.fold_failure:
                wait = min(max(wait * 2, _BACKOFF_S[0]), _BACKOFF_S[1])
                continue
            wait, self._folded_at = FOLD_S, now
            if self._keep_s is not None:
                self._try_prune(self._keep_s)
            if now - trimmed_at >= TRIM_S:
                with contextlib.suppress(sqlite3.OperationalError):  # no room to carry calls on: the same again later
                    self._fold.trim_journal()
                trimmed_at = now

    def _try_prune(self, keep_s: float) -> None:
        """Delete some of the calls that are older than they are kept: a step of 9 ms, twice a second."""
        with contextlib.suppress(sqlite3.OperationalError):  # locked: there is no hurry
            prune_calls(self._store, to_micro(self._clock.now() - keep_s))

    def _try_fold(self) -> str:
        """Fold what there is; why that failed, or nothing."""
        try:
            self._fold.run_all()
        except sqlite3.OperationalError as error:
            # Locked by somebody, or full (D5, D6): the journal keeps everything, and calls do not notice.
            return str(error)
        return ""


def catch_up(directory: Path, clock: Clock) -> None:
    """Fold what gateways left in their journals, as far as none of them runs. Raises StoreError and OSError."""
    for path in sorted(directory.glob("journal*.db")):
        with contextlib.suppress(JournalInUse):
            Ledger(directory, clock, journal=JournalFile(directory, lock_s=0.0, name=path.name)).release()


def make_interrupted(event: Sequence[Any], at: int) -> list[Any]:
    """The end of a call that a killed gateway left open. Its probable cost is booked."""
    _, call_id, row = event[0], event[1], event[2]
    ended = dict(row)
    likely = ended.pop("likely", None)
    ended |= {
        "ended_at": at,
        "state": "interrupted",
        "cost": likely,
        "cost_kind": "unknown" if likely is None else "estimated",
    }
    return ["e", call_id, ended, []]


def to_micro(seconds: float) -> int:
    """Microseconds of the epoch, as rows have them."""
    return round(seconds * MICRO)


class CallIds:
    """Ids of calls: ordered by time, so that a page of the newest is a range of the primary key."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        # Seeded by the system: two processes of one millisecond must not agree. They guard nothing.
        self._random: Final = Random(os.urandom(16))  # noqa: S311

    def new_id(self) -> str:
        """32 hex digits."""
        return f"{int(self._clock.now() * 1000):012x}{self._random.getrandbits(80):020x}"
