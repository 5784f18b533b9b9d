"""``fwd store``: the ledger as a file: a copy of it, and whether its sums are right."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import click

from fwd_cli import ledger, render
from fwd_cli.errors import Failure
from fwd_cli.options import examples, json_option

_PAGES = 1000  # at a time, so that the gateway can write in between


@click.group(
    name="store",
    epilog=examples("fwd store backup ledger.db", "fwd store check", "fwd store check --data /var/lib/fwd/data"),
)
def command() -> None:
    """Copy and check the ledger.

    Both work while the gateway runs.
    """


@command.command(
    name="backup",
    epilog=examples(
        "fwd store backup ledger.db",
        "fwd store backup /var/backups/fwd-$(date +%F).db",
        "fwd store backup ledger.db --data /var/lib/fwd/data",
    ),
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@ledger.data_option
def backup(file: Path, data: Path) -> None:
    """Copy the ledger to FILE, whole and consistent.

    Copying fwd.db with cp may miss its newest calls. To restore, stop the gateway and put FILE as fwd.db into
    an empty data directory.
    """
    if file.exists():
        raise Failure(f"{file} exists", "a backup never replaces a file", "another name")
    file.touch(mode=0o600)
    with ledger.open_ledger(data) as store, closing(sqlite3.connect(file)) as copy:
        store.backup(copy, pages=_PAGES)
        (calls,) = copy.execute("select count(*) from calls").fetchone()
    click.echo(f"{file}: {calls} calls.")


@command.command(
    name="check",
    epilog=examples("fwd store check", "fwd store check --json", "fwd store check && echo good"),
)
@ledger.data_option
@json_option
def check(data: Path, as_json: bool) -> None:
    """Check that every sum is that of its calls.

    For a ledger from which no call was deleted yet (FWD_KEEP_CALLS). Exit code 1 when something is wrong.
    """
    from fwd_server.store.upkeep import check_store

    with ledger.open_ledger(data) as store:
        problems = check_store(store)
    if as_json:
        click.echo(render.as_json({"problems": problems}), nl=False)
    elif problems:
        click.echo("\n".join(problems))
    else:
        click.echo("Every sum is that of its calls.")
    if problems:
        click.get_current_context().exit(1)
