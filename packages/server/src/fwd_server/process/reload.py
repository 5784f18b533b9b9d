"""The settings in force, and how a gateway that runs goes by new ones: without a new process, and without a cut.

SIGHUP, or a change of ``fwd.toml``, has everything read again. What cannot be used changes nothing. What can makes a
new gateway around what outlives a reload (``app.Runtime``): connections, cooldowns, latencies, limits, running calls.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from attrs import define, evolve, field

from fwd_server import settings as configuration
from fwd_server.app import App, build_app, build_table
from fwd_server.metering.price_file import PriceFileError
from fwd_server.observe import log
from fwd_server.process import workers
from fwd_server.process.file_watch import FileWatch
from fwd_server.process.serve import Take, tls_context
from fwd_server.settings import LoadedSettings, SettingProblem, Settings, SettingsError
from fwd_server.settings.config_file import DEFAULT_NAME, ConfigError, ConfigText
from fwd_server.settings.config_file_diff import changed_paths
from fwd_server.settings.config_file_schema import Config
from fwd_server.settings.problems import ConfigProblem
from fwd_server.store.accounts import Accounts
from fwd_server.store.key_file import KeyFileError, check_modes

DOTENV: Final = Path(".env")
# The sockets are bound and the ledger is opened once, and both are kept over a reload, so these need a restart.
FIXED: Final = (
    "FWD_HOST",
    "FWD_PORT",
    "FWD_UDS",
    "FWD_HEALTH_LISTEN",
    "FWD_WORKERS",
    "FWD_SSL_CERTFILE",
    "FWD_SSL_KEYFILE",
    "FWD_DATA",
    "FWD_LEDGER",
    "FWD_SYNC",
    "FWD_SPOOL",
    "FWD_SETTLE_WAIT",
    "FWD_KEEP_CALLS",
)
T = TypeVar("T")


def load_settings(flags: Mapping[str, str], env: Mapping[str, str], dotenv: Path) -> LoadedSettings:
    """The settings in force, with ``.env`` of the working directory if there is one.

    Raises SettingsError, and KeyFileError for a ``.env`` that others may write.
    """
    warnings = check_modes(dotenv) if dotenv.is_file() else ()
    text = text_of(dotenv)
    loaded = configuration.load_settings(flags, env, text, read_config_text(flags, env, text))
    return evolve(loaded, warnings=(*loaded.warnings, *warnings))


def read_config_text(flags: Mapping[str, str], env: Mapping[str, str], dotenv: str | None) -> ConfigText | None:
    """The text of ``fwd.toml``; None where there is none and none was named.

    Raises SettingsError for a named file that cannot be read, and KeyFileError for one that everybody may write.
    """
    named = configuration.config_path(flags, env, dotenv)
    path = named or Path(DEFAULT_NAME)
    if not path.is_file() and named is None:
        return None
    check_modes(path)  # that others may read it is no news: it holds no secrets
    try:
        return ConfigText(path.read_text(encoding="utf-8"), str(path), path.parent)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError([ConfigProblem(str(path), 0, "", f"it cannot be read: {reason}")]) from None


def text_of(dotenv: Path) -> str | None:
    """The text of ``.env``, None where there is none."""
    return dotenv.read_text(encoding="utf-8", errors="replace") if dotenv.is_file() else None


@define
class CurrentConfig:
    """The settings in force, and how they are read again: when SIGHUP asks for it, or ``fwd.toml`` changes (D9).

    What cannot be used changes nothing and is logged; ``trouble`` holds the reason until it is fixed.
    """

    flags: dict[str, str]
    loaded: LoadedSettings
    accounts: Accounts | None = None
    trouble: str = ""
    _since: str = field(factory=lambda: time.strftime("%H:%M:%S"))
    _watch: FileWatch = field(init=False)

    @_watch.default
    def _start_watch(self) -> FileWatch:
        return FileWatch(configuration.config_path(self.flags, os.environ, text_of(DOTENV)) or Path(DEFAULT_NAME))

    def notices(self) -> tuple[str, ...]:
        """What is not as it should be with the settings."""
        return (self.trouble,) if self.trouble else ()

    def file_changed(self) -> bool:
        """Whether ``fwd.toml`` has changed and is at rest again; asked every half second."""
        return self._watch.poll(time.monotonic())

    def rebuild_app(self, app: App) -> tuple[App, Settings] | None:
        """A gateway of the settings as they are now, for one process, with all that outlives a reload."""

        def build(loaded: LoadedSettings) -> tuple[App, Settings]:
            settings = loaded.settings
            made = build_app(
                settings, accounts=self.accounts, runtime=app.runtime, clock=app.clock, notices=self.notices
            )
            log.configure_logging(settings.log_level, settings.log_format)
            return made, settings

        rebuilt = self._reload(build)
        if rebuilt is not None and self.config_version:
            log.app.info("%s %s is in force.", self.config_name, self.config_version)
        return rebuilt

    def reload_worker_config(self) -> workers.WorkerConfig | None:
        """The order for the workers."""

        def check(loaded: LoadedSettings) -> workers.WorkerConfig:
            build_table(loaded.settings)  # or every worker would find the same problem
            return self.worker_config(loaded)

        return self._reload(check)

    def worker_config(self, loaded: LoadedSettings | None = None) -> workers.WorkerConfig:
        """What workers go by; the first of them says where the gateway listens, once."""
        file = (loaded or self.loaded).settings.config_file
        config = None if file is None else (file.source.text, file.source.name, str(file.source.folder))
        return workers.WorkerConfig(self.flags, text_of(DOTENV), announces=True, config=config)

    @property
    def config_name(self) -> str:
        """The file as it was named."""
        file = self.loaded.settings.config_file
        return file.source.name if file else DEFAULT_NAME

    @property
    def config_version(self) -> str:
        """The version of the file that is in force; "" without one."""
        file = self.loaded.settings.config_file
        return file.source.version if file else ""

    def _reload(self, use: Callable[[LoadedSettings], T]) -> T | None:
        self._watch.take()  # before it is read: what is written after that is another change
        try:
            fresh = self._keep_fixed(load_settings(self.flags, os.environ, DOTENV))
            # Without it every public model would be gone. A missing file is more likely a mistake than a decision.
            if self.loaded.settings.config_file is not None and fresh.settings.config_file is None:
                raise ConfigError([ConfigProblem(self.config_name, 0, "", "the file is gone")])
            tls_context(fresh.settings)  # it may have been renewed
            result = use(fresh)
        # A reload must never stop a gateway that works: the old settings stay in force.
        except (SettingsError, KeyFileError, PriceFileError, OSError) as error:
            log.app.error("The new settings cannot be used; the old ones stay in force. %s", error)
            self._note_trouble(error)
            return None
        # The others were logged when they came up.
        for warning in set(fresh.warnings) - set(self.loaded.warnings):
            log.app.warning("%s", warning)
        log.app.info("The settings were read again. Changed: %s", ", ".join(self._changes(fresh)) or "nothing")
        self.loaded, self.trouble, self._since = fresh, "", time.strftime("%H:%M:%S")
        return result

    def _note_trouble(self, error: Exception) -> None:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        in_force = f"{self.config_version or 'what was read'} of {self._since} is in force"
        self.trouble = (
            f"{self.config_name}: the change of {time.strftime('%H:%M:%S')} was not taken, {first}; {in_force}"
        )

    def _changes(self, fresh: LoadedSettings) -> list[str]:
        """The settings that changed, and what did in the file."""
        names = [name for name, value in fresh.sources.items() if value != self.loaded.sources.get(name)]
        files = (self.loaded.settings.config_file, fresh.settings.config_file)
        before, after = (file.config if file else Config() for file in files)
        paths = [line.partition(" ")[2] for line in changed_paths(before, after)]
        return [*names, *(path for path in paths if not path.startswith("settings"))]

    def _keep_fixed(self, fresh: LoadedSettings) -> LoadedSettings:
        """Settings that need sockets stay as they are: of ``fwd.toml`` with a warning, else it is a SettingsError."""
        problems = []
        for name in FIXED:
            (source, value), old = fresh.sources[name], self.loaded.sources[name][1]
            if value == old:
                continue
            file = fresh.settings.config_file
            if file is None or not source.startswith(file.source.name):
                problems.append(SettingProblem(name, source, value, f"{old} until a restart"))
                continue
            log.app.warning("%s: %s stays %s until a restart", source, name, old)
            attribute = name.removeprefix("FWD_").lower()
            kept = {attribute: getattr(self.loaded.settings, attribute)}
            sources = {**fresh.sources, name: self.loaded.sources[name]}
            fresh = evolve(fresh, settings=evolve(fresh.settings, **kept), sources=sources)
        if problems:
            raise SettingsError(problems)
        return fresh


def load_order(order: workers.WorkerConfig) -> LoadedSettings:
    """The settings as the parent read them. Raises SettingsError."""
    text = None if order.config is None else ConfigText(order.config[0], order.config[1], Path(order.config[2]))
    return configuration.load_settings(order.flags, os.environ, order.dotenv, text)


@define
class WorkerState:
    """What a worker serves by, and what its parent has told it since."""

    line: workers.ControlChannel
    loaded: LoadedSettings
    accounts: Accounts | None = None
    trouble: str = ""

    def notices(self) -> tuple[str, ...]:
        """What is not as it should be with the settings."""
        return (self.trouble,) if self.trouble else ()

    def rebuild_app(self, app: App) -> tuple[App, Settings] | None:
        """The gateway of the settings as they are now, with all that outlives a reload."""
        settings = self.loaded.settings
        log.configure_logging(settings.log_level, settings.log_format)
        made = build_app(settings, accounts=self.accounts, runtime=app.runtime, clock=app.clock, notices=self.notices)
        return made, settings

    async def follow(self, take: Take) -> bool:
        """Do what the parent says, until it asks to stop (true) or is gone."""
        while (message := await self.line.receive_message()) is not None:
            if message == workers.STOP:
                return True
            if "trouble" in message:
                self.trouble = message["trouble"]
                continue
            try:
                self.loaded, self.trouble = load_order(workers.WorkerConfig(**message)), ""
                take()
            # The parent has read the same; if this process cannot, another one takes its place.
            except (SettingsError, KeyFileError, OSError) as error:
                log.app.error("A worker cannot go by the new settings: %s", error)
                self.line.send_word(workers.FAILED)
            else:
                self.line.send_word(workers.TAKEN)
        return False
