"""Listening, and stopping well: the one place that starts the HTTP server.

SIGTERM and Ctrl-C stop accepting and let what runs finish; a second one, or the end of the drain time, ends what
still runs with an error event (contract D14, R2).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import define
from tornado.netutil import bind_sockets, bind_unix_socket

from fwd_server.app import App
from fwd_server.http1.server.limits import ServerLimits
from fwd_server.http1.server.listener import HTTPServer
from fwd_server.machine import connection_cap
from fwd_server.observe import log
from fwd_server.observe.access_log import AccessLog
from fwd_server.observe.hub import ObserverHub
from fwd_server.observe.loop_lag import LIMIT_S, LoopLag
from fwd_server.process import signals
from fwd_server.settings import Settings
from fwd_server.settings.units import Address
from fwd_server.values.chat import Json
from fwd_server.web.admission import RunningRequest
from fwd_server.web.application import UNLIMITED
from fwd_server.web.guard import is_loopback
from fwd_server.web.health import Readiness, probe_application

# The kernel caps it at net.core.somaxconn.
BACKLOG: Final = 4096  # what does not fit is answered by the kernel, seconds later or with a reset
# Polled instead of watched: file events differ between systems and do not work on most network file systems.
POLL_S: Final = 0.5
LINGER_S: Final = 1.0
_LINGER_STEP_S: Final = 0.02
# Time for the error events to reach the callers before their connections are closed.
_LAST_WORDS_S: Final = 1.0
Take = Callable[[], bool]  # serve by what there is now; whether that is something new
# For probes, which are few, small and quick; nobody else has business there.
PROBE_LIMITS: Final = ServerLimits(header_s=2.0, body_s=2.0, idle_s=5.0, unread_s=5.0, connections=32)


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's event loop where it exists, asyncio's elsewhere."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def open_listeners(settings: Settings, *, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets bound to the configured address, or to a Unix socket of ours alone. Raises OSError."""
    return listen_at(main_address(settings), reuse_port=reuse_port)


def main_address(settings: Settings) -> Address:
    """Where calls are taken."""
    return Address(settings.host, settings.port, settings.uds)


def listen_at(address: Address, *, reuse_port: bool = False) -> list[socket.socket]:
    """Sockets bound to an address. Raises OSError."""
    if address.path is None:
        return bind_sockets(address.port, address.host or None, backlog=BACKLOG, reuse_port=reuse_port)
    _check_free(address.path)
    return [bind_unix_socket(str(address.path), mode=0o600, backlog=BACKLOG)]


def _check_free(path: Path) -> None:
    """Raises OSError where binding would take the place of a file, or of a gateway that listens.

    A socket that nobody listens on is what a gateway that was killed left behind.
    """
    if path.exists() and not path.is_socket():
        raise FileExistsError(errno.EEXIST, "there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        # Connecting to a full backlog would block the start.
        probe.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # somebody listens, and has no room
            probe.connect(str(path))
        raise OSError(errno.EADDRINUSE, "in use: a process listens on this socket")


@contextlib.contextmanager
def removed_socket(address: Address) -> Iterator[None]:
    """Remove what a Unix socket leaves in the file system at the end of the block, unless it is another's by then."""
    ours = address.path and _file_identity(address.path)
    try:
        yield
    finally:
        if address.path is not None and ours and _file_identity(address.path) == ours:
            address.path.unlink()


def _file_identity(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from another one that was later made at its place; None where there is none."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino, status.st_ctime_ns
    return None


@contextlib.asynccontextmanager
async def answer_probes(sockets: Sequence[socket.socket], readiness: Readiness) -> AsyncIterator[None]:
    """Answer ``/health`` and ``/ready`` on sockets of their own, if there are any, for as long as the block runs.

    Nothing that limits calls holds here: neither their number, nor that of connections, nor memory (contract R3, D13).
    """
    if not sockets:
        yield
        return
    to_loopback = sockets[0].family != socket.AF_UNIX and is_loopback(sockets[0].getsockname()[0])
    application = probe_application(readiness, to_loopback=to_loopback, hub=ObserverHub((AccessLog(),)))
    server = HTTPServer(application, limits=PROBE_LIMITS, render=application.render_refusal)
    server.add_sockets(sockets)
    try:
        yield
    finally:
        await server.aclose()


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What https needs, None for plain http. Raises OSError for a certificate or key that cannot be used."""
    if settings.ssl_certfile is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # RFC 8996 retires TLS 1.0 and 1.1.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Clients that offer h2 as well must not choose it: this server speaks HTTP/1.1.
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    except OSError as error:  # it does not say which file
        raise OSError(f"{settings.ssl_certfile} cannot be used: {error.strerror or error}") from error
    return context


def server_limits(settings: Settings) -> ServerLimits:
    """What callers may send, and how slowly; bodies are counted by the guard."""
    return ServerLimits(
        header_bytes=settings.max_head,
        header_lines=settings.max_headers,
        target_bytes=settings.max_target,
        # The guard counts bodies itself, so that a body that is too large gets an answer in OpenAI's form.
        body_bytes=UNLIMITED,
        header_s=settings.header_timeout,
        body_s=settings.body_timeout,
        body_rate=settings.body_rate,
        idle_s=settings.client_idle_timeout,
        unread_s=settings.unread_timeout,
        connections=settings.max_connections or connection_cap(),
        strangers=settings.max_unauthenticated,
    )


@define
class ServingState:
    """What serves. What ran before a reload ends where it began, and counts among the same requests."""

    server: HTTPServer
    app: App

    # -- how it is: what serves now knows

    def is_alive(self) -> bool:
        """That it can answer says so."""
        return self.app.state.is_alive()

    def status_name(self) -> str:
        """``ready``, ``degraded`` or ``unready``."""
        return self.app.state.status_name()

    def ready_view(self, *, details: bool) -> Json:
        """For ``/ready``."""
        return self.app.state.ready_view(details=details)

    def replace_app(self, app: App, settings: Settings) -> None:
        """Let ``app`` serve from the next request on; what runs ends where it began (contract D9)."""
        # First, because it is what can fail: then nothing has been replaced.
        self.server.ssl_context = tls_context(settings)
        self.app = app
        self.server.application = app.application
        self.server.limits = server_limits(settings)

    def running_requests(self) -> list[RunningRequest]:
        """What has not answered yet."""
        return [*self.app.runtime.admission]

    async def wait_until_over(self) -> None:
        """Return once nothing runs, and no connection is left that waits for a request.

        Such a connection is given a moment, because a request may be on its way; its answer then says
        ``Connection: close`` (contract R2).
        """
        until = asyncio.get_running_loop().time() + LINGER_S
        # Asked again after each step: a request may have come on a connection that was kept.
        while self.running_requests() or (self.server.open and asyncio.get_running_loop().time() < until):
            await self.app.runtime.admission.wait_until_idle()
            await asyncio.sleep(_LINGER_STEP_S)

    def start_draining(self) -> None:
        """Accept no more connections, and keep none."""
        self.server.stop()
        self.app.state.draining = self.app.runtime.admission.draining = True

    async def aclose(self) -> None:
        """End everything."""
        await self.server.aclose()
        await self.app.aclose()


async def serve_app(
    app: App,
    sockets: list[socket.socket],
    settings: Settings,
    started: Callable[[int], object],
    *,
    health: Sequence[socket.socket] = (),
    renew: Callable[[App], tuple[App, Settings] | None] = lambda app: None,
    changed: Callable[[], bool] = lambda: False,
    until: Callable[[Take], Awaitable[bool]] | None = None,
    tell: Callable[[str], object] = lambda word: None,
) -> None:
    """Serve until a signal asks to stop, or ``until`` returns: true if it may ask once more.

    ``started`` is told the port, or 0, once connections are taken. ``health`` are sockets for probes, which are
    answered to the very end. ``renew`` gives what is to serve from now on in the place of what serves, or None where
    everything stays as it is; it is asked after SIGHUP, when ``changed`` says that a file did, and when ``until`` calls
    the function that it is given. ``tell`` is told now and then how it is, in a word.
    """
    server = HTTPServer(
        app.application,
        limits=server_limits(settings),
        render=app.application.render_refusal,
        ssl_context=tls_context(settings),
    )
    serving = ServingState(server, app)
    server.add_sockets(sockets)
    port = 0 if settings.uds else sockets[0].getsockname()[1]
    stop_requests: asyncio.Queue[str] = asyncio.Queue()

    def take() -> bool:
        renewed = renew(serving.app)
        if renewed is not None:
            serving.replace_app(*renewed)
        return renewed is not None

    watch, listen_to = (
        _background_task(_poll_changes(serving, tell, changed, take)),
        _background_task(_forward_stop_requests(stop_requests, until, take)),
    )
    async with answer_probes(health, serving):
        with signals.handle_signals(stop_requests.put_nowait, take), watch, listen_to, loop_monitor(settings):
            started(port)
            await stop_requests.get()
            await _drain_requests(serving, settings.drain_timeout, stop_requests)
        await serving.aclose()


def loop_monitor(settings: Settings) -> contextlib.AbstractContextManager[object]:
    """The event loop's monitor, where it is asked for (contract R5)."""
    limit_s = settings.slow_loop or (LIMIT_S if settings.log_level == "debug" else 0)
    return LoopLag(limit_s) if limit_s else contextlib.nullcontext()


async def _poll_changes(
    serving: ServingState, tell: Callable[[str], object], changed: Callable[[], bool], take: Take
) -> None:
    """Take changes of files, and of the memory that is left, while we run (contract D8, D13)."""
    while True:
        # Before the first sleep, because this is also how the parent learns that connections are taken.
        tell(serving.status_name())
        await asyncio.sleep(POLL_S)
        if changed():
            take()
        serving.app.poll_keys()
        serving.app.poll_prices()
        serving.app.application.admission.refresh_memory()


async def _forward_stop_requests(
    stop_requests: asyncio.Queue[str], until: Callable[[Take], Awaitable[bool]] | None, take: Take
) -> None:
    """Ask to stop whenever ``until`` returns."""
    again = True
    while until and again:
        again = await until(take)
        stop_requests.put_nowait("parent")


async def _drain_requests(serving: ServingState, seconds: float, stop_requests: asyncio.Queue[str]) -> None:
    serving.start_draining()
    if running := serving.running_requests():
        log.app.info(
            "Stopping: %d requests are still running; waiting up to %g s. Send the signal again to stop immediately.",
            len(running),
            seconds,
        )
    again = asyncio.ensure_future(stop_requests.get())
    idle = asyncio.ensure_future(serving.wait_until_over())
    await asyncio.wait({again, idle}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if running := serving.running_requests():
        log.app.warning("Stopped; %d requests were not finished.", len(running))
        for handler in running:
            # Each caller gets an error that says why, instead of a connection that is cut.
            handler.shut_down()
        await asyncio.wait({idle}, timeout=_LAST_WORDS_S)
    for task in (again, idle):
        task.cancel()
    await asyncio.gather(again, idle, return_exceptions=True)


@contextlib.contextmanager
def _background_task(work: Awaitable[Any]) -> Iterator[None]:
    """Own a task for as long as the block runs."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
