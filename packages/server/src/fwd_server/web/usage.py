"""What a caller may know of its own key: limits and budgets, what it has used, and single calls.

Reports are read in a thread, from a connection of their own: a long one holds nobody up. Sums are complete up to a
second ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any, Final, TypeVar

import orjson

from fwd_server.clock import Clock
from fwd_server.metering.counters import BudgetState, LimitState
from fwd_server.metering.money import NANO, format_usd
from fwd_server.metering.periods import find_utc_day
from fwd_server.store.accounts import Accounts
from fwd_server.store.ledger import MICRO
from fwd_server.store.migrate import StoreError
from fwd_server.store.reports import ReportError, UsageQuery, find_call, report_usage, sum_usage
from fwd_server.store.store_file import STORE_NAME, read_store
from fwd_server.values.call import Caller
from fwd_server.values.chat import Json
from fwd_server.values.errors import BadRequest, GatewayError
from fwd_server.web.base import BaseHandler

MOST_DAYS: Final = 400
_GROUPS: Final = ("day", "provider", "model", "user", "surface")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_ANY_MODEL: Final = ("*",)
_BUSY_S: Final = 2.0
T = TypeVar("T")
# Columns of the store and what they are called here; money follows in dollars and nano-dollars.
_COLUMNS: Final = {
    "calls": "calls", "failed": "failed", "prompt": "prompt_tokens", "cached": "cached_tokens",
    "cache_write": "cache_write_tokens", "completion": "completion_tokens", "reasoning": "reasoning_tokens",
}  # fmt: skip
# What a caller is told of one of its calls.
_RECEIPT: Final = (
    "id", "request_id", "surface", "asked", "provider", "model", "status", "state", "stream", "prompt", "cached",
    "cache_write", "completion", "reasoning", "units", "tier", "cost_kind", "price_id", "attempts", "first_ms",
    "total_ms", "error", "dropped", "user_tag", "tags",
)  # fmt: skip


class KeyHandler(BaseHandler):
    """``GET /v1/key``: the caller's key, its limits and its budgets."""

    def initialize(self, accounts: Accounts, clock: Clock) -> None:
        """What it reads."""
        self.accounts, self.clock = accounts, clock

    def get(self) -> Any:
        """Answer with how it is now."""
        caller, book = _caller_of(self), self.accounts.book
        matched = book.find_rules(caller.ledger_id, caller.project, _ANY_MODEL)
        wall, mono = self.clock.now(), self.clock.monotonic()
        budgets = book.list_budgets(matched, wall)
        limits = book.list_limits(matched, mono)
        facts = {
            "id": caller.ledger_id,
            "name": caller.name,
            "project": caller.project or None,
            "expires": None if math.isinf(caller.expires) else show_time(caller.expires),
            "models": list(caller.models) or None,
            "limits": {state.rule.kind: _limit_facts(state) for state in sorted(limits, key=_left_of, reverse=True)},
            "budgets": [_budget_facts(state) for state in budgets],
        }
        self.write_json(orjson.dumps(facts))


class UsageHandler(BaseHandler):
    """``GET /v1/usage``: what the caller's key has used, by day and model or other groups."""

    def initialize(self, accounts: Accounts, clock: Clock) -> None:
        """What it reads."""
        self.accounts, self.clock = accounts, clock

    async def get(self) -> None:
        """Answer with the report. Raises BadRequest for a question it has no answer to."""
        today = find_utc_day(self.clock.now())
        # The key's own id and nothing from the query: a caller can see no other key's usage.
        query = _read_query(self, _caller_of(self).ledger_id, today)
        form = self.get_argument("format", "json")
        if form not in ("json", "csv"):
            raise BadRequest(f"Invalid value for 'format': {form[:40]!r}; json or csv is allowed.", param="format")
        try:
            rows = await _read(self.accounts, lambda store: report_usage(store, query))
        except ReportError as error:
            raise BadRequest(f"This report cannot be made: {error}.", param="by") from None
        if form == "csv":
            self.set_header("Content-Type", "text/csv; charset=utf-8")
            self.finish(write_csv([_usage_row(query.by, row) for row in rows]))
            return
        total = {**dict.fromkeys(query.by), **sum_usage(rows)}
        answer = {
            "object": "list", "from": query.first, "to": query.last, "by": list(query.by),
            "data": [_usage_row(query.by, row) for row in rows], "total": _usage_row((), total),
        }  # fmt: skip
        self.write_json(orjson.dumps(answer))


class RequestHandler(BaseHandler):
    """``GET /v1/requests/{id}``: one of the caller's own calls, by its call id or its request id."""

    def initialize(self, accounts: Accounts) -> None:
        """What it reads."""
        self.accounts = accounts

    async def get(self, name: str) -> None:
        """Answer with the receipt. Raises GatewayError (404): of another key's call nothing is said."""
        key_id = _caller_of(self).ledger_id
        call = await _read(self.accounts, lambda store: find_call(store, name, key_id))
        if call is None:
            raise BadRequest(
                "This key has no such call; the newest ones are there after a second.", status=404, code="not_found"
            )
        self.write_json(orjson.dumps(describe_call(call)))


def describe_call(call: Mapping[str, Any]) -> Json:
    """A call of the ledger as its caller sees it."""
    return {
        **{name: call[name] for name in _RECEIPT},
        "at": show_time(call["at"] / MICRO),
        "ended_at": None if call["ended_at"] is None else show_time(call["ended_at"] / MICRO),
        "cost_usd": None if call["cost"] is None else call["cost"] / NANO,
        "cost_nano": call["cost"],
        "tries": [
            {
                **{name: one[name] for name in ("provider", "model", "ms", "status", "code", "cost_kind")},
                "cost_nano": one["cost"],
            }
            for one in call["tries"]
        ],
    }


def show_time(seconds: float) -> str:
    """A time of the epoch as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with a line of names; nothing in them can be taken for a formula by a spreadsheet."""
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _plain_cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _plain_cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _usage_row(by: Iterable[str], row: Mapping[str, Any]) -> Json:
    return {
        **{name: row[name] for name in by},
        **{shown: row[name] for name, shown in _COLUMNS.items()},
        "cost_usd": float(format_usd(row["cost"])),
        "cost_nano": row["cost"],
        "estimated_nano": row["estimated"],
        "unpriced_calls": row["unpriced"],
    }


def _limit_facts(state: LimitState) -> Json:
    return {"limit": state.rule.amount, "used": state.used, "reset_s": math.ceil(state.reset_s)}


def _left_of(state: LimitState) -> int:
    return state.rule.amount - state.used  # the tightest of one kind is the one that is shown


def _budget_facts(state: BudgetState) -> Json:
    rule, end = state.rule, state.period.end
    amounts = {"limit": rule.amount, "used": state.spent, "held": state.held, "left": state.left}
    return {
        "id": rule.id,
        "scope": rule.scope.partition(":")[0],
        "window": None if rule.window == "all" else rule.window,
        "mode": "soft" if rule.soft else "hard",
        **{f"{name}_usd": amount / NANO for name, amount in amounts.items()},
        **{f"{name}_nano": amount for name, amount in amounts.items()},
        "period": state.period.label,
        "resets_at": None if end is None else show_time(end),
    }


def _caller_of(handler: BaseHandler) -> Caller:
    if handler.context.caller is None:
        raise AssertionError("a handler that needs a key has a caller")
    return handler.context.caller


def _read_query(handler: BaseHandler, key_id: str, today: str) -> UsageQuery:
    first = _read_day(handler, "from", f"{today[:8]}01")
    last = _read_day(handler, "to", today)
    days = (date.fromisoformat(last) - date.fromisoformat(first)).days
    if not 0 <= days < MOST_DAYS:
        raise BadRequest(f"'from' must be before 'to', and at most {MOST_DAYS} days before it.", param="from")
    by = tuple(name for name in handler.get_argument("by", "day,model").split(",") if name)
    unknown = next((name for name in by if name not in _GROUPS), None)
    if unknown is not None or len(set(by)) != len(by):
        raise BadRequest(
            f"Invalid value for 'by': {(unknown or by[0])[:40]!r}; {', '.join(_GROUPS)} are allowed, once each.",
            param="by",
        )
    return UsageQuery(first, last, by, {"key_id": key_id})


def _read_day(handler: BaseHandler, name: str, default: str) -> str:
    text = handler.get_argument(name, default)
    with contextlib.suppress(ValueError):
        if _DAY.fullmatch(text):
            return date.fromisoformat(text).isoformat()
    raise BadRequest(f"Invalid value for {name!r}: {text[:40]!r}; a UTC day such as 2026-12-31 is allowed.", param=name)


async def _read(accounts: Accounts, ask: Callable[[sqlite3.Connection], T]) -> T:
    """Ask the store in a thread. Raises GatewayError: 501 without a ledger, 503 while it cannot be read."""
    ledger = accounts.ledger
    if ledger is None:
        raise GatewayError("This gateway keeps no ledger.", 501, code="no_ledger", should_retry=False)

    def read() -> T:
        with contextlib.closing(read_store(ledger.directory / STORE_NAME, busy_s=_BUSY_S)) as store:
            return ask(store)

    try:
        return await asyncio.get_running_loop().run_in_executor(None, read)
    except (sqlite3.OperationalError, StoreError):
        raise GatewayError("The ledger cannot be read now.", 503, code="storage_busy", retry_after_s=1.0) from None
