"""An HTTP/1.1 server under Tornado's applications and handlers, in the place of Tornado's own.

What it does not do, on purpose, and what that is measured against: docs/adr/0004-http-engine.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from typing import Any, Final

from tornado.httputil import HTTPHeaders, HTTPServerConnectionDelegate, ResponseStartLine

from fwd_server.http1.connection import Connection
from fwd_server.http1.limits import Refusal, ServerLimits
from fwd_server.http1.reply import encode_head

__all__ = ["HTTPServer", "Refusal", "ServerLimits"]

# Headers and body of the answer to a refused request from an address; it writes the log line, too.
Render = Callable[[Refusal, str], tuple[Sequence[tuple[str, str]], bytes]]

_SCRATCH: Final = 64 << 10
_SNDBUF: Final = 128 << 10  # contract R4: what the kernel keeps for a slow reader
_BATCH: Final = 64  # connections accepted before others get their turn
_TICK_S: Final = 0.5
_REST_S: Final = 0.25  # before the next try, when the system has no descriptors left


def plain_refusal(refusal: Refusal, remote_ip: str) -> tuple[Sequence[tuple[str, str]], bytes]:
    """A refusal as a line of text."""
    return [("Content-Type", "text/plain; charset=utf-8")], f"{refusal}\n".encode()


class HTTPServer:
    """Serves an application on any number of listening sockets, of one event loop, until it is closed.

    Args:
        application: usually a ``tornado.web.Application``.
        limits: what a client may send and how slowly.
        render: how refused requests are answered and logged.
        ssl_context: for https.
    """

    def __init__(
        self,
        application: HTTPServerConnectionDelegate,
        *,
        limits: ServerLimits | None = None,
        render: Render = plain_refusal,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.application = application
        self.limits = limits or ServerLimits()
        self.scratch = memoryview(bytearray(_SCRATCH))
        self._loop = asyncio.get_running_loop()
        self.flushed: asyncio.Future[None] = self._loop.create_future()
        self.flushed.set_result(None)
        self._render = render
        self._ssl_context = ssl_context
        self._connections: dict[Connection, None] = {}  # in the order they came
        self._opening: set[asyncio.Task[None]] = set()
        self._listeners: dict[socket.socket, asyncio.Task[None]] = {}
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._connections) + len(self._opening)

    @property
    def idle(self) -> int:
        """How many of them wait for a request."""
        return sum(connection.idle for connection in self._connections)

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on sockets that listen and do not block; ``stop`` closes them."""
        for listener in sockets:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SNDBUF)
            self._listeners[listener] = self._loop.create_task(self._accept(listener))
        if self._sweeper is None:
            self._sweep()

    def stop(self) -> None:
        """Accept no more; what is open stays open."""
        for listener, task in self._listeners.items():
            task.cancel()
            listener.close()
        self._listeners.clear()

    def close_idle(self) -> None:
        """Close the connections that wait for a request."""
        for connection in tuple(self._connections):
            if connection.idle:
                connection.close()

    async def aclose(self, flush_s: float = 1.0) -> None:
        """Close everything: what was answered gets ``flush_s`` seconds to be sent, what still runs does not."""
        self.stop()
        await asyncio.sleep(0)  # a task that never began would leave its socket to nobody
        for task in self._opening:
            task.cancel()
        for connection in tuple(self._connections):
            (connection.close if connection.reply is None else connection.abort)()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._emptied(), flush_s)
        for connection in tuple(self._connections):
            connection.abort()
        await self._emptied()
        if self._sweeper is not None:
            self._sweeper.cancel()

    # -- the connections' side

    def made(self, connection: Connection) -> None:
        """Count a connection."""
        self._connections[connection] = None

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        del self._connections[connection]
        self._note_room()

    def render_refusal(self, refusal: Refusal, remote_ip: str) -> bytes:
        """The whole answer to a request that is not handed on."""
        more, body = self._render(refusal, remote_ip)
        headers = HTTPHeaders({"Date": formatdate(time.time(), usegmt=True), **dict(more)})
        headers["Content-Length"] = str(len(body))
        headers["Connection"] = "close"
        reason = http.HTTPStatus(refusal.status).phrase
        return encode_head(ResponseStartLine("HTTP/1.1", refusal.status, reason), headers) + body

    # -- accepting

    async def _accept(self, listener: socket.socket) -> None:
        """Accept until cancelled, pausing while there is no room or no descriptor (contract T3)."""
        accepted = 0
        while True:
            await self._room.wait()
            try:
                sock, _ = await self._loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(_REST_S)
                continue
            self._open(sock)
            accepted += 1
            if accepted % _BATCH == 0:
                await asyncio.sleep(0)

    def _open(self, sock: socket.socket) -> None:
        task = self._loop.create_task(self._connect(sock))
        self._opening.add(task)
        task.add_done_callback(self._opened)
        self._note_room()

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        self._note_room()

    async def _connect(self, sock: socket.socket) -> None:
        """Make a transport of an accepted socket. A failed TLS handshake is the client's affair."""
        options: dict[str, Any] = {}
        if self._ssl_context is not None:
            options = {"ssl": self._ssl_context, "ssl_handshake_timeout": self.limits.header_s}
        protocol = "https" if options else "http"
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            try:
                await self._loop.connect_accepted_socket(lambda: Connection(self, protocol), sock, **options)
            finally:
                if not isinstance(self._loop, asyncio.BaseEventLoop):
                    sock.detach()  # libuv closes the descriptor: see dial._hand_over

    def _note_room(self) -> None:
        limit = self.limits.connections
        if limit is None or self.open < limit:
            self._room.set()
        else:
            self._room.clear()
        if not self.open:
            self._empty.set()

    async def _emptied(self) -> None:
        while self.open:
            self._empty.clear()
            await self._empty.wait()

    # -- time

    def _sweep(self) -> None:
        """Look at every connection once in a while: cheaper than a timer for each request."""
        now = self._loop.time()
        for connection in tuple(self._connections):
            if connection.expires <= now or connection.stalls <= now:
                connection.overdue(now)
        self._refuse_strangers(now)
        limits = self.limits
        shortest = min(limits.header_s, limits.body_s, limits.idle_s, limits.unread_s, limits.linger_s)
        self._sweeper = self._loop.call_later(min(_TICK_S, shortest / 4), self._sweep)

    def _refuse_strangers(self, now: float) -> None:
        """Close what is too much from one address that never authenticated, the youngest first (contract T2).

        Only those that had the time to show a key count, so that a pool may open all its connections at once.
        """
        old = now - self.limits.stranger_s
        counts: Counter[str] = Counter()
        for connection in tuple(self._connections):
            address = connection.context.remote_ip
            if connection.trusted or connection.since > old or not address or connection.closing:
                continue
            counts[address] += 1
            if counts[address] > self.limits.strangers:
                connection.refuse(_too_many(self.limits))


def _too_many(limits: ServerLimits) -> Refusal:
    return Refusal(
        503, "overloaded", f"More than {limits.strangers} connections from this address have not shown a key yet."
    )
