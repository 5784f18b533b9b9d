"""Listening, and stopping well: the one place that starts the HTTP server.

SIGTERM and Ctrl-C stop accepting and let what runs finish; a second one, or the end of the drain time, ends what
still runs with an error event (contract D14, R2).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from tornado.netutil import bind_sockets, bind_unix_socket

from fwd_server.app import App
from fwd_server.http1.limits import ServerLimits
from fwd_server.http1.server import HTTPServer
from fwd_server.machine import connection_cap, memory_used
from fwd_server.observe import log
from fwd_server.settings import Settings
from fwd_server.web.door import UNLIMITED
from fwd_server.web.refusal import render_refusal

POLL_S: Final = 0.5
_LAST_WORDS_S: Final = 1.0


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's event loop where it exists, asyncio's elsewhere."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def listen(settings: Settings) -> list[socket.socket]:
    """Sockets bound to the configured address, or to a Unix socket of ours alone. Raises OSError."""
    if settings.uds is not None:
        return [bind_unix_socket(str(settings.uds), mode=0o600, backlog=1024)]
    return bind_sockets(settings.port, settings.host or None, backlog=1024)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What https needs, None for plain http. Raises OSError for a certificate or key that cannot be used."""
    if settings.ssl_certfile is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    return context


def limits(settings: Settings) -> ServerLimits:
    """What callers may send, and how slowly; bodies are counted by the door."""
    return ServerLimits(
        header_bytes=settings.max_head,
        header_lines=settings.max_headers,
        target_bytes=settings.max_target,
        body_bytes=UNLIMITED,
        header_s=settings.header_timeout,
        body_s=settings.body_timeout,
        body_rate=settings.body_rate,
        idle_s=settings.client_idle_timeout,
        unread_s=settings.unread_timeout,
        connections=settings.max_connections or connection_cap(),
        strangers=settings.max_strangers,
    )


async def serve(app: App, sockets: list[socket.socket], settings: Settings, started: Callable[[int], None]) -> None:
    """Serve until a signal asks to stop; ``started`` is told the port, or 0, once connections are taken."""
    server = HTTPServer(
        app.application, limits=limits(settings), render=render_refusal, ssl_context=tls_context(settings)
    )
    server.add_sockets(sockets)
    port = 0 if settings.uds else sockets[0].getsockname()[1]
    with _asked_to_stop() as asked, _background(_watch(app)):
        started(port)
        await asked.get()
        await _drain(app, server, settings.drain_timeout, asked)
    await server.aclose()
    await app.aclose()


async def _watch(app: App) -> None:
    """Take changes of the key file, and of the memory that is left, while we run (contract D8, D13)."""
    while True:
        await asyncio.sleep(POLL_S)
        app.poll_keys()
        app.take_memory(memory_used())


async def _drain(app: App, server: HTTPServer, seconds: float, asked: asyncio.Queue[str]) -> None:
    server.stop()
    app.state.draining = app.application.settings["draining"] = True
    running = app.application.running
    if running:
        log.app.info("Stopping: %d requests still run, for up to %g s. Once more to stop now.", len(running), seconds)
    again = asyncio.ensure_future(asked.get())
    idle = asyncio.ensure_future(running.over())
    await asyncio.wait({again, idle}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if running:
        log.app.warning("Stopped with %d requests unfinished.", len(running))
        for handler in running:
            handler.shut_down()
        await asyncio.wait({idle}, timeout=_LAST_WORDS_S)
    for task in (again, idle):
        task.cancel()
    await asyncio.gather(again, idle, return_exceptions=True)


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[asyncio.Queue[str]]:
    """A queue that gets the name of every signal that asks to stop."""
    asked: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    names = [name for name in ("SIGTERM", "SIGINT") if hasattr(signal, name)]
    if sys.platform == "win32":  # no loop signal handlers there; Ctrl-C arrives as KeyboardInterrupt
        yield asked
        return
    for name in names:
        loop.add_signal_handler(getattr(signal, name), asked.put_nowait, name)
    try:
        yield asked
    finally:
        for name in names:
            loop.remove_signal_handler(getattr(signal, name))


@contextlib.contextmanager
def _background(work: Awaitable[Any]) -> Iterator[None]:
    """Own a task for as long as the block runs."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
