"""Reports from the store: sums by day, key and model, budgets, and single calls. Read only.

Sums come from the rollups, so a report costs the same however many calls there were. Money is nano-dollars here;
whoever prints it shows dollars.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from fwd_server.metering.periods import find_period, load_zone
from fwd_server.metering.rules import Rule
from fwd_server.store.statements import ATTEMPT_COLUMNS, CALL_COLUMNS, ROLLUP_SUMS

USAGE_KEYS: Final = {
    "day": "day", "key": "key_id", "project": "project_id", "provider": "provider", "model": "model",
    "user": "user_tag", "surface": "surface",
}  # fmt: skip
MOST_ROWS: Final = 10_000
PAGE: Final = 5_000
_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON_COLUMNS: Final = frozenset({"tags", "units", "dropped", "budgets"})
_FILTERS: Final = frozenset({"key_id", "project_id", "provider", "model", "user_tag", "surface"})


class ReportError(ValueError):
    """A report that cannot be made as it was asked for; the text says why."""


@frozen
class UsageQuery:
    """What to sum up: UTC days from ``first`` to ``last``, grouped by ``by``; ``only`` are columns and their values."""

    first: str
    last: str
    by: tuple[str, ...] = ("key",)
    only: Mapping[str, str] = field(factory=dict)


def report_usage(store: sqlite3.Connection, query: UsageQuery) -> list[dict[str, Any]]:
    """Sums of calls, tokens and cost, one row a group. Raises ReportError for an unknown group or too many rows."""
    unknown = [name for name in query.by if name not in USAGE_KEYS] + [
        name for name in query.only if name not in _FILTERS
    ]
    if unknown:
        raise ReportError(f"{unknown[0]!r} cannot be grouped by; choose from {', '.join(USAGE_KEYS)}")
    columns = [USAGE_KEYS[name] for name in query.by]
    sums = ", ".join(f"sum({name}) as {name}" for name in ROLLUP_SUMS)
    where = " and ".join(["day between ? and ?", *(f"{name} = ?" for name in query.only)])
    # Only names of the tables above are put into the text; values are always parameters (S26).
    sql = f"select {', '.join([*columns, sums])} from rollups where {where}"  # noqa: S608
    if columns:
        sql += f" group by {', '.join(columns)} order by {', '.join(columns)}"
    rows = store.execute(sql + " limit ?", (query.first, query.last, *query.only.values(), MOST_ROWS + 1)).fetchall()
    if len(rows) > MOST_ROWS:
        raise ReportError(f"more than {MOST_ROWS:,} rows: select fewer days or groups")
    names = [*query.by, *ROLLUP_SUMS]
    # Without groups SQL gives one row of nulls where there is nothing to add up.
    return [dict(zip(names, row, strict=True)) for row in rows if row[len(columns)] is not None]


def sum_usage(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The total of a report."""
    listed = [*rows]
    return {name: sum(row[name] for row in listed) for name in ROLLUP_SUMS}


def report_spend(store: sqlite3.Connection, rules: Iterable[Rule], now: float) -> list[dict[str, Any]]:
    """Every budget in its current period: limit, spent, left, when it resets. ``now`` is in seconds.

    What running calls hold is known to the gateway alone. ``runs_out_at`` is where the pace of this period leads, in
    seconds of the epoch; None when that is after its end, or nothing was spent.
    """
    rows: list[dict[str, Any]] = []
    sql = "select subject, spent, adjusted, calls from counters where rule_id = ? and period = ? order by subject"
    for rule in rules:
        if not rule.is_budget:
            continue
        period = find_period(rule.window, now, load_zone(rule.zone), rule.anchor)
        counters = store.execute(sql, (rule.id, period.label)).fetchall() or [(rule.scope, 0, 0, 0)]
        for subject, spent, adjusted, calls in counters:
            limit = rule.amount + adjusted
            pace = spent / max(now - period.start, 1.0)
            runs_out = now + (limit - spent) / pace if pace > 0 and limit > spent else None
            is_in_time = runs_out is not None and (period.end is None or runs_out < period.end)
            rows.append(
                {
                    "rule": rule.id, "scope": rule.scope, "subject": subject, "window": rule.window,
                    "mode": "soft" if rule.soft else "hard", "period": period.label, "limit": limit, "spent": spent,
                    "left": limit - spent, "calls": calls, "resets_at": period.end,
                    "runs_out_at": runs_out if is_in_time else None,
                }
            )  # fmt: skip
    return rows


@frozen
class CallQuery:
    """Which calls: the newest first, before the call ``before`` (an id), of a key, model, state, cost, time."""

    limit: int = 50
    before: str = ""
    key_id: str = ""
    model: str = ""
    state: str = ""
    min_cost: int | None = None
    since: int | None = None


def list_calls(store: sqlite3.Connection, query: CallQuery) -> list[dict[str, Any]]:
    """Single calls, the newest first; the last one's ``id`` is ``before`` of the next page.

    Ids begin with the time, so a page is a range of the primary key and costs the same anywhere in the ledger.
    """
    conditions: list[tuple[str, object]] = []
    if query.before:
        conditions.append(("id < ?", query.before))
    columns = ("key_id", "model", "state")
    conditions += [(f"{column} = ?", value) for column in columns if (value := getattr(query, column))]
    if query.min_cost is not None:
        conditions.append(("cost >= ?", query.min_cost))
    if query.since is not None:
        conditions.append(("at >= ?", query.since))
    where = " where " + " and ".join(text for text, _ in conditions) if conditions else ""
    sql = f"select {', '.join(CALL_COLUMNS)} from calls{where} order by id desc limit ?"  # noqa: S608 - own names only
    rows = store.execute(sql, (*(value for _, value in conditions), min(query.limit, PAGE)))
    return [_to_call(row) for row in rows]


def find_call(store: sqlite3.Connection, name: str, key_id: str | None = None) -> dict[str, Any] | None:
    """One call with its attempts, by call id or request id; with ``key_id`` only if it is that key's.

    A request id may repeat: the newest call counts.
    """
    if not _ID.fullmatch(name):
        return None
    sql = f"select {', '.join(CALL_COLUMNS)} from calls where (id = ? or request_id = ?)"  # noqa: S608 - own names only
    values: list[object] = [name, name]
    if key_id is not None:
        sql, values = sql + " and key_id = ?", [*values, key_id]
    row = store.execute(sql + " order by id desc limit 1", values).fetchone()
    if row is None:
        return None
    call = _to_call(row)
    sql = f"select {', '.join(ATTEMPT_COLUMNS)} from attempts where call_id = ? order by n"  # noqa: S608
    call["tries"] = [dict(zip(ATTEMPT_COLUMNS, try_, strict=True)) for try_ in store.execute(sql, (call["id"],))]
    return call


def iterate_calls(store: sqlite3.Connection, first: int, last: int) -> Iterator[dict[str, Any]]:
    """Every call admitted between two times (microseconds), oldest first, in pages: nothing is loaded whole."""
    at, after = first, ""
    # Pairs are compared, because many calls may have one time.
    sql = (
        f"select {', '.join(CALL_COLUMNS)} from calls "  # noqa: S608 - own names only
        "where (at > ? or (at = ? and id > ?)) and at <= ? order by at, id limit ?"
    )
    while True:
        rows = store.execute(sql, (at, at, after, last, PAGE)).fetchall()
        for row in rows:
            yield _to_call(row)
        if len(rows) < PAGE:
            return
        after, at = rows[-1][0], rows[-1][1]


def export_events(store: sqlite3.Connection, first: int, last: int) -> Iterator[list[Any]]:
    """Calls and adjustments between two times as events of a journal; folded into an empty store they give the same.

    That is how a store moves to another machine or kind of database (law W12).
    """
    sql = f"select {', '.join(ATTEMPT_COLUMNS)} from attempts where call_id = ? order by n"  # noqa: S608
    for call in iterate_calls(store, first, last):
        tries = [dict(zip(ATTEMPT_COLUMNS, row, strict=True)) for row in store.execute(sql, (call["id"],))]
        yield ["e", call["id"], call, tries]
    columns = ("id", "at", "rule_id", "subject", "period", "amount", "reason", "actor")
    sql = f"select {', '.join(columns)} from adjustments where at between ? and ? order by at, id"  # noqa: S608
    for row in store.execute(sql, (first, last)):
        yield ["a", dict(zip(columns, row, strict=True))]


def _to_call(row: Sequence[Any]) -> dict[str, Any]:
    call = dict(zip(CALL_COLUMNS, row, strict=True))
    for name in _JSON_COLUMNS:
        if call[name] is not None:
            call[name] = json.loads(call[name])
    call["stream"] = bool(call["stream"])
    return call
