"""An HTTP/1.1 server under Tornado's applications and handlers, in the place of Tornado's own.

What it does not do, on purpose, and what that is measured against: docs/adr/0004-http-engine.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import math
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from typing import Any, Final

from tornado.httputil import HTTPHeaders, HTTPServerConnectionDelegate, ResponseStartLine
from tornado.ioloop import IOLoop

from fwd_server.http1.server.connection import UNAUTHENTICATED_SNDBUF, Connection
from fwd_server.http1.server.limits import Refusal, ServerLimits
from fwd_server.http1.server.reply import encode_head

__all__ = ["HTTPServer", "Refusal", "ServerLimits"]

# Headers and body of the answer to a refused request from an address; it writes the log line, too.
Render = Callable[[Refusal, str], tuple[Sequence[tuple[str, str]], bytes]]

_SCRATCH: Final = 64 << 10
_BATCH: Final = 16  # connections accepted before others get their turn: under a flood they cost it 5 ms (R3)
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
        self._io_loop = IOLoop.current()  # it watches sockets on every kind of loop, Windows' own included
        self.flushed: asyncio.Future[None] = self._loop.create_future()
        self.flushed.set_result(None)
        self._render = render
        self.ssl_context = ssl_context
        self._connections: dict[Connection, None] = {}  # in the order they came
        self._opening: set[asyncio.Task[None]] = set()
        self._listeners: list[socket.socket] = []
        self._listening = False
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
        self._listen(False)
        # `_listen` acts on changes only: watching ends for all listeners here and begins for all in `_note_room`.
        for listener in sockets:
            # Accepted sockets inherit it, which saves a system call for each.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNAUTHENTICATED_SNDBUF)
            self._listeners.append(listener)
        self._note_room()
        if self._sweeper is None:
            self._sweep()

    def stop(self) -> None:
        """Accept no more; what is open stays open."""
        self._listen(False)
        for listener in self._listeners:
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
            # A request that still runs gets no more time here: draining comes before, and is over.
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

    def render_refusal(self, refusal: Refusal, remote_ip: str, *, bodiless: bool) -> bytes:
        """The whole answer to a request that is not handed on, or all but its body (RFC 9110, 9.3.2)."""
        more, body = self._render(refusal, remote_ip)
        headers = HTTPHeaders({"Date": formatdate(time.time(), usegmt=True), **dict(more)})
        headers["Content-Length"] = str(len(body))
        headers["Connection"] = "close"
        reason = http.HTTPStatus(refusal.status).phrase
        head = encode_head(ResponseStartLine("HTTP/1.1", refusal.status, reason), headers)
        return head if bodiless else head + body

    # -- accepting

    def _accept(self, listener: socket.socket, _: int) -> None:
        """Take what waits at a listener, as far as there is room and the system has descriptors (contract T3)."""
        for _ in range(_BATCH):
            try:
                sock, _address = listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:
                self._listen(False)
                # No descriptors are left. The listener stays readable, so to go on watching it would spin (contract
                # T3).
                self._loop.call_later(_REST_S, self._note_room)
                return
            sock.setblocking(False)
            self._open(sock)
            # There was room for this one; `_open` has counted it, and the next one may have to wait.
            if not self._listening:
                return

    def _listen(self, wanted: bool) -> None:
        """Watch the listeners, or leave what comes to the kernel's queue."""
        if wanted != self._listening:
            self._listening = wanted
            for listener in self._listeners:
                if wanted:
                    self._io_loop.add_handler(listener, self._accept, IOLoop.READ)
                else:
                    self._io_loop.remove_handler(listener)

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
        if self.ssl_context is not None:
            options = {"ssl": self.ssl_context, "ssl_handshake_timeout": self.limits.header_s}
        protocol = "https" if options else "http"
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            try:
                await self._loop.connect_accepted_socket(lambda: Connection(self, protocol), sock, **options)
            finally:
                if not isinstance(self._loop, asyncio.BaseEventLoop):
                    sock.detach()  # libuv closes the descriptor: see dial._hand_over

    def _note_room(self) -> None:
        limit = self.limits.connections
        self._listen(limit is None or self.open < limit)
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
            if connection.stalls < math.inf:
                connection.check_progress(now)
            if connection.expires <= now:
                connection.overdue()
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
            if connection.authenticated or connection.since > old or not address or connection.closing:
                continue
            counts[address] += 1
            if counts[address] > self.limits.strangers:
                connection.refuse(_too_many(self.limits))


def _too_many(limits: ServerLimits) -> Refusal:
    return Refusal(503, "overloaded", f"More than {limits.strangers} unauthenticated connections from this address.")
