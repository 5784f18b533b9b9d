"""``python -m fwd_server``: load the settings, build, listen, serve, and say what happens.

``run`` is the same for ``fwd run-server``. Exit codes: 0 stopped as asked, 70 the server gave up, 78 a setting
cannot be used (they are listed in ``fwd help exit-codes``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import gc
import logging
import os
import socket
import sqlite3
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from attrs import evolve
from tornado import autoreload

from fwd_server import settings as configuration
from fwd_server._version import __version__
from fwd_server.app import App, build_app
from fwd_server.clock import SystemClock
from fwd_server.machine import memory_use, raise_file_limit
from fwd_server.metering.price_file import PriceFileError
from fwd_server.observe import log
from fwd_server.process import workers
from fwd_server.process.reload import DOTENV, CurrentConfig, WorkerState, load_order, load_settings
from fwd_server.process.serve import (
    listen_at,
    main_address,
    new_loop,
    open_listeners,
    removed_socket,
    serve_app,
    tls_context,
)
from fwd_server.settings import LoadedSettings, Settings, SettingsError, documented_variables
from fwd_server.settings.units import Address, is_everywhere, is_loopback
from fwd_server.store.accounts import Accounts
from fwd_server.store.journal import JournalFile, take_free_journal
from fwd_server.store.key_file import KeyFileError, secure_process
from fwd_server.store.ledger import Ledger, catch_up
from fwd_server.store.migrate import StoreError

OK: Final = 0
GAVE_UP: Final = 70  # EX_SOFTWARE
BAD_CONFIGURATION: Final = 78  # EX_CONFIG
_DAY_S: Final = 86_400.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    inherited = workers.inherited_sockets(os.environ)
    if inherited is not None:
        return _with_exit_code(lambda: run_worker(*inherited))
    parser = argparse.ArgumentParser(prog="fwd-server", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="Print the effective settings and exit.")
    parser.add_argument("--reload", action="store_true", help="Restart when a source file changes.")
    parser.add_argument("--version", action="version", version=f"fwd-server {__version__}")
    variables = [variable for variable in documented_variables() if variable.option]
    for variable in variables:
        parser.add_argument(variable.option, dest=variable.name, help=f"{variable.help} [{variable.name}]")
    options = vars(parser.parse_args(arguments))
    check, reload = options.pop("check"), options.pop("reload")
    flags = {name: value for name, value in options.items() if value is not None}
    return run_gateway(flags, check=check, reload=reload)


def run_gateway(flags: Mapping[str, str], *, check: bool = False, reload: bool = False) -> int:
    """Run the gateway until it is asked to stop; ``flags`` go by the variables' names. Returns the exit code."""
    return _with_exit_code(
        lambda: _check_settings(dict(flags)) if check else _serve_until_stopped(dict(flags), reload=reload)
    )


def run_worker(line: workers.ControlChannel, sockets: list[socket.socket]) -> int:
    """Serve as one of several workers, as the parent says over the line. Returns the exit code."""
    order = line.receive_config()
    current = WorkerState(line, load_order(order))
    settings = current.loaded.settings
    _prepare_process(settings)

    async def serve_slot() -> None:
        accounts = current.accounts = open_accounts(settings, is_shared=True)
        app = build_app(settings, environment=os.environ, memory=memory_use, accounts=accounts, notices=current.notices)

        def started(port: int) -> None:
            if order.announces:
                log_start(app, settings, port)
            _freeze_garbage()

        try:
            await serve_app(
                app, sockets, settings, started, renew=current.rebuild_app, until=current.follow, tell=line.send_status
            )
        finally:
            await accounts.aclose()

    return _until_complete(serve_slot())


def _with_exit_code(action: Callable[[], int]) -> int:
    if sys.stderr is None:  # closed by who started us; nothing else that is opened may take its number
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it stays open
    try:
        return action()
    except (SettingsError, KeyFileError, PriceFileError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        return BAD_CONFIGURATION


def _check_settings(flags: Mapping[str, str]) -> int:
    print_settings(load_settings(flags, os.environ, DOTENV))
    return OK


def print_settings(loaded: LoadedSettings) -> None:
    """Every setting in force with its source, for ``--check``."""
    rows = configuration.describe_settings(loaded)
    width = max(len(row.name) for row in rows)
    values = max(min(len(row.value), 60) for row in rows)
    for row in rows:
        sys.stdout.write(f"{row.name:<{width}}  {row.value:<{values}}  {row.source}\n")
    for warning in loaded.warnings:
        sys.stderr.write(f"warning: {warning}\n")


def _serve_until_stopped(flags: dict[str, str], *, reload: bool) -> int:
    current = CurrentConfig(flags, load_settings(flags, os.environ, DOTENV))
    settings = current.loaded.settings
    _prepare_process(settings)
    for warning in current.loaded.warnings:
        log.app.warning("%s", warning)
    # A reload replaces this very process, and Windows cannot hand sockets to another one.
    count = 1 if reload or sys.platform == "win32" else settings.workers
    with contextlib.ExitStack() as stack:
        where = address_text(settings, settings.port)
        try:
            tls_context(settings)  # before anything is bound: a bad certificate is found out here
            slots = workers.bind_slots(settings, count) if count > 1 else [open_listeners(settings)]
            stack.enter_context(removed_socket(main_address(settings)))
            where = str(settings.health_listen)
            health = _listen_for_probes(settings.health_listen, stack)
        except OSError as error:
            log.app.error("Cannot listen on %s: %s", where, _failure_reason(error))
            return GAVE_UP
        if count > 1:
            supervisor = workers.WorkerSupervisor(
                slots,
                current.worker_config(),
                current.reload_worker_config,
                settings.drain_timeout,
                health=health,
                changed=current.file_changed,
                trouble=lambda: current.trouble,
            )
            code = asyncio.run(supervisor.run_workers())
        else:
            code = _until_complete(_serve_in_process(current, slots[0], health, reload=reload))
    log.app.info("Stopped.")
    return code


def _failure_reason(error: OSError) -> str:
    """What the system says, and for a place that is taken what to do about it."""
    reason = error.strerror or str(error)
    return (
        f"{reason}. Stop the program that listens there, or choose another address."
        if error.errno == errno.EADDRINUSE
        else reason
    )


def _listen_for_probes(wanted: Address | None, stack: contextlib.ExitStack) -> list[socket.socket]:
    """The sockets of FWD_HEALTH_LISTEN, if it is set. Raises OSError."""
    if wanted is None:
        return []
    sockets = listen_at(wanted)
    stack.enter_context(removed_socket(wanted))
    port = 0 if wanted.path else sockets[0].getsockname()[1]
    log.app.info("Probes are answered at %s: /health and /ready.", evolve(wanted, port=port))
    return sockets


def _prepare_process(settings: Settings) -> None:
    """What every process that serves does first."""
    secure_process()
    raise_file_limit()
    log.configure_logging(settings.log_level, settings.log_format)


def _freeze_garbage() -> None:
    """Spare the collector what stays for ever: going through it stops everything for 15 ms each time (contract R5)."""
    # Everything built so far lives as long as the process. Frozen, it is skipped by every later collection.
    gc.collect()
    gc.freeze()


def _until_complete(work: Coroutine[Any, Any, None]) -> int:
    loop = new_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    return OK


async def _serve_in_process(
    current: CurrentConfig, sockets: list[socket.socket], health: list[socket.socket], *, reload: bool
) -> None:
    settings = current.loaded.settings
    accounts = current.accounts = open_accounts(settings)
    app = build_app(settings, environment=os.environ, memory=memory_use, accounts=accounts, notices=current.notices)
    if reload:
        autoreload.watch(str(DOTENV))
        autoreload.add_reload_hook(logging.shutdown)  # the new program takes this one's place at once
        autoreload.start()

    def started(port: int) -> None:
        log_start(app, settings, port)
        _freeze_garbage()

    try:
        await serve_app(
            app, sockets, settings, started, health=health, renew=current.rebuild_app, changed=current.file_changed
        )
    finally:
        await accounts.aclose()


def open_accounts(settings: Settings, *, is_shared: bool = False) -> Accounts:
    """The book and the ledger of this process, recovered and ready. Raises StoreError for one that cannot be used."""
    if not settings.ledger:
        return Accounts(is_shared=is_shared)
    keep_s = settings.keep_calls * _DAY_S if settings.keep_calls else None
    try:
        take = take_free_journal if is_shared else JournalFile
        journal = take(settings.data, full_sync=settings.sync == "full", spool=settings.spool)
        ledger = Ledger(
            settings.data, SystemClock(), settle_wait_s=settings.settle_wait, keep_s=keep_s, journal=journal
        )
        catch_up(settings.data, SystemClock())  # journals of workers that are no more
    except (OSError, sqlite3.OperationalError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        problem = f"{settings.data} cannot hold the ledger ({reason}); FWD_DATA names another directory"
        # Only who asked for a directory relies on it: a read-only container must still be able to start.
        if settings.data != Settings().data:
            raise StoreError(problem) from None
        return Accounts(is_shared=is_shared, trouble=f"calls are not recorded: {problem}")
    if ledger.interrupted:
        log.app.warning("The last run ended in the middle of %d calls; each is in the ledger.", ledger.interrupted)
    ledger.start()
    return Accounts(ledger=ledger, is_shared=is_shared)


def log_start(app: App, settings: Settings, port: int) -> None:
    """Say where the gateway listens, what it can do, and what to do next."""
    for line in start_lines(app, settings, port):
        log.app.info("%s", line)
    for warning in exposure_warnings(settings):
        log.app.warning("%s", warning)
    for notice in app.state.notices():
        log.app.warning("%s", notice)


def exposure_warnings(settings: Settings) -> list[str]:
    """A warning when other machines can reach the gateway without TLS.

    Given at the start only, and not among the notices: behind a proxy that speaks TLS this is right, and must not keep
    ``/ready`` degraded.
    """
    if settings.uds is not None or settings.ssl_certfile or is_loopback(settings.host):
        return []
    fix = "set FWD_SSL_CERTFILE, or put a TLS proxy in front"
    return [f"FWD_HOST={settings.host} without TLS: keys and prompts can be read on the network; {fix}"]


def start_lines(app: App, settings: Settings, port: int) -> list[str]:
    """The lines that are logged at the start."""
    url = address_text(settings, port)
    endpoints = app.gateway.routes.endpoints.values()
    on = [endpoint.provider for endpoint in endpoints if endpoint.enabled and endpoint.available]
    off = [f"{e.provider} ({e.enabled_by})" for e in endpoints if not e.enabled and e.available]
    return [
        f"fwd {__version__} listens on {url}{' and every other address' if is_everywhere(settings.host) else ''}",
        *([] if settings.uds else [f"For people: {url}/  API description: {url}/docs"]),
        f"Providers on: {', '.join(on) or 'none'}",
        f"Providers off, and what turns them on: {', '.join(off) or 'none'}",
        f"Without a model: {', '.join(settings.priority) or 'refused because PROVIDERS_PRIORITY is not set'}",
        f"Keys: {app.keys.summary()}",
    ]


def address_text(settings: Settings, port: int) -> str:
    """Where the gateway listens: a URL, or the path of a Unix socket."""
    if settings.uds is not None:
        return f"unix:{settings.uds}"
    # Nobody can open http://0.0.0.0, which means every address of the machine; loopback is always one of them.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - not bound here
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.ssl_certfile else 'http'}://{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
