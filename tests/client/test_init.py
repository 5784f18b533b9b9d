"""The public names of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fwd_client


def test_import_loads_nothing_else() -> None:
    """`import fwd_client` loads the standard library and itself, nothing of anybody else."""
    script = "import sys; import fwd_client; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", _with_path(script)], capture_output=True, text=True, check=True
    )
    strangers = set(loaded.stdout.split()) - sys.stdlib_module_names - {"fwd_client", "__main__"}
    assert {name for name in strangers if not name.startswith(("_", "__editable"))} == set()


def test_client_loads_no_transport() -> None:
    """Making a client loads no HTTP library yet: that comes with the first call."""
    script = "import sys; from fwd_client import Client; Client(); print('httpx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def _with_path(script: str) -> str:
    source = str(Path(fwd_client.__file__).parents[1])
    return f"import sys; sys.path.insert(0, {source!r}); {script}"


def test_every_name_is_there() -> None:
    """Each name of `__all__` can be had, is listed by `dir`, and is typed where checkers look."""
    assert set(fwd_client.__all__) <= set(dir(fwd_client))
    assert all(getattr(fwd_client, name) is not None for name in fwd_client.__all__)
    assert _imported_for_checkers() | {"__version__"} == set(fwd_client.__all__)


def _imported_for_checkers() -> set[str]:
    tree = ast.parse(Path(fwd_client.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    return {alias.name for node in blocks[0].body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_unknown_name() -> None:
    """A name that is not there is an `AttributeError`, as in any module."""
    with pytest.raises(AttributeError, match="no attribute 'Cliend'"):
        fwd_client.Cliend  # noqa: B018
