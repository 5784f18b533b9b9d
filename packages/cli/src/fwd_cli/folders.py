"""Where ``fwd`` keeps what it remembers: names for completion, and conversations. All of it may be deleted."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def cache() -> Path:
    """What can be found out again."""
    return _folder("XDG_CACHE_HOME", ".cache")


def state() -> Path:
    """What was said: histories and conversations."""
    return _folder("XDG_STATE_HOME", ".local/state")


def _folder(variable: str, usual: str) -> Path:
    """The place the user names, else the system's usual one."""
    named = os.environ.get(variable) or (os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None)
    return (Path(named) if named else Path.home() / usual) / "fwd"


def read_json(path: Path) -> Any:
    """What the file holds; None when there is none, or none that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
    except (OSError, ValueError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Keep a value for its owner alone, in one step. Raises OSError."""
    from fwd_server.store.atomic import replace

    replace(path, json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
