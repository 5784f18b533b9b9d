"""``fwd logs``: single calls, the newest first, or as they come."""

from __future__ import annotations

import re
import sqlite3
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from fwd_cli import ledger, render
from fwd_cli.options import examples, json_option
from fwd_cli.tables import Rows

COLUMNS = ("time", "key", "model", "state", "status", "in", "out", "$", "ms", "id")
STATES = ("done", "failed", "broken", "left", "interrupted", "cached")
FOLLOW_S = 0.5
_AGE = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def check_since(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Microseconds of the epoch of a time, or of an age such as 2h."""
    if value is None:
        return None
    age = _AGE.fullmatch(value)
    if age:
        return round((time.time() - int(age[1]) * _SECONDS[age[2]]) * ledger.MICRO)
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a time nor an age such as 30m, 2h or 7d", ctx, param) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp() * ledger.MICRO)


@click.command(
    name="logs",
    epilog=examples(
        "fwd logs",
        "fwd logs -f --key web",
        "fwd logs --state failed --since 2h --json",
        "fwd logs --min-cost 0.10 --csv > dear.csv",
    ),
)
@click.option("-f", "--follow", is_flag=True, help="Go on: print calls as they end.")
@click.option("--key", metavar="NAME", help="Only this key, by name or id.")
@click.option("--model", metavar="NAME", help="Only this model, as provider:model.")
@click.option("--state", type=click.Choice(STATES), show_default="any", help="Only calls that ended like this.")
@click.option(
    "--min-cost",
    type=click.FloatRange(min=0),
    metavar="USD",
    show_default="any",
    help="Only calls that cost at least this.",
)
@click.option(
    "--since",
    metavar="WHEN",
    callback=check_since,
    show_default="any",
    help="Only calls since a time, or an age such as 2h.",
)
@click.option("--limit", type=click.IntRange(1, 5000), default=50, show_default=True, help="How many at most.")
@ledger.data_option
@ledger.csv_option
@json_option
def command(
    follow: bool,
    key: str | None,
    model: str | None,
    state: str | None,
    min_cost: float | None,
    since: int | None,
    limit: int,
    data: Path,
    as_csv: bool,
    as_json: bool,
) -> None:
    """List single calls, or follow them.

    The newest come first; with -f the oldest of the list do, and then each call as it ends.
    The ledger has who called what, when, how it ended and what it cost; never a prompt or an answer.
    """
    from fwd_server.metering.money import to_nano
    from fwd_server.store.reports import CallQuery, list_calls

    with ledger.open_ledger(data) as store:
        query = CallQuery(
            limit=limit,
            key_id=ledger.find_key_id(store, key) if key else "",
            model=model or "",
            state=state or "",
            min_cost=None if min_cost is None else to_nano(min_cost),
            since=since,
        )
        rows = list_calls(store, query)
        _show(rows[::-1] if follow else rows, as_csv=as_csv, as_json=as_json)
        if follow:
            _follow(store, query, {row["id"] for row in rows}, as_json=as_json)
    if not rows:
        click.echo("No such call is in the ledger.", err=True)


def _follow(store: sqlite3.Connection, query: Any, seen: set[str], *, as_json: bool) -> None:
    """Print what is new until Ctrl-C. Calls are stored when they end, so a long one comes after shorter ones."""
    from attrs import evolve

    from fwd_server.store.reports import list_calls

    begun = round(time.time() * ledger.MICRO) - 3600 * ledger.MICRO
    while True:
        time.sleep(FOLLOW_S)
        recent = evolve(query, limit=5000, since=max(begun, query.since or 0))
        fresh = [row for row in list_calls(store, recent) if row["id"] not in seen]
        seen.update(row["id"] for row in fresh)
        _show(fresh[::-1], as_csv=False, as_json=as_json)


def _show(rows: list[dict[str, Any]], *, as_csv: bool, as_json: bool) -> None:
    if as_json:
        click.echo("".join(render.as_json(facts(row)) for row in rows), nl=False)
    elif as_csv:
        ledger.print_csv([facts(row) for row in rows])
    elif rows:
        Rows(COLUMNS, [_cells(row) for row in rows], COLUMNS[4:9]).show()


def facts(row: dict[str, Any]) -> dict[str, Any]:
    """A call for programs: money in dollars and as the exact number of nano-dollars."""
    return {
        "id": row["id"], "request_id": row["request_id"], "at": ledger.show_time(row["at"]), "key": row["key_id"],
        "key_name": row["key_name"], "project": row["project_id"], "user": row["user_tag"], "tags": row["tags"],
        "surface": row["surface"], "asked": row["asked"], "provider": row["provider"], "model": row["model"],
        "status": row["status"], "state": row["state"], "stream": row["stream"], "prompt_tokens": row["prompt"],
        "cached_tokens": row["cached"], "cache_write_tokens": row["cache_write"],
        "completion_tokens": row["completion"], "reasoning_tokens": row["reasoning"], "tier": row["tier"],
        "cost_usd": ledger.exact_dollars(row["cost"]), "cost_nano": row["cost"], "cost_kind": row["cost_kind"],
        "saved_nano": row["saved"], "attempts": row["attempts"], "first_ms": row["first_ms"],
        "total_ms": row["total_ms"], "error": row["error"], "price_id": row["price_id"],
    }  # fmt: skip


def _cells(row: dict[str, Any]) -> list[str]:
    values = (
        ledger.show_time(row["at"]), row["key_name"] or row["key_id"], row["model"] or row["asked"],
        row["error"] or row["state"], row["status"], row["prompt"], row["completion"], ledger.dollars(row["cost"]),
        row["total_ms"], row["id"],
    )  # fmt: skip
    return ["" if value is None else str(value) for value in values]
