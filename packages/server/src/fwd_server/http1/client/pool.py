"""A pool of keep-alive connections to upstreams: send one request, get one answer, nothing else.

No redirects, no cookies, no decompression (`identity` is asked for unless the caller asks otherwise), and no
retry but one: a kept connection that ends before any byte of an answer is replaced once, in silence (F6).
"""

from __future__ import annotations

import asyncio
import ssl

from fwd_server.http1.client.answer import Answer
from fwd_server.http1.client.dial import Dialer, Proxies, Resolver, tls_context
from fwd_server.http1.client.exchange import Connection, Exchange, Response, StaleConnection
from fwd_server.http1.client.origin_pool import OriginPool
from fwd_server.http1.client.target import Headers, PreparedTarget, encode_start
from fwd_server.http1.client.values import Limits, Origin, Timeouts, TransportError

__all__ = [
    "Limits",
    "Origin",
    "Pool",
    "PreparedTarget",
    "Proxies",
    "Resolver",
    "Response",
    "Timeouts",
    "TransportError",
    "tls_context",
]


_SCRATCH = 64 * 1024


class Pool:
    """Connections to any number of origins; of one event loop, and closed by its owner.

    Args:
        ssl_context: for https; by default what `tls_context` returns.
        max_per_origin: connections to one origin, those in use and those kept; more requests wait.
        max_idle: of them, how many are kept for later.
        keepalive_s: how long one is kept; a shorter `Keep-Alive: timeout` of the upstream is respected.
        proxies: how https origins are reached, see `Proxies.from_env`.
        limits: how much of an answer is taken.
        resolver: looks up names; by default the system does.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_per_origin: int = 1000,
        max_idle: int = 100,
        keepalive_s: float = 30.0,
        proxies: Proxies | None = None,
        limits: Limits | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._dialer = Dialer(ssl_context or tls_context(), proxies or Proxies(), resolver or Resolver())
        self._max_per_origin = max_per_origin
        self._max_idle = max_idle
        self._keepalive_s = keepalive_s
        self._limits = limits or Limits()
        self._scratch = memoryview(bytearray(_SCRATCH))
        self._origins: dict[Origin, OriginPool] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def open(self) -> int:
        """How many connections are open."""
        return sum(len(origin_pool.connections) for origin_pool in self._origins.values())

    @property
    def idle(self) -> int:
        """How many of them wait for an exchange."""
        return sum(len(origin_pool.idle) for origin_pool in self._origins.values())

    async def send(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: Headers,
        body: bytes,
        timeouts: Timeouts,
    ) -> Response:
        """Send a request and return the answer as soon as its head is in.

        `target` is path and query, percent-encoded. The pool adds Host, Content-Length and, unless given,
        `accept-encoding: identity`. The caller must read the response to its end or close it.

        Raises TransportError, and ValueError for a request that would not be one request on the wire. Cancelled
        at any point, it closes the socket it uses.
        """
        return await self.send_prepared(self.prepare(origin, method, target, headers), body, timeouts)

    def prepare(self, origin: Origin, method: str, target: str, headers: Headers) -> PreparedTarget:
        """Return what requests that differ only in their bodies have in common: made, and checked, once.

        Raises ValueError as `send` does, and TransportError when the pool is closed.
        """
        start, codings = encode_start(origin, method, target, tuple(headers))
        return PreparedTarget(origin, method, start, codings, self._origin_pool(origin))

    async def send_prepared(
        self, target: PreparedTarget, body: bytes, timeouts: Timeouts, extra: Headers = ()
    ) -> Response:
        """As `send`, to a target of this pool's `prepare`; `extra` are headers of this one request."""
        head = target.encode_head(len(body), extra)
        connection = await self._take(self._lane(target), timeouts)
        try:
            return await self._exchange(connection, target, timeouts).send(head, body)
        except StaleConnection:
            # The others that were kept may be as stale: an upstream that restarts closes all of them. So the one retry
            # gets a new connection (F6).
            origin_pool = self._lane(target)  # the old one may be forgotten: its last connection has gone
            origin_pool.reserve()
            connection = await self._dial(origin_pool, timeouts)
            return await self._exchange(connection, target, timeouts).send(head, body)

    async def aclose(self) -> None:
        """Close every connection, in use or not, and return when all sockets are closed."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for origin_pool in self._origins.values():
            origin_pool.close()
        await self._dialer.aclose()
        for origin_pool in self._origins.values():
            await origin_pool.emptied()

    def _origin_pool(self, origin: Origin) -> OriginPool:
        if self._closed:
            raise TransportError("upstream_reset", "the pool is closed")
        origin_pool = self._origins.get(origin)
        if origin_pool is None:
            # A new origin is the only way their number grows, so this is the time to drop the unused ones.
            self._forget_unused()
            origin_pool = self._origins[origin] = OriginPool(origin, self._max_per_origin, self._keep)
        return origin_pool

    def _forget_unused(self) -> None:
        for origin, origin_pool in tuple(self._origins.items()):
            if not origin_pool.used:
                origin_pool.forgotten = True
                del self._origins[origin]

    def _lane(self, target: PreparedTarget) -> OriginPool:
        """The connections to a target's origin, which may have been forgotten since it was prepared."""
        if target.lane.forgotten or self._closed:
            target.lane = self._origin_pool(target.origin)
        return target.lane

    async def _take(self, origin_pool: OriginPool, timeouts: Timeouts) -> Connection:
        """Return a kept connection, else a new one, waiting for a place if all are taken."""
        connection = origin_pool.pop_idle()
        if connection is not None:
            return connection
        if origin_pool.full:
            connection = await origin_pool.acquire(timeouts.connect_s)
            if connection is not None:
                return connection
        else:
            origin_pool.reserve()
        return await self._dial(origin_pool, timeouts)

    async def _dial(self, origin_pool: OriginPool, timeouts: Timeouts) -> Connection:
        """Return a new connection in the place that was reserved for it."""
        connection = Connection(origin_pool, self._scratch)
        try:
            await self._dialer.dial(origin_pool.origin, timeouts, connection)
        except BaseException:
            origin_pool.lost(connection)  # uvloop does not say so when cancelled between success and return
            raise
        finally:
            origin_pool.unreserve()
        return connection

    def _exchange(self, connection: Connection, target: PreparedTarget, timeouts: Timeouts) -> Exchange:
        return Exchange(connection, Answer(target.method, self._limits, target.codings), timeouts, self._limits)

    def _keep(self, origin_pool: OriginPool, connection: Connection) -> None:
        """Keep a connection for later, or close it if there are enough."""
        # Closed and not kept: after a burst the upstream would otherwise hold hundreds of idle connections of ours.
        if len(origin_pool.idle) >= self._max_idle or self._closed:
            connection.abort()
            return
        connection.expires = origin_pool.loop.time() + min(self._keepalive_s, connection.keepalive_limit_s)
        origin_pool.idle.append(connection)
        # One timer for all connections; a timer for each would be set and cancelled with every call.
        if self._sweeper is None:
            self._sweeper = origin_pool.loop.call_later(self._keepalive_s, self._sweep)

    def _sweep(self) -> None:
        """Close what was kept long enough. A new connection is never among the idle before its first use."""
        loop = asyncio.get_running_loop()
        for origin_pool in self._origins.values():
            origin_pool.sweep(loop.time())
        self._sweeper = loop.call_later(self._keepalive_s, self._sweep) if self.idle else None
