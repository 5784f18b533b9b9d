"""The text of a ``.env`` file to values, each with its line."""

from __future__ import annotations

import io
from collections.abc import Mapping

from attrs import frozen
from dotenv.parser import Binding, parse_stream


@frozen
class DotEnv:
    """The content of a ``.env`` file: name -> value and line, and warnings."""

    values: Mapping[str, tuple[str, int]]
    warnings: tuple[str, ...] = ()


def read_dotenv(text: str) -> DotEnv:
    """Read the text of a ``.env`` file; ``${NAME}`` in a value is not replaced, and the last line of a name wins."""
    values: dict[str, tuple[str, int]] = {}
    warnings = []
    # Windows editors write a byte order mark, which would become part of the first name.
    for binding in parse_stream(io.StringIO(text.removeprefix("\ufeff"))):
        line = _line_of(binding)
        if binding.error:
            warnings.append(f".env line {line} cannot be read; allowed: NAME=value, or # and a comment")
        elif binding.key is not None and not binding.value:
            warnings.append(f"{binding.key} (.env line {line}) is empty and treated as not set")
        elif binding.key is not None:
            if binding.key in values:
                warnings.append(f"{binding.key} (.env line {line}) was set in line {values[binding.key][1]} already")
            values[binding.key] = (binding.value or "", line)
    return DotEnv(values, tuple(warnings))


def _line_of(binding: Binding) -> int:
    """A binding begins with the blank lines before it."""
    original = binding.original.string
    return binding.original.line + original[: len(original) - len(original.lstrip())].count("\n")
