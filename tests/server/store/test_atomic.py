"""Files that change in one step."""

from __future__ import annotations

import multiprocessing
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from fwd_server.store import atomic
from fwd_server.store.atomic import alone_in, replace

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """T14: 0600, in a directory of 0700."""
    path = tmp_path / "new" / "file"
    replace(path, b"secret")
    assert path.read_bytes() == b"secret"
    if sys.platform != "win32":
        assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
def test_the_mode_stays(tmp_path: Path, mode: int) -> None:
    """Who may read it is not ours to change."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    replace(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


@posix
def test_the_owner_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that runs under its own name can still read what root has rewritten."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    given: list[tuple[int, int]] = []
    mine = os.fstat
    monkeypatch.setattr(atomic.os, "fchown", lambda descriptor, user, group: given.append((user, group)))
    monkeypatch.setattr(
        atomic.os, "fstat", lambda descriptor: os.stat_result((*mine(descriptor)[:4], 12345, *mine(descriptor)[5:10]))
    )
    replace(path, b"new")
    assert given == [(path.stat().st_uid, path.stat().st_gid)]


def test_what_fails_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T15: the old content, and nothing beside it."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace(path, b"new")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"old")]


@posix
def test_a_link_is_refused(tmp_path: Path) -> None:
    """What is written must be where it seems."""
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(OSError, match="symbolic link"):
        replace(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_bytes() == b"old"


def test_a_reader_sees_the_old_or_the_new(tmp_path: Path) -> None:
    """T15: never a part, whenever it looks."""
    path = tmp_path / "file"
    contents = [letter * 100_000 for letter in (b"a", b"b")]
    replace(path, contents[0])
    done = threading.Event()
    seen = []

    def look() -> None:
        while not done.is_set():
            seen.append(path.read_bytes() in contents)

    reader = threading.Thread(target=look)
    reader.start()
    for turn in range(100):
        replace(path, contents[turn % 2])
    done.set()
    reader.join()
    assert seen
    assert all(seen)


def _count_up(path: Path, times: int) -> None:
    for _ in range(times):
        with alone_in(path.parent):
            replace(path, str(int(path.read_text()) + 1).encode())


@posix
def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """Read, change and write of several processes never cross."""
    path = tmp_path / "counter"
    replace(path, b"0")
    method = multiprocessing.get_context("spawn")
    writers = [method.Process(target=_count_up, args=(path, 25)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() == "75"


def test_without_locks_nobody_is_held_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has none."""
    monkeypatch.setattr(atomic, "fcntl", None)
    with alone_in(tmp_path), alone_in(tmp_path):
        pass


def test_a_system_without_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the content alone is replaced."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.delattr(atomic.os, "fchown", raising=False)
    replace(path, b"new")
    assert path.read_bytes() == b"new"
