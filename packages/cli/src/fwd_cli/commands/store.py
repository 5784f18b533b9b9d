"""``fwd store``: the ledger as a file: a copy of it, whether its sums are right, and what to do when it is damaged."""

from __future__ import annotations

import shutil
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
    epilog=examples("fwd store backup ledger.db", "fwd store check", "fwd store recover --from-backup ledger.db"),
)
def command() -> None:
    """Copy, check and recover the ledger.

    Copying and checking work while the gateway runs.
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


@command.command(
    name="recover",
    epilog=examples(
        "fwd store recover",
        "fwd store recover --from-backup ledger.db",
        "fwd store recover --data /var/lib/fwd/data",
    ),
)
@click.option(
    "--from-backup",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    show_default="none",
    help="Copy to begin anew from.",
)
@ledger.data_option
def recover(from_backup: Path | None, data: Path) -> None:
    """Move damaged files of the ledger aside and build a new one.

    What the journal still has is in the new ledger; everything else comes from the backup, or is missing. Stop the
    gateway first. Nothing is deleted.
    """
    from fwd_server.clock import SystemClock
    from fwd_server.store.ledger import catch_up
    from fwd_server.store.migrate import StoreError
    from fwd_server.store.store_file import STORE_NAME, open_store
    from fwd_server.store.upkeep import set_aside

    now = SystemClock().now()
    try:
        moved = set_aside(data, str(int(now)))
        if from_backup is not None:
            if (data / STORE_NAME).exists():
                raise StoreError(f"{data / STORE_NAME} is not damaged, so the backup does not replace it")
            shutil.copyfile(from_backup, data / STORE_NAME)
            (data / STORE_NAME).chmod(0o600)
        open_store(data / STORE_NAME, round(now * ledger.MICRO)).close()
        catch_up(data, SystemClock())
    except (StoreError, OSError, sqlite3.OperationalError) as error:
        raise Failure(f"the ledger in {data} cannot be recovered", str(error), "fwd store recover --help") from error
    for path in moved:
        click.echo(f"Moved aside: {path}")
    click.echo("The ledger can be used." if moved else "No file is damaged.")
