"""The connections to one origin, and who waits for one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from fwd_server.http1.client.exchange import Connection
from fwd_server.http1.client.values import Origin, TransportError


class OriginPool:
    """A fixed number of places for connections to one origin, given out in the order of asking.

    `keep` is called with a connection nobody waits for.
    """

    def __init__(self, origin: Origin, places: int, keep: Callable[[OriginPool, Connection], None]) -> None:
        self.origin = origin
        self.loop = asyncio.get_running_loop()  # kept, because asking for it is a system call before Python 3.12
        self.connections: set[Connection] = set()
        self.idle: list[Connection] = []
        self.forgotten = False  # whether the pool has another one for this origin by now, or none
        self._places = places
        self._keep = keep
        self._dialing = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._empty: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether every place is taken."""
        return self._dialing + len(self.connections) >= self._places

    @property
    def used(self) -> bool:
        """Whether anybody has to do with this origin."""
        return bool(self._dialing or self.connections or self._waiting)

    def pop_idle(self) -> Connection | None:
        """Return the connection kept last, if one is still good: the younger, the less likely closed."""
        now = self.loop.time()
        while self.idle:
            connection = self.idle.pop()
            if connection.usable and connection.expires > now:
                return connection
            connection.abort()
        return None

    def sweep(self, now: float) -> None:
        """Close the idle connections whose time is over."""
        over = [connection for connection in self.idle if connection.expires <= now]
        self.idle = [connection for connection in self.idle if connection.expires > now]
        for connection in over:
            connection.abort()

    def reserve(self) -> None:
        """Take a place for a connection yet to be opened."""
        self._dialing += 1

    def unreserve(self) -> None:
        """Give the place back: the connection is open and counts itself, or it failed."""
        self._dialing -= 1
        self._offer_place()

    async def acquire(self, timeout_s: float) -> Connection | None:
        """Wait for a connection, or for a place (None), which is then reserved.

        Raises TransportError `connect_timeout` when neither comes within `timeout_s`.
        """
        # In the order of asking: without a queue a busy origin could leave a call waiting until its time is over.
        turn: asyncio.Future[Connection | None] = self.loop.create_future()
        self._waiting.append(turn)
        timer = self.loop.call_later(timeout_s, self._expire, turn, timeout_s)
        try:
            connection = await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:
                self._pass_on(turn.result())
            raise
        finally:
            timer.cancel()
        # Between the hand-over and now the upstream may have closed it; its place is then used for a new one.
        if connection is None or connection.usable:
            return connection
        self.reserve()
        return None

    def close(self) -> None:
        """Close every connection and send those who wait away."""
        self._closed = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(TransportError("upstream_reset", "the pool was closed"))
        for connection in tuple(self.connections):
            connection.abort()

    async def emptied(self) -> None:
        """Return when every socket is closed."""
        if self.connections:
            self._empty = self.loop.create_future()
            await self._empty

    def made(self, connection: Connection) -> None:
        """Count a connection; one that comes after the end is closed."""
        self.connections.add(connection)
        if self._closed:
            connection.abort()

    def freed(self, connection: Connection) -> None:
        """Hand a connection to who waits longest, or keep it."""
        turn = self._next()
        if turn is None:
            self._keep(self, connection)
        else:
            turn.set_result(connection)

    def lost(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self._offer_place()
        if self._empty is not None and not self._empty.done() and not self.connections:
            self._empty.set_result(None)

    def _offer_place(self) -> None:
        if not self.full and (turn := self._next()) is not None:
            self.reserve()
            turn.set_result(None)

    def _pass_on(self, connection: Connection | None) -> None:
        """Undo a turn whose owner left in the very moment it came."""
        if connection is None:
            self.unreserve()
        elif connection.usable:
            self.freed(connection)

    def _next(self) -> asyncio.Future[Connection | None] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                return turn
        return None

    def _expire(self, turn: asyncio.Future[Connection | None], timeout_s: float) -> None:
        if not turn.done():
            what = f"all {self._places} connections to {self.origin.authority} were in use for {timeout_s:g} s"
            turn.set_exception(TransportError("connect_timeout", what))
