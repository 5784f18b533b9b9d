"""Names and values added to the text of a ``.env`` file; what stands there already stays."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@+=-]+")


def with_values(text: str, values: Mapping[str, str]) -> str:
    """The text with these values: a name that is set is set anew in its place, the others follow at the end."""
    left = dict(values)
    lines = [_renewed(line, left) for line in text.splitlines()]
    return "".join(f"{line}\n" for line in [*lines, *(_line(name, value) for name, value in left.items())])


def _renewed(line: str, left: dict[str, str]) -> str:
    """The line, or another value for its name, which then is not left to do."""
    name = line.partition("=")[0].strip().removeprefix("export ").strip()
    return _line(name, left.pop(name)) if name in left else line


def _line(name: str, value: str) -> str:
    quoted = value if _PLAIN.fullmatch(value) else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return f"{name}={quoted}"
