"""Whether a file has changed and is at rest again: polled, for file events do not reach over all mounts.

A ConfigMap changes a link, an editor replaces the file, a deployment tool removes it first: what counts is what the
path leads to, and that nothing more happens to it for a second.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from attrs import define, field

SETTLED_S: Final = 1.0

_State = tuple[int, int, int] | None  # size, time of the last change, inode; None: there is no such file


def file_state(path: Path) -> _State:
    """What tells one content of a path from the next."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_size, found.st_mtime_ns, found.st_ino
    return None


@define
class FileWatch:
    """Watches one path. ``now`` is in monotonic seconds."""

    path: Path
    _taken: _State = field(init=False)
    _seen: _State = field(init=False)
    _since: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        self.take()

    def take(self) -> None:
        """What is there now is known."""
        self._taken = self._seen = file_state(self.path)

    def poll(self, now: float) -> bool:
        """Whether it has changed since it was taken, and not any more for a second; then it is taken."""
        state = file_state(self.path)
        if state != self._seen:
            self._seen, self._since = state, now
        if self._seen == self._taken or now - self._since < SETTLED_S:
            return False
        self._taken = self._seen
        return True
