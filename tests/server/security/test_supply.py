"""What the gateway is built from: pinned, few, and running nothing by itself (S1, T34, L1)."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT: Final = Path(__file__).parents[3]
LOCKS: Final = sorted((ROOT / "requirements").glob("*.txt"))
MOST_PACKAGES: Final = 12


def pinned(lock: Path) -> dict[str, str]:
    """The packages of a lock file, each with everything that follows its name."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock.read_text("utf-8"), flags=re.MULTILINE)
    return {block.partition("==")[0]: block for block in blocks if not block.startswith("#") and block.strip()}


def runtime() -> list[str]:
    """What the server needs on this Python, by the names of the packages."""
    required = (Requirement(line) for line in metadata.requires("fwd-server") or ())
    return [one.name for one in required if one.marker is None or one.marker.evaluate()]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_is_pinned_with_its_hashes(lock: Path) -> None:
    """S1, T34: one exact version each, and no file is taken that was not there when it was pinned."""
    found = pinned(lock)
    assert found
    for name, block in found.items():
        assert re.match(r"[A-Za-z0-9._\[\]-]+==[^\s]+", block), name
        assert "--hash=sha256:" in block, name


def test_sessions_install_by_hash_only() -> None:
    """S1: nothing is installed from an index but with the hashes of a lock file."""
    lines = (ROOT / "noxfile.py").read_text("utf-8").splitlines()
    installs = [line for line in lines if "requirements/" in line and '"-r"' in line and "lock" not in line]
    assert len(installs) >= 2
    assert [line for line in installs if "--require-hashes" not in line and "uv.in" not in line] == []


def test_few_packages_run_and_none_at_the_start_of_python() -> None:
    """T34, S1: at most 12, and none brings a ``.pth`` file, which would run in every program of the environment."""
    names = runtime()
    assert 0 < len(names) <= MOST_PACKAGES
    files = {name: metadata.files(name) or [] for name in names}
    assert [str(file) for name in names for file in files[name] if file.suffix == ".pth"] == []


def test_tornado_is_one_that_reads_requests_strictly() -> None:
    """L1: older ones took "+" and "_" in lengths, and two transfer codings. Declared and installed."""
    required = map(Requirement, metadata.requires("fwd-server") or ())
    declared = {str(one.specifier) for one in required if one.name == "tornado"}
    assert declared == {">=6.6.1", ">=6.5.9"}
    assert Version(metadata.version("tornado")) >= Version("6.5.9")
