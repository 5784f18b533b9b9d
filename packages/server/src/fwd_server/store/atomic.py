"""Files that are given new content in one step, and directories that one writer at a time may change."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]  # there is no such thing there


def replace(path: Path, data: bytes) -> None:
    """Give a file new content: whoever looks sees the old one or the new one, never a part (contract T15).

    The content is written to a file beside it, made durable, and renamed. Mode and owner stay as they were; a new file
    is 0600, a new directory 0700. Raises OSError, and then nothing has changed; a link is refused, because the content
    must be where it seems to be.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "the file is a symbolic link", str(path))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # In the same directory: a rename is one step only within a file system.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            _take_over(path, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    sync_directory(path.parent)


def _take_over(path: Path, descriptor: int) -> None:
    """Give an open file the mode and the owner of the one at ``path``, if there is one and the system has such."""
    if not path.exists() or not hasattr(os, "fchown"):
        return
    before, now = path.stat(), os.fstat(descriptor)
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def sync_directory(directory: Path) -> None:
    """Make a new file's name as durable as its content, where the system can (Windows cannot)."""
    # Where it cannot, the content is stored all the same, and good until the power fails.
    with contextlib.suppress(OSError), _opened(directory) as descriptor:
        os.fsync(descriptor)


@contextlib.contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Hold back everybody else who asks for the same directory, as long as the block lasts.

    Where the system has no such locks (Windows, some network disks) nobody is held back.
    """
    with contextlib.ExitStack() as stack:
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(stack.enter_context(_opened(directory)), fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
