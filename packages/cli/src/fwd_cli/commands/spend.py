"""``fwd spend``: every budget, and what is left of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from fwd_cli import ledger, render
from fwd_cli.errors import file_errors_explained
from fwd_cli.options import examples, json_option, keys_file_option
from fwd_cli.tables import Rows

COLUMNS = ("budget", "limit", "spent", "left", "%", "resets", "runs out")


@click.command(
    name="spend",
    epilog=examples(
        "fwd spend", "fwd spend --keys-file /etc/fwd/keys.txt", "fwd spend --json | jq 'select(.left_nano <= 0)'"
    ),
)
@keys_file_option
@ledger.data_option
@json_option
def command(keys_file: Path, data: Path, as_json: bool) -> None:
    """Show each budget and what is left of it.

    Budgets are those of the keys file. "runs out" is where the pace of this period leads. What running calls hold is
    known to the gateway alone: a key sees its own at GET /v1/key.
    """
    from fwd_server.store.key_set import parse
    from fwd_server.store.reports import report_spend

    with file_errors_explained(f"{keys_file} cannot be used", "--keys-file PATH names another one"):
        keys = parse(keys_file.read_bytes()).keys
    rules = {rule.id: rule for rule in keys.list_rules() if rule.is_budget}
    if not rules:
        click.echo(f"{keys_file} has no budget: fwd generate-key --budget 5/day makes a key with one.", err=True)
        return
    with ledger.open_ledger(data) as store:
        rows = report_spend(store, rules.values(), time.time())
    if as_json:
        click.echo("".join(render.as_json(_facts(row)) for row in rows), nl=False)
    else:
        Rows(COLUMNS, [_cells(rules[row["rule"]].label, row) for row in rows], COLUMNS[1:5]).show()


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    amounts = {f"{name}_{unit}": row[name] if unit == "nano" else ledger.exact_dollars(row[name])
               for name in ("limit", "spent", "left") for unit in ("usd", "nano")}  # fmt: skip
    names = ("rule", "scope", "subject", "window", "mode", "period", "calls")
    return {
        **{name: row[name] for name in names},
        **amounts,
        "resets_at": _moment(row["resets_at"]) or None,
        "runs_out_at": _moment(row["runs_out_at"]) or None,
    }


def _cells(label: str, row: dict[str, Any]) -> list[str]:
    window = "for ever" if row["window"] == "all" else f"a {row['window']}"
    soft = ", soft" if row["mode"] == "soft" else ""
    percent = f"{100 * row['spent'] / row['limit']:.0f}" if row["limit"] else ""
    amounts = [ledger.dollars(row[name]) if row[name] >= 0 else f"-{ledger.dollars(-row[name])}"
               for name in ("limit", "spent", "left")]  # fmt: skip
    return [f"{label}, {window}{soft}", *amounts, percent, _moment(row["resets_at"]), _moment(row["runs_out_at"])]


def _moment(seconds: float | None) -> str:
    return "" if seconds is None else ledger.show_time(round(seconds * ledger.MICRO))
