"""Problems of settings, worded so that they say what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import frozen

HIDDEN: Final = "a value that is not shown"


@frozen
class SettingProblem:
    """A value that cannot be used: its name, where it came from, what was found, what is allowed."""

    name: str
    source: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.name} ({self.source}): found {self.found}; allowed: {self.allowed}"


@frozen
class ConfigProblem:
    """A value that cannot be used. ``line`` is 0 if it is in no line; ``path`` is written as in the file."""

    file: str
    line: int
    path: str
    message: str

    @property
    def name(self) -> str:
        """Where to look."""
        return f"{self.file} line {self.line}" if self.line else self.file

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        return place + (f"{self.path}: " if self.path else "") + self.message


class SettingsError(Exception):
    """The settings cannot be used. ``problems`` holds all that was found, the text has one line for each."""

    def __init__(self, problems: Iterable[SettingProblem | ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
