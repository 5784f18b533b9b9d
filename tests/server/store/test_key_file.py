"""The key file on a disk: reading, noticing, adding, refusing."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fwd_server.store import key_file as files
from fwd_server.store.atomic import sync_directory
from fwd_server.store.key_file import KeyFile, KeyFileError, append_key, check_modes
from fwd_server.store.key_set import BadLine

KEY = "fwd_" + "k" * 43
OTHER = "fwd_" + "o" * 43
POLL_S = 0.5

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the key file of a test is."""
    return tmp_path / "keys" / "keys.txt"


def write(path: Path, text: str) -> None:
    """Put a key file there, as its owner's alone."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def allows(file: KeyFile, key: str) -> bool:
    """Whether the keys in force allow one."""
    return file.keys.find(key, 1.8e9) is not None


def opened(path: Path, text: str) -> KeyFile:
    """A file with this text, taken at second 0."""
    write(path, text)
    file = KeyFile(path)
    assert file.poll(0.0)
    return file


def ticks(start: float = POLL_S) -> Iterator[float]:
    """Moments at which the file is looked at."""
    return itertools.count(start, POLL_S)


def until_change(file: KeyFile, moments: Iterator[float]) -> float:
    """Poll until something changes; the moment of it."""
    return next(now for now in moments if file.poll(now))


def test_the_file_is_taken_at_once_at_the_start(path: Path) -> None:
    """Nothing has to settle first."""
    file = opened(path, f"{KEY} name=web\n")
    assert allows(file, KEY)
    assert file.notices() == ()
    assert file.summary() == f"1 in {path}"


@pytest.mark.parametrize(
    ("text", "why"), [(None, "does not exist"), ("", "holds no key"), ("# none\n", "holds no key")]
)
def test_without_keys_everybody_is_refused_and_it_is_said(path: Path, text: str | None, why: str) -> None:
    """Design section 4: the server starts, says so, and answers 401 to all."""
    if text is not None:
        write(path, text)
    file = KeyFile(path)
    assert file.poll(0.0)
    assert not allows(file, KEY)
    assert file.summary() == f"none in {path}"
    assert file.notices() == (f"{path} {why}: every call is refused; `fwd generate-key` adds a key",)


def test_a_change_is_taken_after_one_second_of_rest_and_within_two(path: Path) -> None:
    """Contract D8, R7: with a poll every half second."""
    file = opened(path, f"{KEY}\n")
    write(path, f"{OTHER}\n")
    assert until_change(file, ticks()) == 1.5
    assert (allows(file, KEY), allows(file, OTHER)) == (False, True)
    assert not any(file.poll(now) for now in (2.0, 2.5, 10.0))


def test_while_the_file_changes_the_old_keys_hold(path: Path) -> None:
    """Contract D8: every new state starts the second anew."""
    file = opened(path, f"{KEY}\n")
    for now, length in zip(ticks(), range(1, 20), strict=False):
        write(path, f"# {'x' * length}\n{OTHER}\n")
        assert not file.poll(now)
        assert allows(file, KEY)
    assert file.poll(11.0)
    assert not allows(file, KEY)


def test_truncate_then_write_denies_nobody(path: Path) -> None:
    """Contract D8: an editor that empties the file first is not an order to refuse everybody."""
    file = opened(path, f"{KEY}\n")
    write(path, "")
    assert not file.poll(0.5)
    write(path, f"{KEY}\n{OTHER}\n")
    assert until_change(file, ticks(1.0)) == 2.0
    assert allows(file, KEY)
    assert allows(file, OTHER)


def test_a_file_that_stays_empty_denies_all(path: Path) -> None:
    """Contract D8: taken as it is after a second, with an alert."""
    file = opened(path, f"{KEY}\n")
    write(path, "")
    assert until_change(file, ticks()) == 1.5
    assert not allows(file, KEY)
    assert "holds no key" in file.notices()[0]


def test_a_missing_last_newline_is_fine_and_a_bad_line_is_named(path: Path) -> None:
    """Contract D8."""
    file = opened(path, f"{KEY}\n")
    write(path, f"{KEY}\nfwd_half\n{OTHER}")
    until_change(file, ticks())
    (notice,) = file.notices()
    assert notice.startswith(f"{path} line 2 is skipped: a key is fwd_ and at least 22 of ")
    assert allows(file, KEY)
    assert allows(file, OTHER)


def test_many_bad_lines_are_counted(path: Path) -> None:
    """A file that is something else does not fill the log."""
    notices = opened(path, "x\n" * 1000 + KEY).notices()
    assert len(notices) == 21
    assert notices[-1] == f"{path}: 980 more lines were skipped"


def test_a_file_that_is_gone_for_five_seconds_denies_all(path: Path) -> None:
    """Contract D8, with an alert; and back it is read again."""
    file = opened(path, f"{KEY}\n")
    path.unlink()
    assert until_change(file, ticks()) == 5.5
    assert not allows(file, KEY)
    assert "does not exist: every call is refused" in file.notices()[0]
    write(path, f"{KEY}\n")
    assert until_change(file, ticks(6.0)) == 7.0
    assert allows(file, KEY)
    assert file.notices() == ()


def test_a_file_that_is_replaced_is_never_gone(path: Path) -> None:
    """Contract D8: an editor that renames, or a volume that is mounted anew, may take four seconds."""
    file = opened(path, f"{KEY}\n")
    path.unlink()
    assert not any(file.poll(now) for now in (0.5, 2.0, 4.0))
    write(path, f"{KEY}\n")
    assert not any(file.poll(now) for now in (4.5, 5.0, 6.0, 20.0))
    assert allows(file, KEY)


def test_a_state_that_returns_is_no_change(path: Path) -> None:
    """There and back within a second, or in five: the keys are the same."""
    file = opened(path, f"{KEY}\n")
    write(path, f"{OTHER}\n")
    assert not file.poll(0.5)
    write(path, f"{KEY}\n")
    assert not any(file.poll(now) for now in (1.0, 2.0, 3.0))


def test_the_same_size_at_the_same_time_is_a_change_all_the_same(path: Path) -> None:
    """The content decides, not what the file system says of it."""
    file = opened(path, f"{KEY}\n")
    before = path.stat()
    write(path, f"{OTHER}\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    until_change(file, ticks())
    assert allows(file, OTHER)


def test_a_thousand_rewrites_deny_nobody_and_revoke_in_two_seconds(path: Path) -> None:
    """Contract D8 with a fake clock and a real file: 0 wrong denials, 0 late accepts.

    Every rewrite truncates, is caught at it by a poll in one of four ways, and swaps the second key.
    """
    file = opened(path, f"{KEY}\n")
    now = 0.0
    for turn in range(1000):
        second = f"fwd_{turn:043d}"
        before = list(file.keys.entries)
        with path.open("w") as target:
            now += POLL_S * (turn % 2)
            file.poll(now)
            assert list(file.keys.entries) == before
            target.write(f"{KEY}\n{second[: turn % 40]}")
            target.flush()
            now += POLL_S * (turn % 4 > 1)
            file.poll(now)
            assert allows(file, KEY)
            target.seek(0)
            target.write(f"{KEY}\n{second}\n")
        moments = itertools.takewhile(lambda moment, end=now + 2.0: moment <= end, ticks(now + POLL_S))  # type: ignore[misc]
        now = until_change(file, moments)
        assert allows(file, KEY)
        assert allows(file, second)
        assert len(file.keys) == 2


def test_a_writer_in_another_thread_never_makes_a_key_vanish(path: Path) -> None:
    """Contract D8 with the machine's clock: 1,000 truncations while we look at every millisecond, then a revocation."""
    file = opened(path, f"{KEY}\n")
    writer = threading.Thread(target=lambda: [path.write_text(f"# {turn}\n{KEY}\n") for turn in range(1000)])
    writer.start()
    while writer.is_alive():
        file.poll(time.monotonic())
        assert allows(file, KEY)
        writer.join(0.001)
    write(path, f"{OTHER}\n")
    now = time.monotonic()
    until_change(file, iter((now + 0.5, now + 1.5)))
    assert (allows(file, KEY), allows(file, OTHER)) == (False, True)


@posix
def test_an_error_that_says_nothing_of_the_file_changes_nothing(path: Path) -> None:
    """As with no file descriptor left (contract D11): the keys stay, which is said once and taken back."""
    file = opened(path, f"{KEY}\n")
    path.rename(path.with_suffix(".kept"))
    path.symlink_to(path)
    assert [file.poll(now) for now in (0.5, 10.0)] == [True, False]
    assert allows(file, KEY)
    assert file.notices() == (f"{path} cannot be read now ({os.strerror(errno.ELOOP)}): the keys stay as they were",)
    path.with_suffix(".kept").replace(path)
    assert file.poll(10.5)
    assert file.notices() == ()


def test_a_directory_in_its_place_is_no_key_file(path: Path) -> None:
    """It is as if the file were gone, and said as it is."""
    path.mkdir(parents=True, mode=0o700)
    path.chmod(0o700)
    file = KeyFile(path)
    assert file.poll(0.0)
    assert "cannot be read (" in file.notices()[0] or "not a regular file" in file.notices()[0]


@posix
def test_a_pipe_in_its_place_blocks_nobody(path: Path) -> None:
    """Opening one would wait for a writer."""
    path.parent.mkdir()
    os.mkfifo(path, 0o600)
    file = KeyFile(path)
    assert file.poll(0.0)
    assert "not a regular file" in file.notices()[0]
    with pytest.raises(OSError, match="not a regular file"):
        append_key(path, KEY)


def test_nothing_of_a_key_is_in_the_text_of_a_key_file(path: Path) -> None:
    """Contract T16."""
    file = opened(path, f"{KEY}\n")
    assert KEY not in repr(file)


@posix
def test_a_key_is_added_to_a_new_file_that_is_its_owners_alone(path: Path) -> None:
    """Contract T14: 0700 and 0600, whatever the umask."""
    before = os.umask(0)
    try:
        append_key(path, KEY, name="web", expires="2027-01-31")
    finally:
        os.umask(before)
    assert path.read_text() == f"{KEY} name=web expires=2027-01-31\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert check_modes(path) == ()


@pytest.mark.parametrize("last", ["", "\n", "\r\n"])
def test_a_key_is_added_on_a_line_of_its_own(path: Path, last: str) -> None:
    """A last newline that is missing is added first; what stands there stays."""
    write(path, f"# mine\n{OTHER}{last}")
    append_key(path, KEY)
    file = KeyFile(path)
    file.poll(0.0)
    assert file.notices() == ()
    assert allows(file, KEY)
    assert allows(file, OTHER)
    assert path.read_text().startswith("# mine\n")


def test_many_writers_lose_no_line(path: Path) -> None:
    """Each key is one write at the end of the file."""
    keys = [f"fwd_{number:043d}" for number in range(200)]
    threads = [threading.Thread(target=append_key, args=(path, key)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_text().split()) == keys


def test_what_is_no_key_is_not_added(path: Path) -> None:
    """And nothing is made."""
    with pytest.raises(BadLine, match="at least 22"):
        append_key(path, "fwd_short")
    assert not path.parent.exists()


@posix
def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """What is written must be where it seems; what it points at stays as it is."""
    target = tmp_path / "elsewhere"
    path.parent.mkdir()
    path.symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        append_key(path, KEY)
    assert not target.exists()


def test_a_key_that_is_written_in_part_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is nearly full: the half line is no key, and the next one starts on a new line."""
    write_all = os.write
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "write", lambda descriptor, data: write_all(descriptor, data[:20]))
        with pytest.raises(OSError, match="partly written"):
            append_key(path, OTHER)
    append_key(path, KEY)
    file = KeyFile(path)
    file.poll(0.0)
    assert (allows(file, KEY), allows(file, OTHER), len(file.notices())) == (True, False, 1)


@posix
def test_a_directory_that_cannot_be_synced_does_not_lose_the_key(path: Path) -> None:
    """The key is in the file; only a power cut could take it."""
    append_key(path, KEY)
    sync_directory(path.parent / "missing")
    assert path.read_text() == f"{KEY}\n"


@posix
@pytest.mark.parametrize("name", ["forwarder_api_keys.txt", ".env", "fwd.sqlite"])
@pytest.mark.parametrize("mode", [0o600 | group << 3 | other for group in (0, 2, 4, 6) for other in (0, 2, 4, 6)])
def test_modes_are_fine_warned_about_or_refused(tmp_path: Path, name: str, mode: int) -> None:
    """Contract T14: 16 combinations on each of three files."""
    path = tmp_path / name
    path.touch()
    path.chmod(mode)
    if mode & 0o002:
        with pytest.raises(KeyFileError, match=f"writable by everyone.*mode {mode:03o}.*: chmod 600 "):
            check_modes(path)
    else:
        warning = f"{path} is accessible to others on this machine (mode {mode:03o}): chmod 600 {path}"
        assert check_modes(path) == ((warning,) if mode & 0o077 else ())


@posix
@pytest.mark.parametrize(
    ("mode", "uid", "gid", "read_only", "lent"),
    [
        (0o440, 0, 7, False, True),  # Kubernetes: root's, read through fsGroup
        (0o640, 0, 7, False, True),
        (0o440, 1000, 7, True, True),  # ours, on a mount that nobody can write
        (0o440, 1000, 7, False, False),  # ours: chmod 600 helps
        (0o440, 0, 8, False, False),  # a group that is not ours
        (0o444, 0, 7, False, False),
        (0o460, 0, 7, False, False),
        (0o450, 0, 7, False, False),
    ],
)
def test_a_secret_that_is_lent_through_a_group_is_fine(
    mode: int, uid: int, gid: int, read_only: bool, lent: bool
) -> None:
    """Contract T14: group-readable is no news where the file is not ours to change and its group is one of ours."""
    status = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))
    assert files.is_lent(status, 1000, {5, 7}, read_only=read_only) is lent


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can give a file away")
def test_a_secret_of_a_pod_needs_no_attention() -> None:
    """The same with a real file and as another user: no notice, so `/ready` is not degraded for ever."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders let nobody else in
        path = Path(folder) / "keys.txt"
        write(path, f"{KEY}\n")
        path.chmod(0o440)
        os.chown(path, 0, 7777)
        Path(folder).chmod(0o755)
        seen = []
        for group in (7777, 8888):
            try:
                os.setegid(group)
                os.seteuid(4444)
                seen.append(check_modes(path))
            finally:
                os.seteuid(0)
                os.setegid(0)
    assert seen[0] == ()
    assert "chmod 600" in seen[1][0]


@posix
def test_a_link_out_of_the_directory_is_refused_and_one_inside_is_fine(tmp_path: Path) -> None:
    """Contract T14; a mounted secret is a link inside its own directory, and the directory may be a link."""
    home = tmp_path / "keys"
    write(home / "real.txt", KEY)
    (home / "inside").symlink_to("real.txt")
    (home / "outside").symlink_to("/etc/hostname")
    (home / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "linked").symlink_to(home)
    assert check_modes(home / "inside") == check_modes(tmp_path / "linked" / "real.txt") == ()
    for name in ("outside", "dangling"):
        with pytest.raises(KeyFileError, match="outside of its directory"):
            check_modes(home / name)


@posix
def test_a_directory_in_its_place_keeps_its_mode(path: Path) -> None:
    """Nobody is told to chmod /tmp: what is wrong is said by whoever reads it, and all are refused."""
    path.mkdir(parents=True)
    path.chmod(0o777)
    assert check_modes(path) == ()
    file = KeyFile(path)
    assert file.poll(0.0)
    assert not allows(file, KEY)


def test_a_file_that_is_not_there_is_not_warned_about(path: Path) -> None:
    """Whoever reads it says so."""
    assert check_modes(path) == ()


@posix
def test_the_modes_are_looked_at_when_the_file_is_first_read(path: Path) -> None:
    """Contract T14: one loud warning, or no start."""
    write(path, f"{KEY}\n")
    path.chmod(0o640)
    file = KeyFile(path)
    file.poll(0.0)
    assert "chmod 600" in file.notices()[0]
    path.chmod(0o666)
    with pytest.raises(KeyFileError, match="chmod 600"):
        KeyFile(path).poll(0.0)


@posix
def test_a_secured_process_makes_private_files_and_dumps_no_core(tmp_path: Path) -> None:
    """Contract T14, in a process of its own, which it changes for good."""
    code = "import os, resource; from fwd_server.store.key_file import secure_process; secure_process(); open('f', 'w')"
    code += "; print(resource.getrlimit(resource.RLIMIT_CORE))"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == "(0, 0)\n"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_where_there_is_no_core_limit_only_the_umask_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no module ``resource``."""
    before = os.umask(0o022)
    try:
        monkeypatch.setitem(sys.modules, "resource", None)
        files.secure_process()
        assert os.umask(0o022) == 0o077
    finally:
        os.umask(before)


def test_a_key_is_revoked_and_the_file_keeps_the_rest(path: Path) -> None:
    """Within two seconds the key is refused; the other one never is."""
    file = opened(path, f"# ours\n{KEY} name=web\n{OTHER}\n")
    assert files.revoke(path, {line.digest for line in files.read_keys(path) if line.name == "web"}) == 1
    assert path.read_text() == f"# ours\n{OTHER}\n"
    moments = ticks()
    while not file.poll(next(moments)):
        assert allows(file, OTHER)
    assert (allows(file, KEY), allows(file, OTHER)) == (False, True)


def test_a_hardened_file_keeps_its_keys(path: Path) -> None:
    """T15: the keys are good, and not in the file."""
    write(path, f"{KEY} name=web\n{OTHER}\n")
    assert files.harden(path) == 2
    assert "fwd_" not in path.read_text()
    assert all(allows(opened(path, path.read_text()), key) for key in (KEY, OTHER))


def test_a_file_that_needs_no_change_is_left_alone(path: Path) -> None:
    """Not even written."""
    write(path, "# nothing\n")
    before = path.stat()
    assert (files.harden(path), files.revoke(path, {b"x"})) == (0, 0)
    assert path.stat().st_ino == before.st_ino


def test_no_key_is_lost_between_writers(path: Path) -> None:
    """A key that is added while the file is rewritten stands in it afterwards."""
    write(path, "")
    keys = [f"fwd_{number:043}" for number in range(60)]
    adding = threading.Thread(target=lambda: [append_key(path, key) for key in keys])
    adding.start()
    while adding.is_alive():
        files.harden(path)
    adding.join()
    assert len(files.read_keys(path)) == len(keys)


def test_two_looks_in_the_middle_of_two_writes_are_no_settled_state(path: Path) -> None:
    """D8: a busy process looked a second apart, found the file empty both times, and refused every key."""
    file = opened(path, f"{KEY}\n")
    write(path, "")
    os.utime(path, ns=(1, 10**18))
    assert not file.poll(10.0)
    os.utime(path, ns=(1, 2 * 10**18))  # it was written whole and emptied again in between
    assert not file.poll(11.5)
    assert allows(file, KEY)
    assert file.poll(12.5)
    assert not allows(file, KEY)
