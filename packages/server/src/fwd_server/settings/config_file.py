"""``fwd.toml``: the text, what it says, and where. ``fwd config schema`` prints what it may say.

``parse_config`` finds everything that is wrong with the text alone; ``config_file_table`` makes the routing table of it
and finds what does not fit together. Every problem has its line, and all are found in one go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, Final

from attrs import define, field, frozen

from fwd_server.settings.config_file_lines import ConfigSyntaxError, LineIndex, Path, parse_toml, show_path
from fwd_server.settings.config_file_reading import PathProblem, structure_config
from fwd_server.settings.config_file_schema import Config
from fwd_server.settings.config_file_secrets import Resolve, make_resolver
from fwd_server.settings.problems import ConfigProblem, SettingsError

DEFAULT_NAME: Final = "fwd.toml"


@frozen
class ConfigText:
    """The text of a file, its name as people wrote it, and its folder: relative references start there."""

    text: str = field(repr=False)
    name: str = DEFAULT_NAME
    folder: FilePath = field(factory=FilePath)

    @property
    def version(self) -> str:
        """Its name in logs and receipts."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:8]


class ConfigError(SettingsError):
    """The file cannot be used. ``problems`` are in the order of its lines, the text has one line for each."""

    def __init__(self, problems: Iterable[ConfigProblem]) -> None:
        ordered: list[ConfigProblem] = sorted(problems, key=lambda problem: problem.line)
        super().__init__(ordered)


@frozen
class ConfigFile:
    """A file that was read: what it says, where, and what its references give (``resolve``)."""

    source: ConfigText
    config: Config
    lines: LineIndex = field(repr=False)
    resolve: Resolve = field(repr=False)

    def setting_texts(self) -> Mapping[str, tuple[str, int]]:
        """The ``[settings]`` by their fields, as they would be written in ``.env``, and their lines."""
        return {
            name: (_as_text(value), self.lines.find(("settings", name))) for name, value in self.config.settings.items()
        }


@define
class ProblemList:
    """The problems and warnings of a file, collected while it is read."""

    file: ConfigFile
    problems: list[ConfigProblem] = field(factory=list)
    warnings: list[ConfigProblem] = field(factory=list)

    def note(self, path: Path, message: str) -> None:
        """The value at ``path`` cannot be used; () is no place in the file."""
        self.problems.append(_locate(self.file.source.name, self.file.lines, PathProblem(path, message)))

    def warn(self, path: Path, message: str) -> None:
        """The value at ``path`` can be used, and may not be what was meant."""
        self.warnings.append(_locate(self.file.source.name, self.file.lines, PathProblem(path, message)))


def parse_config(source: ConfigText, variables: Mapping[str, str]) -> ConfigFile:
    """Read the text; ``variables`` are what ``env:`` references are looked up in. Raises ConfigError."""
    try:
        document = parse_toml(source.text)
    except ConfigSyntaxError as error:
        raise ConfigError([ConfigProblem(source.name, error.line, "", str(error))]) from None
    config, problems = structure_config(document)
    lines = LineIndex(source.text)
    if config is None:
        raise ConfigError(_locate(source.name, lines, problem) for problem in problems)
    return ConfigFile(source, config, lines, make_resolver(variables, source.folder))


def _locate(file: str, lines: LineIndex, problem: PathProblem) -> ConfigProblem:
    line = lines.find(problem.path) if problem.path else 0
    return ConfigProblem(file, line, show_path(lines.existing(problem.path)), problem.message)


def _as_text(value: Any) -> str:
    """A setting of the file as it would be written in ``.env``."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
