"""Adds names and values to the text of a ``.env`` file, and keeps the rest as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@+=-]+")


def with_values(text: str, values: Mapping[str, str]) -> str:
    """The text with these values: a name that is there is replaced in place, the others follow at the end."""
    remaining = dict(values)
    lines = [_renewed(line, remaining) for line in text.splitlines()]
    return "".join(f"{line}\n" for line in [*lines, *(_setting_line(name, value) for name, value in remaining.items())])


def _renewed(line: str, remaining: dict[str, str]) -> str:
    """The line, or the new value for its name, which is removed from ``remaining``."""
    # Written for shells, too: `export NAME=value`.
    name = line.partition("=")[0].strip().removeprefix("export ").strip()
    return _setting_line(name, remaining.pop(name)) if name in remaining else line


def _setting_line(name: str, value: str) -> str:
    # Single quotes: inside them nothing is expanded.
    quoted = value if _PLAIN.fullmatch(value) else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return f"{name}={quoted}"
