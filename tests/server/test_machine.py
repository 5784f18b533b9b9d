"""What the machine gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from fwd_server import machine

resource = pytest.importorskip("resource", reason="there are no such limits on Windows")


@pytest.fixture
def files() -> object:
    """The limit of open files, as it was afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def write(root: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root


def test_there_is_a_core() -> None:
    assert machine.cores() >= 1


def test_the_soft_limit_of_files_is_raised_to_the_hard_one(files: tuple[int, int]) -> None:
    """T3."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, files[1]))
    machine.raise_file_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (files[1], files[1])


def test_connections_leave_files_for_the_rest(files: tuple[int, int]) -> None:
    """T3: half of the limit, less 64; never none at all."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, files[1]))
    assert (machine.connection_cap(), machine.connection_cap(share=4)) == (448, 192)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, files[1]))
    assert machine.connection_cap() == 16


def test_files_the_kernel_caches_are_not_used_memory(tmp_path: Path) -> None:
    """D13, cgroup v2."""
    stat = "anon 5\ninactive_file 200\n"
    root = write(tmp_path, memory_DOT_max="1000\n", memory_DOT_current="900\n", memory_DOT_stat=stat)
    assert machine.memory_used(root) == 0.7


def test_the_older_cgroups_count_too(tmp_path: Path) -> None:
    """D13, cgroup v1."""
    stat = "inactive_file 1\ntotal_inactive_file 100\n"
    found = {"limit_in_bytes": "1000\n", "usage_in_bytes": "900\n", "stat": stat}
    root = write(tmp_path, **{f"memory__memory_DOT_{name}": text for name, text in found.items()})
    assert machine.memory_used(root) == 0.8
    (root / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert machine.memory_used(root) is None


@pytest.mark.parametrize("limit", ["max\n", ""])
def test_no_limit_is_no_share(tmp_path: Path, limit: str) -> None:
    write(tmp_path, memory_DOT_max=limit, memory_DOT_current="900\n", memory_DOT_stat="")
    assert machine.memory_used(tmp_path) is None
    assert machine.memory_used(tmp_path / "nothing") is None
