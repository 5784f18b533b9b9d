"""Writes TOML: just what a translated configuration needs, in a layout that people like to edit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def key_text(name: str) -> str:
    """A name as TOML writes it."""
    return name if _BARE.fullmatch(name) else json.dumps(name)


def value_text(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else f"{value:_}" if abs(value) >= 100_000 else str(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key_text(name)} = {value_text(entry)}" for name, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    # JSON escapes a superset of what TOML wants escaped, in the same way.
    return json.dumps(str(value), ensure_ascii=False)


def table_text(path: tuple[str, ...], values: Mapping[str, Any], *, in_list: bool = False) -> str:
    """A table with its head; ``in_list`` for an entry of an array of tables."""
    head = ".".join(map(key_text, path))
    lines = [f"{key_text(name)} = {value_text(value)}" for name, value in values.items()]
    return "\n".join([f"[[{head}]]" if in_list else f"[{head}]", *lines])
