"""Places and turns, in the moments that a socket hardly ever meets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fwd_server.http1.client.exchange import Connection
from fwd_server.http1.client.origin_pool import OriginPool
from fwd_server.http1.client.values import Origin

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class Transport(asyncio.Transport):
    """A transport that is open until it is aborted."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


def lane_of_one() -> tuple[OriginPool, Connection, list[Connection]]:
    """A lane with one place, the connection that takes it, and the list of what was kept."""
    kept: list[Connection] = []
    origin_pool = OriginPool(Origin("http", "a.test", 80), 1, lambda origin_pool, connection: kept.append(connection))
    connection = Connection(origin_pool, memoryview(b""))
    connection.connection_made(Transport())
    return origin_pool, connection, kept


def test_a_turn_whose_owner_leaves_goes_on(run: Run) -> None:
    """Cancelled in the moment its turn came, a waiter passes the connection on (S28)."""

    async def main() -> None:
        origin_pool, connection, kept = lane_of_one()
        first, second = (asyncio.create_task(origin_pool.acquire(5)) for _ in range(2))
        await asyncio.sleep(0)
        origin_pool.freed(connection)
        first.cancel()
        assert await second is connection
        assert kept == []

    run(main())


def test_a_place_whose_owner_leaves_goes_on(run: Run) -> None:
    """The same for the place of a connection that was lost."""

    async def main() -> None:
        origin_pool, connection, _ = lane_of_one()
        first, second = (asyncio.create_task(origin_pool.acquire(5)) for _ in range(2))
        await asyncio.sleep(0)
        connection.connection_lost(None)
        first.cancel()
        assert await second is None
        origin_pool.unreserve()
        assert not origin_pool.used

    run(main())


def test_a_dead_connection_is_passed_to_nobody(run: Run) -> None:
    """A connection that died on its way to a waiter is a place; one whose waiter left as well is nothing."""

    async def main() -> None:
        origin_pool, connection, kept = lane_of_one()
        turn, left = (asyncio.create_task(origin_pool.acquire(5)) for _ in range(2))
        await asyncio.sleep(0)
        origin_pool.freed(connection)
        connection.abort()
        assert await turn is None
        origin_pool.freed(connection)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert kept == []

    run(main())


def test_a_turn_that_comes_with_its_time_limit(run: Run) -> None:
    """A connection that is handed over in the same moment the time runs out is taken."""

    async def main() -> None:
        origin_pool, connection, _ = lane_of_one()
        asyncio.get_running_loop().call_later(0.001, origin_pool.freed, connection)
        turn = asyncio.create_task(origin_pool.acquire(0.002))
        await asyncio.sleep(0)
        time.sleep(0.01)
        assert await turn is connection

    run(main())


def test_who_has_left_is_skipped(run: Run) -> None:
    """A waiter that left before its turn is not waited for."""

    async def main() -> None:
        origin_pool, connection, kept = lane_of_one()
        turn = asyncio.create_task(origin_pool.acquire(5))
        await asyncio.sleep(0)
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        origin_pool.freed(connection)
        assert kept == [connection]

    run(main())


def test_closing_twice_over(run: Run) -> None:
    """A waiter that was sent away and cancelled is no trouble; a connection that comes late is closed."""

    async def main() -> None:
        origin_pool, connection, _ = lane_of_one()
        turn = asyncio.create_task(origin_pool.acquire(5))
        await asyncio.sleep(0)
        origin_pool.close()
        origin_pool.close()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        late = Connection(origin_pool, memoryview(b""))
        late.connection_made(Transport())
        assert (late.usable, connection.usable) == (False, False)

    run(main())


def test_writing_may_go_on_with_nothing_to_write(run: Run) -> None:
    """A socket that takes bytes again after its exchange has ended is left alone."""

    async def main() -> None:
        _, connection, _ = lane_of_one()
        connection.pause_writing()
        connection.resume_writing()
        assert connection.writable

    run(main())
