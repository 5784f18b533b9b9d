"""Resources of this process: cores, open files, memory. Container limits count (cgroup v2 and v1)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

CGROUP: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")
_CGROUP_2: Final = ("memory.max", "memory.current", "memory.stat")
_CGROUP_1: Final = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
_NO_LIMIT: Final = 1 << 60  # how cgroup v1 spells it, about
_RESERVED_FILES: Final = 64


def count_cores() -> int:
    """How many cores this process may use, at least 1."""
    with contextlib.suppress(AttributeError):  # Linux only
        # cpu_count() would name the cores of the host, even in a container that may use two of them.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover - elsewhere


def raise_file_limit() -> None:
    """Let this process open as many files as it may (contract T3)."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS allows less than the hard limit says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connection_cap(share: int = 2) -> int | None:
    """How many connections the limit of open files leaves room for, at ``share`` files each.

    None where there is no such limit.
    """
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows
        return None
    # Read after raise_file_limit(), so the soft limit is what really holds.
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(16, soft // share - _RESERVED_FILES)


@frozen
class MemoryUse:
    """How much memory is used, and how much may be, in bytes."""

    used: int
    limit: int

    @property
    def share(self) -> float:
        """From 0 to 1, or a little more."""
        return self.used / self.limit


def memory_use(root: Path = CGROUP, own: Path = OWN) -> MemoryUse | None:
    """The used share of the memory limit; None without a limit.

    A limit holds for a group and all in it: of our own group and those around it the fullest counts. ``own`` says
    which is ours (https://man7.org/linux/man-pages/man7/cgroups.7.html); in a container it may name one that only the
    host can see. What the kernel could drop at once (files it caches) does not count.
    """
    uses = (_read_use(group, names) for group, names in _memory_groups(root, own))
    return max((use for use in uses if use is not None), key=lambda use: use.share, default=None)


def _memory_groups(root: Path, own: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Folders in which a limit of ours may stand, with the names of the files."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = own.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            top, names = (root / "memory", _CGROUP_1) if controllers else (root, _CGROUP_2)
            group = Path(path.lstrip("/"))
            # The groups around ours as well: their limit holds for everything in them.
            yield from ((top / one, names) for one in (group, *group.parents))


def _read_use(group: Path, names: tuple[str, str, str]) -> MemoryUse | None:
    with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
        limit, used, stat = ((group / name).read_text() for name in names)
        if 0 < int(limit) < _NO_LIMIT:
            # The page cache counts as used in cgroups, though the kernel gives it back on demand.
            return MemoryUse(int(used) - _inactive_bytes(stat), int(limit))
    return None


def _inactive_bytes(stat: str) -> int:
    found = dict(line.split() for line in stat.splitlines())
    return int(found.get("total_inactive_file", found.get("inactive_file", 0)))
