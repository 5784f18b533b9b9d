"""The key file: read it, notice its changes, change it, and refuse it when others may write it.

Plain file operations and a state machine that is told the time; who polls it, and how often, is not its business.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
import sys
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from fwd_server.store.atomic import alone_in, replace, sync_directory
from fwd_server.store.key_set import NO_OPTIONS, KeySet, Listed, fingerprint_of, hardened, line, listed, parse, without

SETTLED_S: Final = 1.0  # a state that has not changed for so long is taken (contract D8)
GONE_S: Final = 5.0  # a file that is missing for so long counts as removed
_MOST_ALERTS: Final = 20
_READ_BYTES: Final = 1 << 20
_NEVER: Final = b"not read yet"


class KeyFileError(Exception):
    """A file with secrets that must not be used as it is: others may write it, or it is not where it seems."""


@frozen
class _Content:
    """The file at one moment: its bytes, or why there are none."""

    data: bytes | None = field(repr=False)
    why: str = ""
    written_ns: int = 0

    @property
    def state(self) -> bytes | None:
        """What two moments are compared by; the keys themselves are not kept."""
        return None if self.data is None else fingerprint_of(self.data)

    @property
    def stamp(self) -> tuple[bytes | None, int]:
        """Changes with every write, also where the content is the same again.

        A busy process may look twice, a second apart, and find the file empty both times in the middle of two writes.
        """
        return self.state, self.written_ns


@define
class KeyFile:
    """The keys of a file, kept up to date by ``poll`` (contract D8).

    The file is read whole, parsed whole and swapped; while it is still changing the old keys hold.
    """

    path: Path
    counts: bool = True  # whether limits and budgets can be kept
    keys: KeySet = field(factory=KeySet, init=False)
    _modes: tuple[str, ...] = field(default=(), init=False)
    _alerts: tuple[str, ...] = field(default=(), init=False)
    _trouble: str = field(default="", init=False)
    _taken: bytes | None = field(default=_NEVER, init=False, repr=False)
    _seen: tuple[bytes | None, int] = field(default=(_NEVER, 0), init=False, repr=False)
    _since: float = field(default=0.0, init=False)

    def poll(self, now: float) -> bool:
        """Look at the file; True when keys or notices are not what they were. ``now`` is monotonic, in seconds.

        The first call takes the file as it is, and raises KeyFileError when it must not be used. Later ones see a
        change within 2 s when they come every half second.
        """
        first = self._taken == _NEVER
        if first:
            self._modes = check_modes(self.path)
        try:
            content = _look(self.path)
        except OSError as error:  # no more file descriptors, say: that is no news about the keys
            return self._set_trouble(f"{self.path} cannot be read now ({error.strerror}): the keys stay as they were")
        better = self._set_trouble("")
        return self._take(content) if first or self._is_settled(content, now) else better

    def _is_settled(self, content: _Content, now: float) -> bool:
        """Whether the file has a new state that has stayed the same for long enough."""
        state = content.state
        if content.stamp != self._seen:
            self._seen, self._since = content.stamp, now
        wait = GONE_S if state is None else SETTLED_S
        return state != self._taken and now - self._since >= wait

    def _take(self, content: _Content) -> bool:
        parsed = parse(content.data or b"", counts=self.counts)
        self._taken, self._seen = content.state, content.stamp
        self.keys = parsed.keys
        self._alerts = _alerts(self.path, content, parsed.alerts, len(parsed.keys))
        return True

    def _set_trouble(self, trouble: str) -> bool:
        changed = trouble != self._trouble
        self._trouble = trouble
        return changed

    def notices(self) -> tuple[str, ...]:
        """What somebody should know or do about the file, in sentences without secrets."""
        return (*self._modes, *self._alerts, *([self._trouble] if self._trouble else []))

    def summary(self) -> str:
        """How many keys there are, and where, in a few words."""
        return f"{len(self.keys) or 'none'} in {self.path}"


def _alerts(path: Path, content: _Content, bad: tuple[str, ...], keys: int) -> tuple[str, ...]:
    shown = [f"{path} {alert}" for alert in bad[:_MOST_ALERTS]]
    if len(bad) > _MOST_ALERTS:
        shown.append(f"{path}: {len(bad) - _MOST_ALERTS} more lines were skipped")
    if not keys:
        shown.append(f"{path} {content.why or 'holds no key'}: every call is refused; `fwd generate-key` adds a key")
    return tuple(shown)


def _look(path: Path) -> _Content:
    """The file as it is now. Raises OSError when that cannot be known."""
    try:
        data, written_ns = _read(path)
        return _Content(data, written_ns=written_ns)
    except (FileNotFoundError, NotADirectoryError):
        return _Content(None, "does not exist")
    except (PermissionError, IsADirectoryError) as error:
        return _Content(None, f"cannot be read ({error.strerror})")


def _read(path: Path) -> tuple[bytes, int]:
    """The content, and when it was last written before that (ns): a write in between is seen the next time."""
    # Without O_NONBLOCK a named pipe in the file's place would block until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | _flag("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "not a regular file", str(path))
        return b"".join(iter(lambda: os.read(descriptor, _READ_BYTES), b"")), status.st_mtime_ns
    finally:
        os.close(descriptor)


def _flag(*names: str) -> int:
    """Flags of ``os.open``, as far as this system has them."""
    return sum(getattr(os, name, 0) for name in names)


def append_key(
    path: Path, key: str, *, name: str = "", expires: str = "", options: Mapping[str, str] = NO_OPTIONS
) -> None:
    """Add a key to the file, in one write; the file and its directory are made when they are missing.

    The file is 0600 and the directory 0700. A link is refused: what is written must be where it seems. Raises
    BadLine (a ValueError) for a key, a name or a time that could not be read again, and OSError.
    """
    text = line(key, name=name, expires=expires, options=options).encode("ascii") + b"\n"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_symlink():  # O_NOFOLLOW says it without a gap, where there is such a flag
        raise OSError(errno.ELOOP, "the file is a symbolic link", str(path))
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | _flag("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
    with alone_in(path.parent):  # or it might go into a file that is being replaced
        descriptor = os.open(path, flags, 0o600)
        try:
            _append(descriptor, text, path)
        finally:
            os.close(descriptor)
    # A new file survives a power failure only once its directory was written, too.
    sync_directory(path.parent)


def _append(descriptor: int, text: bytes, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    # An editor may have left the last line without its end; the new key would become a part of it.
    whole = text if _ends_with_newline(descriptor) else b"\n" + text
    if os.write(descriptor, whole) != len(whole):
        raise OSError(errno.ENOSPC, "the key was only partly written and is not valid", str(path))
    os.fsync(descriptor)


def _ends_with_newline(descriptor: int) -> bool:
    """True for an empty file too."""
    size = os.fstat(descriptor).st_size
    if not size:
        return True
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1) == b"\n"


def read_keys(path: Path) -> tuple[Listed, ...]:
    """Every key in the file as its owner may see it. Raises OSError."""
    return listed(_read(path)[0])


def revoke(path: Path, digests: Set[bytes]) -> int:
    """Take keys out of the file, by their digests; how many lines held one. Raises OSError (contract T15)."""
    return _rewrite(path, lambda data: without(data, digests))


def harden(path: Path) -> int:
    """Write every key in clear as its digest; how many lines held one. Raises OSError (contract T15).

    The keys stay good: only whoever reads the file cannot use them any more.
    """
    return _rewrite(path, hardened)


def _rewrite(path: Path, change: Callable[[bytes], tuple[bytes, int]]) -> int:
    """Change the file in one step; how many of its lines that took."""
    with alone_in(path.parent):
        data, lines = change(_read(path)[0])
        if lines:
            replace(path, data)
    return lines


def check_modes(path: Path) -> tuple[str, ...]:
    """Warnings about who may read a file with secrets; none when there is no such file (contract T14).

    Raises KeyFileError when everybody may write it, or when it is a link to outside of its directory.
    """
    if sys.platform == "win32":  # pragma: no cover - modes say nothing there
        return ()
    home = Path(os.path.realpath(path.parent))
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(home):
        raise KeyFileError(f"{path} is a link to {real}, outside of its directory: put the file itself there")
    try:
        status = real.stat()
        read_only = bool(os.statvfs(real).f_flag & os.ST_RDONLY)
    except OSError:  # whoever reads the file says why it cannot be read
        return ()
    if not stat.S_ISREG(status.st_mode):  # nor is what it is: nobody should change the mode of /tmp
        return ()
    mode = stat.S_IMODE(status.st_mode)
    remedy = f"chmod 600 {shlex.quote(str(path))}"
    if mode & stat.S_IWOTH:
        raise KeyFileError(f"{path} is writable by everyone on this machine (mode {mode:03o}): {remedy}")
    groups = {os.getegid(), *os.getgroups()}
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and not is_lent(status, os.geteuid(), groups, read_only=read_only):
        return (f"{path} is accessible to others on this machine (mode {mode:03o}): {remedy}",)
    return ()


def is_lent(status: os.stat_result, uid: int, groups: Set[int], *, read_only: bool) -> bool:
    """Whether a file is somebody else's, who lets this process read it through a group, and nobody beside.

    Kubernetes mounts secrets so (``fsGroup``): root's, mode 0440, read-only. The group is then how we are meant to read
    it, and no chmod of ours could help. https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
    """
    is_ours_to_change = not read_only and uid in (0, status.st_uid)
    others = status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return others == stat.S_IRGRP and status.st_gid in groups and not is_ours_to_change


def secure_process() -> None:
    """Files this process makes are its owner's alone, and a crash leaves no memory on disk (contract T14)."""
    os.umask(0o077)
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
