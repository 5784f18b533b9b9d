"""What the packages offer by name, and what it costs to look at it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fwd_client
import fwd_server


@pytest.mark.parametrize("package", [fwd_server, fwd_client])
def test_the_public_names_are_sorted_and_there(package: object) -> None:
    names = list(package.__all__)  # type: ignore[attr-defined]
    assert names == sorted(names)
    assert all(getattr(package, name) is not None for name in names)


def test_a_name_that_is_not_there_is_said() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fwd_server.nonsense


@pytest.mark.parametrize("package", ["fwd_server", "fwd_client", "fwd_cli"])
def test_importing_a_package_loads_nothing_of_others(package: str) -> None:
    """Design 2.10: nothing happens at import."""
    code = (
        f"import sys; before = set(sys.modules); import {package}; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) == {package}
