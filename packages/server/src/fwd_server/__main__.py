"""``python -m fwd_server``: load the settings, build, listen, serve, and say what happens.

``run`` is the same for ``fwd run-server``. Exit codes: 0 stopped as asked, 70 the server gave up, 78 a setting
cannot be used (they are listed in ``fwd help exit-codes``).
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve
from tornado import autoreload

from fwd_server import settings as configuration
from fwd_server._version import __version__
from fwd_server.app import App, build_app
from fwd_server.observe import log
from fwd_server.serve import listen, new_loop, serve, tls_context
from fwd_server.settings import Loaded, Settings, SettingsError, documented
from fwd_server.store.files import KeyFileError, check_modes, secure_process

OK: Final = 0
GAVE_UP: Final = 70  # EX_SOFTWARE
BAD_CONFIGURATION: Final = 78  # EX_CONFIG
DOTENV: Final = Path(".env")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="fwd-server", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="Print the settings in force, and stop.")
    parser.add_argument("--reload", action="store_true", help="Start again when a source file changes.")
    parser.add_argument("--version", action="version", version=f"fwd-server {__version__}")
    variables = [variable for variable in documented() if variable.option]
    for variable in variables:
        parser.add_argument(variable.option, dest=variable.name, help=f"{variable.help} [{variable.name}]")
    found = vars(parser.parse_args(arguments))
    check, reload = found.pop("check"), found.pop("reload")
    flags = {name: value for name, value in found.items() if value is not None}
    return run(flags, check=check, reload=reload)


def run(flags: Mapping[str, str], *, check: bool = False, reload: bool = False) -> int:
    """Run the gateway until it is asked to stop; ``flags`` go by the variables' names. Returns the exit code."""
    try:
        loaded = load(flags, os.environ, DOTENV)
        secure_process()
        if check:
            print_settings(loaded)
            return OK
        return _run(loaded, reload=reload)
    except (SettingsError, KeyFileError) as error:
        sys.stderr.write(f"{error}\n")
        return BAD_CONFIGURATION


def load(flags: Mapping[str, str], env: Mapping[str, str], dotenv: Path) -> Loaded:
    """The settings in force, with ``.env`` of the working directory if there is one.

    Raises SettingsError, and KeyFileError for a ``.env`` that others may write.
    """
    if not dotenv.is_file():
        return configuration.load(flags, env)
    warnings = check_modes(dotenv)
    loaded = configuration.load(flags, env, dotenv.read_text(encoding="utf-8", errors="replace"))
    return evolve(loaded, warnings=(*loaded.warnings, *warnings))


def print_settings(loaded: Loaded) -> None:
    """Every setting in force with its source, for ``--check``."""
    rows = configuration.describe(loaded)
    width = max(len(row.name) for row in rows)
    values = max(min(len(row.value), 60) for row in rows)
    for row in rows:
        sys.stdout.write(f"{row.name:<{width}}  {row.value:<{values}}  {row.source}\n")
    for warning in loaded.warnings:
        sys.stderr.write(f"warning: {warning}\n")


def _run(loaded: Loaded, *, reload: bool) -> int:
    settings = loaded.settings
    log.configure(settings.log_level, settings.log_format)
    for warning in loaded.warnings:
        log.app.warning("%s", warning)
    try:
        tls_context(settings)  # before anything is bound: a bad certificate is found out here
        sockets = listen(settings)
    except OSError as error:
        log.app.error("Cannot listen on %s: %s", address(settings, settings.port), error.strerror or error)
        return GAVE_UP
    loop = new_loop()
    try:
        loop.run_until_complete(_serve(settings, sockets, reload=reload))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    return OK


async def _serve(settings: Settings, sockets: list[socket.socket], *, reload: bool) -> None:
    app = build_app(settings, environment=os.environ)
    if reload:
        autoreload.watch(str(DOTENV))
        autoreload.start()
    await serve(app, sockets, settings, lambda port: announce(app, settings, port))
    log.app.info("Stopped.")


def announce(app: App, settings: Settings, port: int) -> None:
    """Say where the gateway listens, what it can do, and what to do next."""
    for line in start_lines(app, settings, port):
        log.app.info("%s", line)
    for notice in app.state.notices():
        log.app.warning("%s", notice)


def start_lines(app: App, settings: Settings, port: int) -> list[str]:
    """What is said at the start, a line each."""
    url = address(settings, port)
    endpoints = app.gateway.routes.endpoints.values()
    on = [endpoint.provider for endpoint in endpoints if endpoint.on and endpoint.available]
    off = [f"{e.provider} ({e.turned_on_by})" for e in endpoints if not e.on and e.available]
    return [
        f"fwd {__version__} listens on {url}",
        *([] if settings.uds else [f"For people: {url}/  API description: {url}/docs"]),
        f"Providers on: {', '.join(on) or 'none'}",
        f"Providers off, and what turns them on: {', '.join(off) or 'none'}",
        f"Without a model: {', '.join(settings.priority) or 'refused, for PROVIDERS_PRIORITY is not set'}",
        f"Keys: {app.keys.summary()}",
    ]


def address(settings: Settings, port: int) -> str:
    """Where the gateway listens: a URL, or the path of a Unix socket."""
    if settings.uds is not None:
        return f"unix:{settings.uds}"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.ssl_certfile else 'http'}://{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
