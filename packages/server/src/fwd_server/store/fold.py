"""The fold: events of the journal become rows of the store, each exactly once, however often it is repeated.

A round takes batches in order and writes them in one transaction together with the number of the last one. Sums are
raised only by rows that were really inserted, so a batch that comes again changes nothing (law W3). Batches are deleted
from the journal after calls that are still open among them were carried into a new batch.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import define, field

from fwd_server.metering.periods import find_utc_day
from fwd_server.store.journal import JournalFile
from fwd_server.store.statements import (
    ATTEMPT_COLUMNS,
    CALL_COLUMNS,
    INSERT_ADJUSTMENT,
    INSERT_ATTEMPT,
    INSERT_CALL,
    RAISE_COUNTER,
    RAISE_ROLLUP,
    READ_APPLIED,
    ROLLUP_KEYS,
    ROLLUP_SUMS,
    WRITE_APPLIED,
)

BATCHES: Final = 64  # a round, so that a transaction stays short
# Older versions of SQLite take at most 999 parameters: https://www.sqlite.org/limits.html#max_variable_number
_IN_A_QUERY: Final = 500
TRIM_ROUNDS: Final = 200  # of a long catch-up
REJECTED_NAME: Final = "rejected.jsonl"
_FAILED_STATES: Final = frozenset({"failed", "broken"})


@define
class Fold:
    """One journal and one store. Told nothing of time: rows carry their own. Used from one thread."""

    journal: JournalFile
    store: sqlite3.Connection
    rejected: Path
    applied: int = 0
    rejected_count: int = 0
    open_calls: dict[str, list[Any]] = field(factory=dict)
    _ended: set[str] = field(factory=set)
    _carried: int = 0

    def start(self) -> None:
        """Find out where the last run came to, and which calls were open then. Raises sqlite3.OperationalError."""
        row = self.store.execute(READ_APPLIED, (self.journal.id,)).fetchone()
        self.applied = row[0] if row else 0
        seq = 0
        while batches := self.journal.read_after(seq, BATCHES):
            for number, body in batches:
                # The rest is not in the store yet: folding it notes the open calls as well.
                if number > self.applied:
                    return
                self._track(orjson.loads(body))
                seq = number

    def run_round(self) -> int:
        """Fold the next batches; how many there were. Raises sqlite3.OperationalError, and then nothing has changed."""
        batches = self.journal.read_after(self.applied, BATCHES)
        if not batches:
            return 0
        decoded = [(number, orjson.loads(body)) for number, body in batches]
        events = [event for _, body in decoded for event in body]
        last = decoded[-1][0]
        try:
            self._write(events, last)
        except sqlite3.OperationalError:
            raise  # locked or full: the same again later
        except (sqlite3.Error, KeyError, TypeError, ValueError, OverflowError, IndexError):
            self._write_one_by_one(events, last)
        self.applied = last
        self._track(events)
        return len(batches)

    def run_all(self) -> None:
        """Fold everything there is."""
        rounds = 0
        while self.run_round():
            rounds += 1
            if rounds % TRIM_ROUNDS == 0:
                self.trim_journal()

    def trim_journal(self) -> None:
        """Delete what the store has. Open calls are carried on first: a crash in between repeats them, harmlessly."""
        if self.applied < self._carried:
            return  # what was carried last time has not come by yet, and calls in it may have ended before it
        # What was carried last time has come by, so no end can precede its call any more.
        self._ended.clear()
        if self.open_calls:
            self._carried = self.journal.append([orjson.dumps(event) for event in self.open_calls.values()])
        self.journal.delete_up_to(self.applied)

    def _track(self, events: Iterable[list[Any]]) -> None:
        """Keep which calls are open."""
        for event in events:
            kind, name = event[0], event[1] if len(event) > 1 else ""
            # A carried call may have ended while it was being carried: its end then comes first.
            if kind == "o" and name not in self._ended:
                self.open_calls[name] = event
            # Part of the open row, which becomes the call's row if the gateway dies.
            elif kind == "h" and name in self.open_calls:
                self.open_calls[name][2]["bound"] = event[2]
            elif kind in ("e", "x"):
                self.open_calls.pop(name, None)
                self._ended.add(name)

    def _write(self, events: Sequence[list[Any]], last: int) -> None:
        execute = self.store.execute
        # The write lock from the start: a reader that becomes a writer is refused while another process writes.
        execute("begin immediate")
        try:
            self._insert_calls([event for event in events if event[0] == "e"])
            for event in events:
                if event[0] != "e":
                    self._apply(event)
            execute(WRITE_APPLIED, (self.journal.id, last))
            execute("commit")
        except BaseException:
            if self.store.in_transaction:  # a full disk may have ended it already
                execute("rollback")
            raise

    def _insert_calls(self, ends: Sequence[list[Any]]) -> None:
        """Insert those that are not there yet, and raise every sum once for all of them: a third of the time."""
        fresh: dict[str, list[Any]] = {}
        for event in ends:
            # The same end may come twice; the first one counts (law W3).
            fresh.setdefault(event[1], event)
        names = [*fresh]
        for start in range(0, len(names), _IN_A_QUERY):
            part = names[start : start + _IN_A_QUERY]
            marks = ", ".join("?" * len(part))
            for (known,) in self.store.execute(f"select id from calls where id in ({marks})", part):  # noqa: S608
                del fresh[known]
        executemany = self.store.executemany
        executemany(INSERT_CALL, [_to_call_values(event[1], event[2]) for event in fresh.values()])
        tries = [values for event in fresh.values() for values in _to_attempt_values(event[1], event[3])]
        executemany(INSERT_ATTEMPT, tries)
        rollups: dict[tuple[Any, ...], list[int]] = {}
        counters: dict[tuple[str, str, str], list[int]] = {}
        for event in fresh.values():
            _add_sums(rollups, counters, event[2])
        executemany(RAISE_ROLLUP, [(*keys, *sums) for keys, sums in rollups.items()])
        raised = [(*key, spent, calls, 0, at) for key, (spent, calls, at) in counters.items()]
        executemany(RAISE_COUNTER, raised)

    def _write_one_by_one(self, events: Sequence[list[Any]], last: int) -> None:
        """As ``_write``, but an event that the store refuses is set aside: one bad row must not stop the others."""
        execute = self.store.execute
        refused: list[dict[str, Any]] = []
        execute("begin immediate")
        try:
            for event in events:
                execute("savepoint event")
                try:
                    self._apply(event)
                except sqlite3.OperationalError:
                    raise
                except (sqlite3.Error, KeyError, TypeError, ValueError, OverflowError, IndexError) as error:
                    execute("rollback to event")
                    refused.append({"reason": f"{type(error).__name__}: {error}", "event": event})
                execute("release event")
            # Written before the commit: after a crash in between it is there twice, which is better than never.
            self._set_aside(refused)
            execute(WRITE_APPLIED, (self.journal.id, last))
            execute("commit")
        except BaseException:
            if self.store.in_transaction:
                execute("rollback")
            raise
        self.rejected_count += len(refused)

    def _set_aside(self, refused: list[dict[str, Any]]) -> None:
        with self.rejected.open("a", encoding="utf-8") as file:
            for entry in refused:
                file.write(json.dumps(entry) + "\n")

    def _apply(self, event: list[Any]) -> None:
        kind = event[0]
        if kind == "e":
            self._insert_calls([event])
        elif kind == "a":
            self._insert_adjustment(event[1])
        elif kind not in ("o", "h", "x"):
            raise ValueError(f"unknown kind of event {kind!r}")

    def _insert_adjustment(self, row: Mapping[str, Any]) -> None:
        names = ("id", "at", "rule_id", "subject", "period", "amount", "reason", "actor")
        if self.store.execute(INSERT_ADJUSTMENT, [row[name] for name in names]).rowcount == 1:
            counter = (row["rule_id"], row["subject"], row["period"], 0, 0, row["amount"], row["at"])
            self.store.execute(RAISE_COUNTER, counter)


def rollup_of(row: Mapping[str, Any]) -> list[Any]:
    """What one call adds to the sums of its day, key, provider, model, user and surface."""
    cost = row.get("cost")
    known = cost if cost is not None else row.get("known_part") or 0
    keys = [row.get(name) or "" for name in ("key_id", "project_id", "provider", "model", "user_tag", "surface")]
    tokens = [row.get(name) or 0 for name in ("prompt", "cached", "cache_write", "completion", "reasoning")]
    return [
        find_utc_day(int(row["at"]) / 1_000_000),
        *keys,
        1,
        int(row.get("state") in _FAILED_STATES),
        *tokens,
        known,
        known if row.get("cost_kind") == "estimated" else 0,
        int(cost is None and row.get("cost_kind") == "unknown"),
        row.get("total_ms") or 0,
    ]


def _add_sums(
    rollups: dict[tuple[Any, ...], list[int]],
    counters: dict[tuple[str, str, str], list[int]],
    row: Mapping[str, Any],
) -> None:
    rollup = rollup_of(row)
    keys = len(ROLLUP_KEYS)
    place = rollups.setdefault(tuple(rollup[:keys]), [0] * len(ROLLUP_SUMS))
    for index, value in enumerate(rollup[keys:]):
        place[index] += value
    spent = row["cost"] if row.get("cost") is not None else row.get("known_part") or 0
    for rule_id, subject, period in row.get("budgets") or ():
        counter = counters.setdefault((rule_id, subject, period), [0, 0, 0])
        counter[0] += spent
        counter[1] += 1
        counter[2] = max(counter[2], row["at"])


_JSON_PLACES: Final = tuple(CALL_COLUMNS.index(name) for name in ("tags", "units", "dropped", "budgets"))


def _to_call_values(call_id: str, row: Mapping[str, Any]) -> list[Any]:
    """The columns of a call. Raises TypeError for a cost that is no whole number, KeyError without a time."""
    # SQLite keeps what does not fit an integer as a float, and sums of floats are not exact.
    if not all(row.get(name) is None or type(row[name]) is int for name in ("cost", "known_part")):
        raise TypeError("a cost is a whole number of nano-dollars")
    if type(row["at"]) is not int:
        raise TypeError("a time is a whole number of microseconds")
    values = [row.get(name) for name in CALL_COLUMNS]
    values[0] = call_id
    for place in _JSON_PLACES:
        value = values[place]
        values[place] = orjson.dumps(value).decode() if value else None
    return values


def _to_attempt_values(call_id: str, attempts: Iterable[Mapping[str, Any]]) -> Iterator[list[Any]]:
    for number, attempt in enumerate(attempts):
        yield [call_id, number, *(attempt.get(name) for name in ATTEMPT_COLUMNS[2:])]
