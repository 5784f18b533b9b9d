"""Upkeep of the store: old rows go in bounded steps, and every sum can be checked against its rows (law W1)."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from fwd_server.store.fold import rollup_of
from fwd_server.store.migrate import StoreError
from fwd_server.store.statements import CALL_COLUMNS, ROLLUP_KEYS, ROLLUP_SUMS
from fwd_server.store.store_file import STORE_NAME

PRUNE_ROWS: Final = 500  # about 9 ms each: the fold and readers come in between
_VACUUM_PAGES: Final = 100
_CHECK_ROWS: Final = 5_000


def prune_calls(store: sqlite3.Connection, before: int, most: int = PRUNE_ROWS) -> int:
    """Delete the oldest calls from before a time (microseconds), one step; how many there were.

    Rollups and counters stay, so no report of sums and no budget changes. Rows are never loaded (S18).
    """
    store.execute("begin immediate")
    try:
        chosen = "select id from calls where at < ? order by at limit ?"
        # Attempts first: after a crash in between, the same calls are chosen again.
        store.execute(f"delete from attempts where call_id in ({chosen})", (before, most))  # noqa: S608 - own text
        count = store.execute(f"delete from calls where id in ({chosen})", (before, most)).rowcount  # noqa: S608
        store.execute("commit")
    except BaseException:
        store.execute("rollback")
        raise
    # Nothing older is left, so there is time to give pages back to the system.
    if count < most:
        store.execute(f"pragma incremental_vacuum({_VACUUM_PAGES})")
    return count


def prune_counters(store: sqlite3.Connection, before: int, most: int = PRUNE_ROWS) -> int:
    """Delete counters of periods nobody wrote to since a time, except budgets for ever; how many there were."""
    chosen = "select rule_id, subject, period from counters where updated_at < ? and period <> 'all' limit ?"
    sql = f"delete from counters where (rule_id, subject, period) in ({chosen})"  # noqa: S608 - own text
    return store.execute(sql, (before, most)).rowcount


def set_aside(data: Path, stamp: str) -> list[Path]:
    """Rename every damaged file of a data directory, so that the next start makes a new one; where they are now.

    Raises StoreError while a gateway uses the directory.
    """
    moved: list[Path] = []
    for path in [data / STORE_NAME, *sorted(data.glob("journal*.db"))]:
        if path.exists() and not _is_sound(path):
            for suffix in ("", "-wal", "-shm"):
                part = path.with_name(path.name + suffix)
                if part.exists():
                    moved.append(part.rename(path.with_name(f"{path.name}{suffix}.damaged-{stamp}")))
    return moved


def _is_sound(path: Path) -> bool:
    """Whether SQLite can read all of it. Raises StoreError when another process has it."""
    try:
        with closing(sqlite3.connect(path, timeout=0.1)) as connection:
            return bool(connection.execute("pragma quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path} is in use ({error}): stop the gateway first") from error
    except sqlite3.DatabaseError:
        return False


def check_store(store: sqlite3.Connection) -> list[str]:
    """Whether every sum is that of its rows; a sentence for each that is not. For stores that were never pruned.

    Reads in pages of 5,000 rows, so that it can run beside a gateway.
    """
    sums: dict[tuple[Any, ...], list[int]] = {}
    spent: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    after = ""
    sql = f"select {', '.join(CALL_COLUMNS)} from calls where id > ? order by id limit ?"  # noqa: S608 - own names only
    while rows := store.execute(sql, (after, _CHECK_ROWS)).fetchall():
        for row in rows:
            call = dict(zip(CALL_COLUMNS, row, strict=True))
            _add_rollup(sums, rollup_of(call))
            cost = call["cost"] if call["cost"] is not None else call["known_part"] or 0
            for key in json.loads(call["budgets"] or "[]"):
                spent[tuple(key)][0] += cost
                spent[tuple(key)][1] += 1
        after = rows[-1][0]
    return [*_compare_rollups(store, sums), *_compare_counters(store, spent)]


def _add_rollup(sums: dict[tuple[Any, ...], list[int]], rollup: list[Any]) -> None:
    day, key_id, _, *others = rollup[: len(ROLLUP_KEYS)]
    place = sums.setdefault((day, key_id, *others), [0] * len(ROLLUP_SUMS))
    for index, value in enumerate(rollup[len(ROLLUP_KEYS) :]):
        place[index] += value


def _compare_rollups(store: sqlite3.Connection, sums: dict[tuple[Any, ...], list[int]]) -> list[str]:
    problems: list[str] = []
    keys = [name for name in ROLLUP_KEYS if name != "project_id"]
    stored = store.execute(f"select {', '.join([*keys, *ROLLUP_SUMS])} from rollups")  # noqa: S608 - own names only
    seen: set[tuple[Any, ...]] = set()
    for row in stored:
        place, values = tuple(row[: len(keys)]), [*row[len(keys) :]]
        seen.add(place)
        if sums.get(place) != values:
            problems.append(f"the sums of {place} are {values}, and those of its calls are {sums.get(place)}")
    return problems + [f"the sums of {place} are missing" for place in sums if place not in seen]


def _compare_counters(store: sqlite3.Connection, spent: dict[tuple[str, str, str], list[int]]) -> list[str]:
    problems: list[str] = []
    adjusted = {
        tuple(row[:3]): row[3]
        for row in store.execute(
            "select rule_id, subject, period, sum(amount) from adjustments group by rule_id, subject, period"
        )
    }
    seen: set[tuple[str, str, str]] = set()
    for rule, subject, period, stored, calls, extra in store.execute(
        "select rule_id, subject, period, spent, calls, adjusted from counters"
    ):
        key = (rule, subject, period)
        seen.add(key)
        expected = (*spent.get(key, [0, 0]), adjusted.get(key, 0))
        if (stored, calls, extra) != expected:
            problems.append(f"the budget {key} has {(stored, calls, extra)}, and its calls give {expected}")
    return problems + [f"the budget {key} is missing" for key in {*spent, *adjusted} if key not in seen]
