"""What the machine gives this process: cores, open files, memory. Limits of a container count (cgroup v2 and v1)."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")
_CGROUP_2: Final = ("memory.max", "memory.current", "memory.stat")
_CGROUP_1: Final = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat")
_NO_LIMIT: Final = 1 << 60  # how cgroup v1 spells it, about
_RESERVED_FILES: Final = 64


def cores() -> int:
    """How many cores this process may use, at least 1."""
    with contextlib.suppress(AttributeError):  # Linux only
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
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(16, soft // share - _RESERVED_FILES)


def memory_used(root: Path = CGROUP) -> float | None:
    """The share of the memory limit that is used, from 0 to 1; None where there is no limit.

    What the kernel could drop at once (files it caches) does not count.
    """
    for names in (_CGROUP_2, _CGROUP_1):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            limit, used, stat = ((root / name).read_text() for name in names)
            return (int(used) - _inactive(stat)) / int(limit) if int(limit) < _NO_LIMIT else None
    return None


def _inactive(stat: str) -> int:
    found = dict(line.split() for line in stat.splitlines())
    return int(found.get("total_inactive_file", found.get("inactive_file", 0)))
