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
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_there_is_a_core() -> None:
    assert machine.count_cores() >= 1


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


def group(root: Path, path: str, limit: str, used: str = "900", stat: str = "inactive_file 200") -> None:
    """A group of cgroup v2."""
    write(root / path, memory_DOT_max=f"{limit}\n", memory_DOT_current=f"{used}\n", memory_DOT_stat=f"{stat}\n")


def own(root: Path, *lines: str) -> Path:
    """The file that says which groups are ours."""
    path = root / "own"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def share(root: Path, own: Path) -> float | None:
    """The share of the limit that is used."""
    use = machine.memory_use(root, own)
    return use and use.share


def test_files_the_kernel_caches_are_not_used_memory(tmp_path: Path) -> None:
    """D13, cgroup v2 in a container, which sees its own group as the top."""
    group(tmp_path, "", "1000", stat="anon 5\ninactive_file 200")
    assert share(tmp_path, own(tmp_path, "0::/")) == 0.7


def test_the_limit_of_a_service_counts(tmp_path: Path) -> None:
    """D13: on a host the group is deep down, and the fullest of those around it is the one that hurts."""
    group(tmp_path, "system.slice", "2000", "1900")
    group(tmp_path, "system.slice/fwd.service", "1000")
    ours = own(tmp_path, "0::/system.slice/fwd.service")
    assert share(tmp_path, ours) == 0.85
    group(tmp_path, "system.slice", "max", "1900")
    assert share(tmp_path, ours) == 0.7


def test_a_group_that_only_the_host_sees_is_passed_over(tmp_path: Path) -> None:
    """A container may be told the host's name of its group."""
    group(tmp_path, "", "1000")
    assert share(tmp_path, own(tmp_path, "0::/../docker/abc")) == 0.7


def test_the_older_cgroups_count_too(tmp_path: Path) -> None:
    """D13, cgroup v1."""
    stat = "inactive_file 1\ntotal_inactive_file 100\n"
    found = {"limit_in_bytes": "1000\n", "usage_in_bytes": "900\n", "stat": stat}
    root = write(tmp_path, **{f"memory__memory_DOT_{name}": text for name, text in found.items()})
    ours = own(tmp_path, "9:cpu,cpuacct:/", "4:memory:/", "0::/")
    assert share(root, ours) == 0.8
    (root / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert machine.memory_use(root, ours) is None


@pytest.mark.parametrize("limit", ["max", ""])
def test_no_limit_is_no_share(tmp_path: Path, limit: str) -> None:
    group(tmp_path, "", limit)
    assert machine.memory_use(tmp_path, own(tmp_path, "0::/")) is None
    assert machine.memory_use(tmp_path, tmp_path / "nothing") is None


def test_the_groups_of_this_machine_can_be_read() -> None:
    """Whatever they are."""
    use = machine.memory_use()
    assert use is None or 0 <= use.share <= 1
