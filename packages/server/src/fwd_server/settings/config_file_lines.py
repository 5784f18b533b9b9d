"""Where in ``fwd.toml`` a value stands.

``tomllib`` gives no positions for values. But a prefix of whole lines that parses is a document of its own, and a path
that is in one prefix is in all longer ones: so bisecting over prefixes finds the statement that brings the path. It
costs about a dozen parses for each problem, and nothing when there is none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, Final

from attrs import define, field

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Path = tuple[str | int, ...]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_AT_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)$")


class ConfigSyntaxError(Exception):
    """The text is not TOML; ``line`` is where reading stopped."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def parse_toml(text: str) -> dict[str, Any]:
    """The document. Raises ConfigSyntaxError."""
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = _AT_LINE.search(message)
        line = int(at[1]) if at else max(1, len(text.rstrip("\n").split("\n")))
        message = (message[: at.start()] if at else message.removesuffix(" (at end of document)")).rstrip(".")
        raise ConfigSyntaxError(line, message[:1].lower() + message[1:]) from None
    return document


def show_path(path: Path) -> str:
    """``models.smart.deployments[1].weight``; names that TOML would quote are quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += "." * bool(text) + (step if _BARE.fullmatch(step) else f'"{step}"')
    return text


@define
class LineIndex:
    """Finds the lines of a document's values. The text must be TOML."""

    text: str
    _lines: list[str] = field(init=False)
    _parsed: dict[int, dict[str, Any] | None] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._lines = self.text.split("\n")

    def existing(self, path: Path) -> Path:
        """The longest part of ``path``, from its beginning, that is in the document."""
        whole = self._prefix(len(self._lines)) or {}
        return next(path[:length] for length in range(len(path), -1, -1) if _holds(whole, path[:length]))

    def find(self, path: Path) -> int:
        """The line, counted from 1, that brings the value at ``path``, or what there is of the path."""
        path = self.existing(path)
        if not path:
            return 1
        low, high = 1, len(self._lines)
        while low < high:
            middle = (low + high) // 2
            end, document = self._whole_prefix(middle)
            if document is not None and _holds(document, path):
                high = middle
            else:
                low = end + 1 if document is None else middle + 1
        last, _ = self._whole_prefix(low)
        return self._line_in_statement(path, last)

    def _line_in_statement(self, path: Path, last: int) -> int:
        """A statement may have many lines: its first one, or in an array the line of the entry."""
        first = last
        while first > 1 and self._prefix(first - 1) is None:
            first -= 1
        for line in range(first, last):
            # Closing an array early makes a document of its beginning.
            closed = _parse_or_none("\n".join([*self._lines[:line], "]"]))
            if closed is not None and _holds(closed, path):
                return line
        return first if not isinstance(path[-1], int) else last

    def _whole_prefix(self, count: int) -> tuple[int, dict[str, Any] | None]:
        """The shortest prefix of at least ``count`` lines that parses, and how many lines it has."""
        while count < len(self._lines) and self._prefix(count) is None:
            count += 1
        return count, self._prefix(count)

    def _prefix(self, count: int) -> dict[str, Any] | None:
        if count not in self._parsed:
            self._parsed[count] = _parse_or_none("\n".join(self._lines[:count]))
        return self._parsed[count]


def _parse_or_none(text: str) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    return document


def _holds(value: Any, path: Sequence[str | int]) -> bool:
    """Whether there is something at ``path``."""
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return False
        elif not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    return True
