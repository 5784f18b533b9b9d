"""What the commands that read the ledger share: opening it, and how money, times and keys are shown."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fwd_cli.errors import Failure
from fwd_cli.options import Documented, from_dotenv

if TYPE_CHECKING:
    import sqlite3

MICRO = 1_000_000
data_option = click.option(
    "--data",
    cls=Documented,
    type=click.Path(file_okay=False, path_type=Path),
    envvar="FWD_DATA",
    show_envvar=True,
    default=from_dotenv("FWD_DATA", "data"),
    show_default="data",
    help="Directory with the ledger.",
)
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values with a line of names.")


@contextmanager
def open_ledger(data: Path) -> Iterator[sqlite3.Connection]:
    """The ledger for reading; what a gateway that is gone left in its journal is folded first.

    Raises Failure for a ledger that is not there, in use by something else, or corrupt.
    """
    import sqlite3

    from fwd_server.clock import SystemClock
    from fwd_server.store.ledger import catch_up
    from fwd_server.store.migrate import StoreError
    from fwd_server.store.store_file import STORE_NAME, read_store

    try:
        if data.is_dir():
            catch_up(data, SystemClock())
        with closing(read_store(data / STORE_NAME)) as store:
            yield store
    except StoreError as error:
        raise Failure(f"the ledger in {data} cannot be read", str(error), "fwd usage --data DIRECTORY") from error
    except (OSError, sqlite3.OperationalError) as error:
        raise Failure(
            f"the ledger in {data} cannot be read",
            str(error),
            "again in a moment, as the user that runs the gateway",
        ) from error


def name_keys(store: sqlite3.Connection, ids: Sequence[str]) -> dict[str, str]:
    """What people call these keys: the name that the newest call of each had, or else the id."""
    sql = "select key_name from calls where key_id = ? order by at desc limit 1"
    names: dict[str, str] = {}
    for key_id in ids:
        row = store.execute(sql, (key_id,)).fetchone()
        names[key_id] = (row and row[0]) or key_id
    return names


def find_key_id(store: sqlite3.Connection, word: str) -> str:
    """The id of a key by its id or its name. Raises ``click.UsageError`` for one that has made no call."""
    sql = "select key_id from calls where key_id = ? or key_name = ? order by at desc limit 1"
    row = store.execute(sql, (word, word)).fetchone()
    if row is None:
        raise click.UsageError(f"no call of a key {word!r} is in the ledger")
    return str(row[0])


def dollars(nano: int | None) -> str:
    """An amount for people, exact; unknown is not 0."""
    from fwd_server.metering.money import show_usd

    return "unknown" if nano is None else show_usd(nano)


def exact_dollars(nano: int | None) -> float | None:
    """An amount as a number with at most nine decimals."""
    return None if nano is None else nano / 1_000_000_000


def show_time(micro: int) -> str:
    """A time of the ledger as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(micro / MICRO, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def today() -> str:
    """The UTC day."""
    return datetime.now(timezone.utc).date().isoformat()


def print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows with a line of names; a cell that a spreadsheet could take for a formula is quoted."""
    if not rows:
        return
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain_cell(value) for name, value in row.items()} for row in rows)


def _plain_cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value
