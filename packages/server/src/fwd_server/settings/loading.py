"""From flags, the environment, ``.env`` and defaults to settings, with the source of each."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field, frozen

from fwd_server.settings.checks import SettingsChecks, readable_keys
from fwd_server.settings.config_file import ConfigFile, ConfigText, ProblemList, parse_config
from fwd_server.settings.config_file_reading import suggest
from fwd_server.settings.envfile import read_dotenv
from fwd_server.settings.problems import HIDDEN, ConfigProblem, SettingProblem, SettingsError
from fwd_server.settings.schema import (
    KNOWN,
    TIMES,
    ProviderSettings,
    Settings,
    SettingVariable,
    numbered_key,
    own_variables,
    provider_variables,
    timeout_variables,
)
from fwd_server.settings.units import BaseUrl, Name
from fwd_server.values.provider_info import PROVIDER_TABLE, ProviderInfo, provider_info, stem_of
from fwd_server.values.secret import Secret

DEFAULT: Final = ("default", "")  # where nothing is set and nothing is the default
# Variables of the SDK and the CLI: known here so that nobody is told to correct them.
ELSEWHERE: Final = ("FORWARDER_KEY", "FORWARDER_URL", "FWD_LOG")


@frozen
class LoadedSettings:
    """Settings with the source and the shown value of each by variable, and what is worth a warning."""

    settings: Settings
    sources: Mapping[str, tuple[str, str]]
    warnings: tuple[str, ...] = ()


@frozen
class SettingRow:
    """One line of ``--check``."""

    name: str
    value: str
    source: str


def describe_settings(loaded: LoadedSettings, *, every: bool = False) -> tuple[SettingRow, ...]:
    """The settings in force for ``--check``: secrets masked, the source of each.

    A provider's times stand there if they are its own; with ``every`` those it shares with all, too, and empty.
    """
    times = (v for name in loaded.settings.providers for v in timeout_variables(name) if v.default is None)
    shared = set() if every else {v.name for v in times if loaded.sources[v.name] == DEFAULT}
    return tuple(
        SettingRow(name, shown, source) for name, (source, shown) in loaded.sources.items() if name not in shared
    )


def load_settings(
    flags: Mapping[str, str],
    env: Mapping[str, str],
    dotenv: str | None = None,
    config_text: ConfigText | None = None,
) -> LoadedSettings:
    """The settings in force. ``flags`` go by the variable's name too; ``dotenv`` is the text of ``.env``.

    ``config_text`` is ``fwd.toml``; its ``[settings]`` count where nothing else is set.
    Raises SettingsError with every problem there is. Empty values count as unset.
    """
    file = read_dotenv(dotenv or "")
    variables = {**{name: text for name, (text, _) in file.values.items()}, **env}
    config = parse_config(config_text, variables) if config_text else None
    reading = _SettingsReader(flags, env, file.values, config)
    compat = reading.compat_names()
    providers = {name: reading.read_provider(name, named=name in compat) for name in reading.provider_names(compat)}
    own = {variable.field: reading.read_value(variable) for variable in own_variables()}
    settings = reading.with_attempts(reading.with_timeouts(Settings(providers=providers, config_file=config, **own)))
    checks = SettingsChecks(settings, reading.sources, reading.problems.keys())
    problems: list[SettingProblem | ConfigProblem] = [*reading.problems.values(), *checks.find_problems()]
    problems += _unknown_settings(config)
    if problems:
        raise SettingsError(problems)
    return LoadedSettings(
        settings, reading.sources, (*file.warnings, *reading.unknown_names(), *readable_keys(settings))
    )


def config_path(flags: Mapping[str, str], env: Mapping[str, str], dotenv: str | None = None) -> Path | None:
    """Where ``fwd.toml`` is, if anything says so; the file itself cannot."""
    variable = next(v for v in own_variables() if v.field == "config")
    path: Path | None = _SettingsReader(flags, env, read_dotenv(dotenv or "").values).read_value(variable)
    return path


def _unknown_settings(config: ConfigFile | None) -> list[ConfigProblem]:
    """Names in ``[settings]`` that are not a setting, or that say where the file itself is."""
    if config is None:
        return []
    known = [variable.field for variable in own_variables() if variable.field != "config"]
    found = ProblemList(config)
    for name in config.config.settings:
        if name == "config":
            found.note(("settings", name), "it cannot be set in the file itself")
        elif name not in known:
            found.note(("settings", name), f"not a setting{suggest(name, known)}")
    return found.problems


@define
class _SettingsReader:
    """Looks values up where they may stand, and remembers where each was found and what was wrong."""

    flags: Mapping[str, str]
    env: Mapping[str, str]
    file: Mapping[str, tuple[str, int]]
    config: ConfigFile | None = None
    sources: dict[str, tuple[str, str]] = field(factory=dict)
    problems: dict[str, SettingProblem] = field(factory=dict)
    config_texts: Mapping[str, tuple[str, int]] | None = None

    def read_value(self, variable: SettingVariable) -> Any:
        """The value of a variable, or its default if it has no usable value."""
        source, text = self._find_text(variable)
        value = variable.default
        try:
            value = variable.read_text(text) if text else value
        except ValueError:
            self.problems[variable.name] = SettingProblem(
                variable.name, source, _shown_text(variable, text), variable.allowed
            )
        self.sources[variable.name] = (source, variable.display_text(value))
        return value

    def _find_text(self, variable: SettingVariable) -> tuple[str, str]:
        name = variable.name
        written, line = self.file.get(name, ("", 0))
        toml, toml_line = self._config_texts().get(variable.field, ("", 0))
        toml_name = self.config.source.name if self.config else ""
        places = (
            (f"flag {variable.option or name}", self.flags.get(name, "")),
            ("environment", self.env.get(name, "")),
            (f".env line {line}", written),
            (f"{toml_name} line {toml_line}", toml),
        )
        # Empty counts as unset: compose files and shells pass variables on that nobody has set.
        return next(((source, text.strip()) for source, text in places if text.strip()), DEFAULT)

    def _config_texts(self) -> Mapping[str, tuple[str, int]]:
        """The ``[settings]`` of ``fwd.toml``, by field."""
        if self.config_texts is None:
            self.config_texts = self.config.setting_texts() if self.config else {}
        return self.config_texts

    def provider_names(self, compat: tuple[Name, ...]) -> tuple[str, ...]:
        """The providers that get settings: the featured ones, others of the table that are named, then ``compat``.

        A provider of the table is named by one of its own variables, in ``FWD_COMPAT`` or in the priority list. The
        rest stays out of every list, so that twenty providers nobody uses do not hide the two that are used.
        """
        # Read as text: the list is checked only later, when its providers are known.
        priority = next(v for v in own_variables() if v.field == "priority")
        listed = self._find_text(priority)[1].split(",")
        wanted = {*compat, *(name.strip() for name in listed)}
        others = (name for name in PROVIDER_TABLE if name not in KNOWN)
        named = (name for name in others if name in wanted or self._is_mentioned(provider_info(name)))
        return tuple(dict.fromkeys((*KNOWN, *named, *compat)))

    def read_provider(self, name: str, *, named: bool) -> ProviderSettings:
        """The settings of one provider; ``named``: it is listed in ``FWD_COMPAT``."""
        values = {variable.field: self.read_value(variable) for variable in provider_variables(name)}
        mentioned = named or self._is_mentioned(provider_info(name))
        return ProviderSettings(name, **values, more_keys=self._more_keys(name), mentioned=mentioned)

    def _more_keys(self, name: str) -> tuple[Secret, ...]:
        """``<NAME>_API_KEY_2``, ``_3`` and so on, as far as there is no gap."""
        variables = (numbered_key(name, number) for number in itertools.count(2))
        found = itertools.takewhile(lambda variable: self._find_text(variable) != DEFAULT, variables)
        return tuple(secret for variable in found if (secret := self.read_value(variable)) is not None)

    def _is_mentioned(self, info: ProviderInfo) -> bool:
        """Whether one of the provider's own variables is set, or any of its name if that is enough for it.

        Servers such as vLLM read dozens of variables that begin with their names and say nothing about fwd.
        """
        own = {variable.name for variable in provider_variables(info.name)}
        beginning = f"{stem_of(info.name)}_"
        return any(
            text and (name in own or (info.any_variable and name.startswith(beginning)))
            for name, text in self._all_texts()
        )

    def _all_texts(self) -> Iterator[tuple[str, str]]:
        yield from self.flags.items()
        yield from self.env.items()
        yield from ((name, text) for name, (text, _) in self.file.items())

    def compat_names(self) -> tuple[Name, ...]:
        """The names of ``FWD_COMPAT`` that can be used; each must be new, and its variables its own."""
        variable = next(v for v in own_variables() if v.field == "compat")
        names: tuple[Name, ...] = self.read_value(variable)
        taken = {stem_of(name) for name in KNOWN}
        own = {variable.name for variable in own_variables()}
        # Two names with one stem would share their variables: my-box and my_box both read MY_BOX_API_KEY.
        for name in names:
            if stem_of(name) in taken or not own.isdisjoint(v.name for v in timeout_variables(name)):
                allowed = f"names that differ from each other and from {', '.join(KNOWN)}"
                source, _ = self.sources[variable.name]
                self.problems[variable.name] = SettingProblem(variable.name, source, repr(name), allowed)
            taken.add(stem_of(name))
        return () if variable.name in self.problems else names

    def with_attempts(self, settings: Settings) -> Settings:
        """As many attempts as the priority list is long, unless their number is set."""
        source, _ = self.sources["FWD_ATTEMPTS"]
        if source != "default" or len(settings.priority) <= settings.attempts:
            return settings
        self.sources["FWD_ATTEMPTS"] = (source, str(len(settings.priority)))
        return evolve(settings, attempts=len(settings.priority))

    def with_timeouts(self, settings: Settings) -> Settings:
        """The times of every provider: those of all, with its own in their places."""
        providers = {
            name: evolve(provider, timeouts=evolve(settings.timeouts, **self._own_timeouts(name)))
            for name, provider in settings.providers.items()
        }
        return evolve(settings, providers=providers)

    def _own_timeouts(self, provider: str) -> dict[str, Any]:
        """The times that are a provider's own, by their names in ``Timeouts``; 0 is no limit."""
        read = zip(TIMES, map(self.read_value, timeout_variables(provider)), strict=True)
        return {f"{what}_s": value or None for what, value in read if value is not None}

    def unknown_names(self) -> Iterator[str]:
        """A warning for each ``FWD_*`` name that nobody reads, with the nearest one that somebody does."""
        known = [*self.sources, *ELSEWHERE]
        for name in dict.fromkeys(name for name, _ in self._all_texts()):
            if name.startswith("FWD_") and name not in known:
                # Most unknown names are typing errors, and a setting that is silently ignored is hard to find.
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                yield f"{name} is not a setting of fwd and is not read{hint}"


def _shown_text(variable: SettingVariable, text: str) -> str:
    """A value for a message; never one that is, or may hold, a secret."""
    hidden = variable.is_secret or (variable.type is BaseUrl and not set("@?#").isdisjoint(text))
    return HIDDEN if hidden else repr(text if len(text) <= 80 else f"{text[:80]}...")
