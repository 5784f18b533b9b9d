"""A short text that a simple regular expression matches; the expression itself is never run.

Running a caller's pattern could take forever (contract T38). Reading it takes one pass: alternatives (the
first), groups, classes, escapes and counts (the least). What it does not know it reads as itself.
"""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 256
_DEEPEST: Final = 16
_CLASSES: Final = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a", "n": "\n", "t": "\t", "r": "\r"}
_NOTHING: Final = frozenset("^$bBAZ")
_COUNT: Final = re.compile(r"\{(\d{1,4})(?:,\d{0,4})?\}")
_GROUP: Final = re.compile(r"\((?:\?(?::|P?<[A-Za-z_]\w*>|[=!]|<[=!]))?")
_CANDIDATES: Final = "a0A -_.x1@/"


def sample_pattern(pattern: str, least: int = 0) -> str:
    """A text for ``pattern``, of at least ``least`` characters where a ``*`` or ``+`` in it can grow; bounded."""
    reader = _Reader(pattern[:_LONGEST])
    text = reader.alternatives(0)
    missing = min(least, _LONGEST) - len(text)
    if missing <= 0 or reader.grows is None:
        return text[:_LONGEST]
    at, unit = reader.grows
    return text[:at] + unit * missing + text[at:]


class _Reader:
    """One pass over a pattern; ``grows`` is a place where its text may be longer, and what may stand there."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self.grows: tuple[int, str] | None = None

    def alternatives(self, depth: int) -> str:
        """The first alternative; the others are read and thrown away."""
        first = self._sequence(depth)
        while self._peek() == "|":
            self._at += 1
            kept, self.grows = self.grows, None
            self._sequence(depth)
            self.grows = kept
        return first

    def _sequence(self, depth: int) -> str:
        made = ""
        while self._peek() not in ("", "|") and not (self._peek() == ")" and depth):
            unit = self._unit(depth)
            least, more = self._count()
            if more and len(unit) == 1 and depth == 0:
                self.grows = (len(made) + len(unit) * least, unit)
            made = (made + unit * least)[:_LONGEST]
        return made

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _unit(self, depth: int) -> str:
        char = self._peek()
        if char == "(":
            return self._group(depth)
        self._at += 1
        if char == "[":
            return self._class()
        if char == "\\":
            return self._escape()
        if char in "^$":
            return ""
        return "a" if char == "." else char

    def _group(self, depth: int) -> str:
        opening = _GROUP.match(self._pattern, self._at)
        self._at += len(opening[0]) if opening else 1
        inner = self.alternatives(depth + 1) if depth < _DEEPEST else ""
        self._at += self._peek() == ")"
        return "" if opening and opening[0][-1] in "=!" else inner

    def _escape(self) -> str:
        char = self._peek()
        self._at += 1
        return "" if char in _NOTHING else _CLASSES.get(char, char)

    def _class(self) -> str:
        """One character of a class: its first, or for a negated one the first that is not in it."""
        negated = self._peek() == "^"
        self._at += negated
        start = self._at
        while self._peek() and (self._peek() != "]" or self._at == start):
            self._at += 2 if self._peek() == "\\" else 1
        members = self._pattern[start : self._at]
        self._at += 1
        if negated:
            return next((c for c in _CANDIDATES if not _holds(members, c)), "~")
        return _CLASSES.get(members[1:2], members[1:2]) if members[:1] == "\\" else members[:1]

    def _count(self) -> tuple[int, bool]:
        """How often at least, and whether it may be more."""
        char = self._peek()
        if char and char in "*+?":
            self._at += 1
            self._at += self._peek() == "?"
            return (0 if char == "*" else 1), char != "?"
        count = _COUNT.match(self._pattern, self._at)
        if not count:
            return 1, False
        self._at = count.end()
        return min(int(count[1]), _LONGEST), count[0].endswith(",}")


def _holds(members: str, char: str) -> bool:
    """Whether a class, written as it stands between its brackets, has a character."""
    spans = re.findall(r"\\(.)|(.)-(.)|(.)", members, re.DOTALL)
    return any(_in_span(span, char) for span in spans)


def _in_span(span: tuple[str, str, str, str], char: str) -> bool:
    escape, low, high, one = span
    if escape:
        kinds = {"d": char.isdigit(), "w": char.isalnum() or char == "_", "s": char.isspace()}
        return kinds.get(escape, escape == char)
    return low <= char <= high if low else one == char
