"""The journal: every event of every call, durable within the commit it came in, in a file that one process owns.

Whatever arrives while a commit runs is the next batch, so nobody waits on purpose: a batch of one at rest, of many
under load. A body is a JSON array of events in the order they came:

    ["o", id, row]           a call is open: written before the first byte goes upstream
    ["h", id, hold]          its hold was raised
    ["e", id, row, attempts] it ended: written before the last byte goes to the caller
    ["x", id]                it was never sent: its "o" came too late
    ["a", row]               an adjustment of a budget

The file is SQLite in WAL mode, locked for as long as the process runs. It is also the spool: while the store cannot be
written, batches stay here.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fwd_server.store.migrate import StoreError

JOURNAL_NAME: Final = "journal.db"
MOST_JOURNALS: Final = 512  # twice as many as workers: old and new ones run side by side during a reload
OWNER_NAME: Final = "owner"
LOCK_S: Final = 5.0  # a predecessor that is ending may need so long
RESERVE_BYTES: Final = 64 * 1024  # the end of the spool is kept for calls that already run
DEFAULT_SPOOL: Final = 1 << 30


class JournalFull(Exception):
    """There is no room for new calls: the store has not taken the old ones for too long."""


class JournalFile:
    """The file itself. Every method may be called from any thread; one commit runs at a time."""

    def __init__(
        self,
        directory: Path,
        *,
        full_sync: bool = False,
        spool: int = DEFAULT_SPOOL,
        lock_s: float = LOCK_S,
        name: str = JOURNAL_NAME,
    ) -> None:
        """Take the file for this process alone. Raises StoreError that names the owner, or says what is wrong."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path: Final = directory / name
        self.spool: Final = spool
        self._lock: Final = threading.Lock()
        with contextlib.suppress(FileExistsError):
            # Made here and not by SQLite, which would let the umask decide who may read it.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        self._connection: Final = sqlite3.connect(
            self.path, timeout=lock_s, isolation_level=None, check_same_thread=False
        )
        try:
            self.id: Final = self._prepare(full_sync)
            self._bytes = self._measure()
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise _explain_lock(error, self.path) from error
        # For the message of the next process only: the lock is SQLite's, and goes with the process.
        (directory / OWNER_NAME).write_text(f"{os.getpid()}\n")

    def _prepare(self, full_sync: bool) -> str:
        execute = self._connection.execute
        # The lock goes with the process, however that ends. Set before WAL, which then needs no shared memory:
        # https://www.sqlite.org/wal.html#use_of_wal_without_shared_memory
        execute("pragma locking_mode = exclusive")
        execute("pragma journal_mode = wal")
        execute(f"pragma synchronous = {'full' if full_sync else 'normal'}")
        execute("begin exclusive")
        # autoincrement: a number is never used twice, or the store would take a new batch for an old one.
        execute("create table if not exists batch(seq integer primary key autoincrement, body blob not null)")
        execute("create table if not exists snapshot(name text primary key, at integer, body blob)")
        execute("insert or ignore into snapshot values('journal', 0, ?)", (uuid.uuid4().hex.encode(),))
        execute("commit")
        (body,) = execute("select body from snapshot where name = 'journal'").fetchone()
        return bytes(body).decode()

    def _measure(self) -> int:
        (size,) = self._connection.execute("select coalesce(sum(length(body)), 0) from batch").fetchone()
        return int(size)

    @property
    def size(self) -> int:
        """Bytes of events that are not in the store yet."""
        return self._bytes

    def check_room(self, needed: int, *, opens: bool) -> None:
        """Raise JournalFull when so many bytes do not fit; the last 64 KiB are for calls that already run."""
        room = self.spool - (RESERVE_BYTES if opens else 0)
        if self._bytes + needed > room:
            raise JournalFull(f"the journal holds {self._bytes:,} bytes that are not in the store yet")

    def append(self, events: Sequence[bytes]) -> int:
        """Write a batch; when this returns it is durable. Its number. Raises sqlite3.OperationalError."""
        body = b"[" + b",".join(events) + b"]"
        with self._lock:
            cursor = self._connection.execute("insert into batch(body) values(?)", (body,))
            self._bytes += len(body)
            return int(cursor.lastrowid or 0)

    def read_after(self, seq: int, most: int = 64) -> list[tuple[int, bytes]]:
        """Batches with a higher number, in order."""
        with self._lock:
            sql = "select seq, body from batch where seq > ? order by seq limit ?"
            return [(int(number), bytes(body)) for number, body in self._connection.execute(sql, (seq, most))]

    def delete_up_to(self, seq: int) -> None:
        """Remove batches that the store has."""
        with self._lock:
            sql = "select coalesce(sum(length(body)), 0) from batch where seq <= ?"
            (gone,) = self._connection.execute(sql, (seq,)).fetchone()
            self._connection.execute("delete from batch where seq <= ?", (seq,))
            self._bytes -= int(gone)

    def close(self) -> None:
        """Give the file back."""
        with self._lock:
            self._connection.close()


class JournalInUse(StoreError):
    """Another process has it."""


def take_free_journal(directory: Path, *, full_sync: bool = False, spool: int = DEFAULT_SPOOL) -> JournalFile:
    """The first journal that no other worker has. Raises StoreError when there is none, or it cannot be used."""
    for number in range(MOST_JOURNALS):
        name = JOURNAL_NAME if number == 0 else f"journal-{number}.db"
        with contextlib.suppress(JournalInUse):
            return JournalFile(directory, full_sync=full_sync, spool=spool, lock_s=0.0, name=name)
    raise JournalInUse(f"{directory} is in use by {MOST_JOURNALS} other workers; FWD_DATA names another directory")


def _explain_lock(error: sqlite3.DatabaseError, path: Path) -> StoreError:
    directory = path.parent
    if not isinstance(error, sqlite3.OperationalError):
        return StoreError(f"{path} is corrupt ({error}): `fwd store recover` moves it aside")
    if "locked" not in str(error):
        return StoreError(f"{directory} cannot be written ({error}); FWD_DATA names another directory")
    owner = ""
    with contextlib.suppress(OSError):
        owner = (directory / OWNER_NAME).read_text().strip()
    who = f"process {owner}" if owner.isdigit() else "another process"
    return JournalInUse(f"{directory} is in use by {who}; FWD_DATA names another directory")
