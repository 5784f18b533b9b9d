"""Where ``fwd`` keeps its data: names for completion, and conversations. Everything may be deleted."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def cache() -> Path:
    """Data that can be fetched again."""
    return _own_folder("XDG_CACHE_HOME", ".cache")


def state() -> Path:
    """Histories and conversations."""
    return _own_folder("XDG_STATE_HOME", ".local/state")


def _own_folder(variable: str, usual: str) -> Path:
    """The folder in the variable, else the usual one of the system."""
    # On Windows nobody sets XDG variables.
    named = os.environ.get(variable) or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    return (Path(named) if named else Path.home() / usual) / "fwd"


def read_json(path: Path) -> Any:
    """The value in the file; None when it does not exist or is not JSON."""
    try:
        # Names of files and models may hold anything a file system allows.
        return json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
    # What is kept here can be lost without harm.
    except (OSError, ValueError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Keep a value for its owner alone, in one step. Raises OSError."""
    from fwd_server.store.atomic import replace

    replace(path, json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
