"""Bring a store to this version: numbered SQL files, each applied once, in a transaction, with its hash kept.

A file that was applied and has changed since, and a store of a newer version, stop the start: guessing would risk data.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from importlib import resources
from typing import Final

from attrs import frozen

_TABLE: Final = (
    "create table if not exists schema_version(version int primary key, name text, sha256 text, applied_at bigint)"
)


class StoreError(Exception):
    """A store that cannot be used as it is; the text says why and what to do."""


@frozen
class Migration:
    """One step: its number, its name, its statements."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """The digest that is kept with the step."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def load_migrations() -> tuple[Migration, ...]:
    """Every step of this version, in order."""
    folder = resources.files("fwd_server.store.migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(Migration(int(name[:4]), name[5:-4], folder.joinpath(name).read_text("utf-8")) for name in names)


def find_pending(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> list[Migration]:
    """The steps that are still to be applied. Raises StoreError for a store that this version must not touch."""
    has_table = connection.execute("select 1 from sqlite_master where name = 'schema_version'").fetchone()
    rows = connection.execute("select version, sha256 from schema_version").fetchall() if has_table else []
    known = {step.version: step for step in migrations}
    for version, digest in rows:
        if version not in known:
            raise StoreError(f"the store was written by a newer version of fwd (step {version}): start that version")
        if known[version].sha256 != digest:
            raise StoreError(
                f"step {version} of the store's schema differs from the one it was created with: reinstall fwd-server"
            )
    applied = {version for version, _ in rows}
    return [step for step in migrations if step.version not in applied]


def migrate(connection: sqlite3.Connection, at: int, migrations: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing, one transaction a step; the names of the steps. A second process waits for the lock.

    ``at`` is the time in microseconds of the epoch. Raises StoreError, and then the store is as it was.
    """
    steps = load_migrations() if migrations is None else migrations
    applied: list[str] = []
    for step in find_pending(connection, steps):
        # The second of two processes that start at once waits here, and then finds the step applied (contract D17).
        connection.execute("begin exclusive")
        try:
            connection.execute(_TABLE)
            if step in find_pending(connection, steps):  # another process may have been faster
                for statement in split_statements(step.sql):
                    connection.execute(statement)
                row = (step.version, step.name, step.sha256, at)
                connection.execute("insert into schema_version values(?, ?, ?, ?)", row)
                applied.append(step.name)
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise
    return applied


def split_statements(sql: str) -> list[str]:
    """The statements of a file. ``executescript`` would commit first, and a broken step would be half applied."""
    statements: list[str] = []
    pending = ""
    for line in sql.splitlines(keepends=True):
        if line.lstrip().startswith("--"):
            continue
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    if pending.strip():
        raise StoreError("a step of the schema ends in the middle of a statement")
    return statements
