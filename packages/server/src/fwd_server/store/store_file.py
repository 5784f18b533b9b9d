"""Connections to the store, ``fwd.db``: one for the fold that writes it, any number that read it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fwd_server.store.migrate import StoreError, migrate

STORE_NAME: Final = "fwd.db"
BUSY_S: Final = 5.0  # how long a command waits for another process


def open_store(path: Path, at: int, *, busy_s: float = BUSY_S) -> sqlite3.Connection:
    """The store for writing, made or migrated as needed. Raises StoreError, or sqlite3.OperationalError when locked.

    The directory is made 0700 and the file 0600. Statements run in transactions that the caller begins.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        # SQLite makes its -wal and -shm files with the mode of the main one, so this is enough.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("pragma auto_vacuum = incremental")  # before the first table, or it is too late
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")
        migrate(connection, at)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _explain(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def read_store(path: Path, *, busy_s: float = BUSY_S) -> sqlite3.Connection:
    """The store for reading only. Raises StoreError when there is none, or when it cannot be read."""
    if not path.exists():
        raise StoreError(f"there is no ledger at {path}: it is created with the first call, in the directory FWD_DATA")
    # Read-only by SQLite itself: a report can never write, whatever its text is.
    address = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("select version from schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _explain(error, path) from error
    return connection


def _explain(error: sqlite3.DatabaseError, path: Path) -> Exception:
    """What an error of SQLite means for whoever runs the gateway; a passing one stays what it is."""
    if isinstance(error, sqlite3.OperationalError):
        return error
    return StoreError(f"{path} is corrupt ({error}): `fwd store recover` moves it aside and builds another")
