"""``fwd usage``: what was used and what it cost."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any

import click

from fwd_cli import ledger, render
from fwd_cli.options import examples, json_option
from fwd_cli.tables import Rows

GROUPS = ("day", "key", "project", "provider", "model", "user", "surface")
_SHOWN = ("calls", "failed", "prompt", "cached", "completion")


def check_day(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A UTC day."""
    try:
        return None if value is None else date.fromisoformat(value).isoformat()
    except ValueError:
        raise click.BadParameter(f"{value!r} is no day such as 2026-12-31", ctx, param) from None


def check_groups(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Names of groups with commas between them."""
    names = tuple(name for name in value.split(",") if name)
    unknown = next((name for name in names if name not in GROUPS), None)
    if unknown is not None or len(set(names)) != len(names):
        raise click.BadParameter(f"{unknown or value!r}: any of {', '.join(GROUPS)}, once each", ctx, param)
    return names


@click.command(
    name="usage",
    epilog=examples(
        "fwd usage                             # this month, by key",
        "fwd usage --by day,model --from 2026-12-01 --to 2026-12-31",
        "fwd usage --key web --by user --csv > web.csv",
    ),
)
@click.option(
    "--by", default="key", show_default=True, metavar="GROUPS", callback=check_groups, help=f"{', '.join(GROUPS)}."
)
@click.option("--from", "first", metavar="DAY", callback=check_day, help="First UTC day; default: of this month.")
@click.option("--to", "last", metavar="DAY", callback=check_day, help="Last UTC day; default: today.")
@click.option("--key", metavar="NAME", help="Only this key, by name or id.")
@click.option("--project", metavar="NAME", help="Only this project.")
@ledger.data_option
@ledger.csv_option
@json_option
def command(
    by: tuple[str, ...],
    first: str | None,
    last: str | None,
    key: str | None,
    project: str | None,
    data: Path,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show calls, tokens and costs, summed up.

    Sums are complete up to a second ago, and the same however many calls there were. Costs are US dollars; unpriced
    calls are those whose model has no price (fwd prices set).
    """
    from fwd_server.store.reports import ReportError, UsageQuery, report_usage, sum_usage

    last = last or ledger.today()
    first = first or f"{min(last, ledger.today())[:8]}01"
    with ledger.open_ledger(data) as store:
        only = {"key_id": ledger.find_key_id(store, key)} if key else {}
        try:
            rows = report_usage(
                store, UsageQuery(first, last, by, {**only, **({"project_id": project} if project else {})})
            )
        except ReportError as error:
            raise click.UsageError(str(error)) from None
        if "key" in by:
            names = ledger.name_keys(store, [row["key"] for row in rows])
            rows = [{**row, "key": names[row["key"]]} for row in rows]
    if as_json:
        click.echo("".join(render.as_json(_facts(by, row)) for row in rows), nl=False)
    elif as_csv:
        ledger.print_csv([_facts(by, row) for row in rows])
    else:
        columns = (*by, *_SHOWN, "$")
        Rows(columns, [_cells(by, row) for row in rows], columns[len(by) :]).show()
        sys.stdout.flush()  # the sum comes last, also where both go to one file
        total = sum_usage(rows)
        calls = f"{total['calls']} call{'' if total['calls'] == 1 else 's'}"
        unpriced = f", {total['unpriced']} of them unpriced" if total["unpriced"] else ""
        click.echo(f"{first} to {last}: {calls}{unpriced}, {ledger.dollars(total['cost'])} USD.", err=True)


def _facts(by: tuple[str, ...], row: dict[str, Any]) -> dict[str, Any]:
    """A row for programs."""
    return {
        **{name: row[name] for name in by},
        "calls": row["calls"],
        "failed": row["failed"],
        "prompt_tokens": row["prompt"],
        "cached_tokens": row["cached"],
        "cache_write_tokens": row["cache_write"],
        "completion_tokens": row["completion"],
        "reasoning_tokens": row["reasoning"],
        "cost_usd": ledger.exact_dollars(row["cost"]),
        "cost_nano": row["cost"],
        "estimated_nano": row["estimated"],
        "unpriced_calls": row["unpriced"],
    }


def _cells(by: tuple[str, ...], row: dict[str, Any]) -> list[str]:
    return [*(str(row[name]) for name in by), *(str(row[name]) for name in _SHOWN), ledger.dollars(row["cost"])]
