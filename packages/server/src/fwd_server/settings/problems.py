"""What is wrong with settings, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import frozen

HIDDEN: Final = "a value that is not shown"


@frozen
class Problem:
    """A value that cannot be used: its name, where it came from, what was found, what is allowed."""

    name: str
    source: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.name} ({self.source}): found {self.found}; allowed: {self.allowed}"


class SettingsError(Exception):
    """The settings cannot be used. ``problems`` holds all that was found, the text has one line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
