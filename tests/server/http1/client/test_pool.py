"""The pool on real sockets: keeping, replacing, waiting, and requests that are one request."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any, cast

import pytest

from fwd_server.http1.client.origin_pool import OriginPool
from fwd_server.http1.client.pool import Origin, Pool, PreparedTarget, Response, Timeouts, TransportError
from fwd_server.http1.client.target import encode_start

Run = Callable[[Coroutine[Any, Any, Any]], Any]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
TLS = ssl.create_default_context()
ORIGIN = Origin("http", "example.com", 80)


async def ask(pool: Pool, up: Any, body: bytes = b"{}", **timeouts: float | None) -> Response:
    return await pool.send(up.origin, "POST", "/v1", [(b"X-A", b"b")], body, Timeouts(**timeouts))


async def ask_all(pool: Pool, up: Any, **timeouts: float | None) -> bytes:
    with closing(await ask(pool, up, **timeouts)) as response:
        return await response.read_all(1000)


async def answers(line: Any) -> None:
    """Answer every request on the connection."""
    while await line.request():
        await line.say(OK)


async def settled(claim: Callable[[], bool]) -> None:
    """Wait until `claim` holds; the test's own time limit ends it otherwise."""
    while not claim():
        await asyncio.sleep(0.001)


def test_one_exchange(run: Run, upstream: Any) -> None:
    """The request on the wire is exact, and so is what comes back."""
    seen: list[bytes] = []

    async def script(line: Any) -> None:
        seen.append(await line.request())
        await line.say(b"HTTP/1.1 201 Created\r\nX-B: c\r\nContent-Length: 2\r\n\r\nhi", step=1)
        await line.disconnected()

    async def main() -> None:
        async with upstream(script) as up:
            pool = Pool()
            with closing(await ask(pool, up)) as response:
                assert (response.status, response.headers["x-b"]) == (201, "c")
                assert await response.read_all(1000) == b"hi"
                assert await response.read() == b""
            await pool.aclose()
            host = up.origin.host_header.encode()
            assert seen == [
                b"POST /v1 HTTP/1.1\r\nHost: " + host + b"\r\nX-A: b\r\naccept-encoding: identity\r\n"
                b"content-length: 2\r\n\r\n{}"
            ]

    run(main())


def test_a_connection_is_kept(run: Run, upstream: Any) -> None:
    """Exchanges one after the other share a connection."""

    async def main() -> None:
        async with upstream(answers) as up:
            pool = Pool()
            for _ in range(5):
                assert await ask_all(pool, up) == b"hi"
            assert (up.connections, pool.open, pool.idle) == (1, 1, 1)
            await pool.aclose()
            assert (pool.open, pool.idle) == (0, 0)

    run(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
def test_a_connection_that_is_not_kept(run: Run, upstream: Any, answer: bytes) -> None:
    """A connection that is to be closed, or said more than it was asked, serves nobody else (S28)."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(answer)
        await line.disconnected()

    async def main() -> None:
        async with upstream(script) as up:
            pool = Pool()
            assert [await ask_all(pool, up), await ask_all(pool, up)] == [b"hi", b"hi"]
            assert up.connections == 2
            await pool.aclose()

    run(main())


def test_bytes_on_an_idle_connection_end_it(run: Run, upstream: Any) -> None:
    """What comes after an answer, even much later, never meets the next request (S28)."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(OK)
        await asyncio.sleep(0.01)
        await line.say(OK)
        await line.disconnected()

    async def main() -> None:
        async with upstream(script) as up:
            pool = Pool()
            assert await ask_all(pool, up) == b"hi"
            await settled(lambda: pool.open == 0)
            await pool.aclose()

    run(main())


def test_an_upstream_that_speaks_first(run: Run, upstream: Any) -> None:
    """A new connection that says something before it is asked is not used for an answer."""

    async def script(line: Any) -> None:
        await line.say(b"220 ready\r\n")
        await line.disconnected()

    async def main() -> None:
        async with upstream(script) as up:
            pool = Pool()
            with pytest.raises(TransportError) as caught:
                await ask(pool, up)
            assert caught.value.code in {"bad_response", "upstream_reset"}
            await pool.aclose()

    run(main())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_upstream_that_hangs_up_at_once(run: Run, upstream: Any, how: str) -> None:
    """A connection that ends while it is handed over is closed once (a second time would hit another's file)."""

    async def script(line: Any) -> None:
        if how == "reset":
            line.reset()

    async def main() -> None:
        async with upstream(script) as up:
            pool = Pool()
            outcomes = await asyncio.gather(*(ask(pool, up) for _ in range(50)), return_exceptions=True)
            assert {getattr(outcome, "code", outcome) for outcome in outcomes} <= {"upstream_reset", "connect_failed"}
            await pool.aclose()
            assert pool.open == 0

    run(main())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stale_connection_is_replaced_once(run: Run, upstream: Any, how: str) -> None:
    """A kept connection that ends before any byte of an answer costs one silent retry on a fresh one (F6)."""
    seen: list[bytes] = []

    async def script(line: Any) -> None:
        seen.append(await line.request())
        await line.say(OK)
        seen.append(await line.request())
        if len(seen) == 2:
            getattr(line, "reset" if how == "reset" else "half_close")()
            return
        await line.say(OK)

    async def main() -> None:
        async with upstream(script) as up:
            pool = Pool()
            assert [await ask_all(pool, up), await ask_all(pool, up)] == [b"hi", b"hi"]
            assert up.connections == 2
            await pool.aclose()

    run(main())


def test_a_retry_is_counted_even_when_its_origin_was_forgotten(run: Run, upstream: Any) -> None:
    """Between the end of a kept connection and its replacement, another origin may clear the list of origins."""

    async def main() -> None:
        async with upstream(answers) as up:
            pool, loop = Pool(), asyncio.get_running_loop()
            assert await ask_all(pool, up) == b"hi"
            (connection,) = pool._origins[up.origin].connections
            task = asyncio.create_task(ask_all(pool, up))
            await asyncio.sleep(0)
            loop.call_soon(connection.transport.abort)
            loop.call_soon(loop.call_soon, pool._origin_pool, ORIGIN)
            assert await task == b"hi"
            assert (up.connections, pool.open) == (2, 1)
            await pool.aclose()

    run(main())


def test_no_second_retry(run: Run, upstream: Any) -> None:
    """When the fresh connection ends as well, that is the answer (F5, F6)."""
    requests: list[bytes] = []

    async def script(line: Any) -> None:
        requests.append(await line.request())
        if len(requests) == 1:
            await line.say(OK)
            requests.append(await line.request())

    async def main() -> None:
        async with upstream(script) as up:
            pool = Pool()
            await ask_all(pool, up)
            with pytest.raises(TransportError) as caught:
                await ask_all(pool, up)
            assert (caught.value.code, len(requests)) == ("upstream_reset", 3)
            await pool.aclose()

    run(main())


def test_no_retry_after_the_first_byte(run: Run, upstream: Any) -> None:
    """A kept connection that began to answer is not asked again: the call may have been made (F6)."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(OK)
        await line.request()
        await line.say(b"H")

    async def main() -> None:
        async with upstream(script) as up:
            pool = Pool()
            await ask_all(pool, up)
            with pytest.raises(TransportError) as caught:
                await ask_all(pool, up)
            assert (caught.value.code, up.connections) == ("upstream_reset", 1)
            await pool.aclose()

    run(main())


def test_idle_connections_are_swept(run: Run, upstream: Any) -> None:
    """After `keepalive_s` an idle connection is closed, one in use is not."""

    async def main() -> None:
        go_on = asyncio.Event()

        async def script(line: Any) -> None:
            if b"slow" in await line.request():
                await go_on.wait()
            await line.say(OK)
            await line.disconnected()

        async with upstream(script) as up:
            pool = Pool(keepalive_s=0.02)
            slow = asyncio.create_task(ask(pool, up, body=b"slow"))
            await ask_all(pool, up)
            await settled(lambda: (pool.open, pool.idle) == (1, 0))
            go_on.set()
            assert (await slow).status == 200
            await settled(lambda: pool.open == 0)
            await pool.aclose()

    run(main())


def test_no_more_than_max_idle_are_kept(run: Run, upstream: Any) -> None:
    """What is beyond `max_idle` is closed at once."""

    async def main() -> None:
        async with upstream(answers) as up:
            pool = Pool(max_idle=2)
            await asyncio.gather(*(ask_all(pool, up) for _ in range(5)))
            await settled(lambda: pool.open == 2)
            await pool.aclose()

    run(main())


def test_places_are_given_out_in_order(run: Run, upstream: Any) -> None:
    """Beyond `max_per_origin` requests wait, and are served in the order they came."""
    order: list[int] = []

    async def main() -> None:
        async with upstream(answers) as up:
            pool = Pool(max_per_origin=1)

            async def one(number: int) -> None:
                await ask_all(pool, up)
                order.append(number)

            await asyncio.gather(*(one(number) for number in range(20)))
            assert order == list(range(20))
            assert up.connections == 1
            await pool.aclose()

    run(main())


def test_a_place_comes_free_when_a_connection_is_not_kept(run: Run, upstream: Any) -> None:
    """Who waits gets the place of a connection that was closed."""

    async def once(line: Any) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\n\r\nhi")

    async def main() -> None:
        async with upstream(once) as up:
            pool = Pool(max_per_origin=1)
            assert await asyncio.gather(*(ask_all(pool, up) for _ in range(5))) == [b"hi"] * 5
            assert up.connections == 5
            await pool.aclose()

    run(main())


def test_waiting_for_a_place_ends(run: Run, upstream: Any) -> None:
    """Without a place within `connect_s` the request fails, and says why."""

    async def main() -> None:
        async with upstream(silence) as up:
            pool = Pool(max_per_origin=1)
            silent = asyncio.create_task(ask(pool, up))
            await settled(lambda: pool.open == 1)
            with pytest.raises(TransportError, match=r"all 1 connections to 127\.0\.0\.1:[0-9]+ were in use") as caught:
                await ask(pool, up, connect_s=0.02)
            assert caught.value.code == "connect_timeout"
            await pool.aclose()
            await asyncio.gather(silent, return_exceptions=True)

    run(main())


async def silence(line: Any) -> None:
    await line.request()
    await line.disconnected()


def test_canaries_do_not_cross(run: Run, upstream: Any) -> None:
    """Each of 400 requests gets its own answer or none, a third of them cancelled on the way (S28, T27)."""

    async def echo(line: Any) -> None:
        while request := await line.request():
            canary = request.partition(b"\r\n\r\n")[2]
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(canary), canary), step=9)

    async def one(pool: Pool, up: Any, number: int) -> bool:
        canary = b"canary-%d" % number
        with closing(await ask(pool, up, body=canary)) as response:
            return await response.read_all(1000) == canary

    async def main() -> None:
        async with upstream(echo) as up:
            pool = Pool(max_per_origin=10)
            tasks = [asyncio.create_task(one(pool, up, number)) for number in range(400)]
            for number, task in enumerate(tasks):
                if number % 3 == 0:
                    asyncio.get_running_loop().call_later(number / 4000, task.cancel)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(outcome is True or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
            assert outcomes.count(True) >= 260
            await pool.aclose()
            assert pool.open == 0

    run(main())


def test_200_cancelled_exchanges_leave_nothing(run: Run, upstream: Any) -> None:
    """Wherever a task is cancelled, no connection, no waiter and no socket remains (T7)."""

    async def main() -> None:
        async with upstream(silence) as up:
            pool = Pool(max_per_origin=50)
            tasks = [asyncio.create_task(ask(pool, up)) for _ in range(200)]
            await settled(lambda: pool.open == 50)
            for number, task in enumerate(tasks):  # those who wait get their turn, and are cancelled in it
                task.cancel()
                for _ in range(number % 7):
                    await asyncio.sleep(0)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
            await settled(lambda: pool.open == 0)
            await settled(lambda: len(up.tasks) >= 50 and all(task.done() for task in up.tasks))
            assert not pool._origins[up.origin].used
            await pool.aclose()

    run(main())


def test_closing_the_pool(run: Run, upstream: Any) -> None:
    """Closed with exchanges in all states, the pool fails them and leaves no socket (S17)."""

    async def main() -> None:
        async with upstream(silence) as up:
            pool = Pool(max_per_origin=2)
            tasks = [asyncio.create_task(ask(pool, up)) for _ in range(4)]
            await settled(lambda: pool.open == 2)
            await pool.aclose()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert [getattr(outcome, "code", outcome) for outcome in outcomes] == ["upstream_reset"] * 4
            assert pool.open == 0
            with pytest.raises(TransportError, match="closed"):
                await ask(pool, up)

    run(main())


def test_closing_the_pool_while_it_connects(run: Run, upstream: Any) -> None:
    """Closed at any step of a connection being made, the pool leaves no socket."""

    async def main() -> None:
        async with upstream(silence) as up:
            for steps in range(1, 20):
                pool = Pool(ssl_context=TLS)
                task = asyncio.create_task(ask(pool, up))
                for _ in range(steps):
                    await asyncio.sleep(0)
                await pool.aclose()
                with pytest.raises(TransportError):
                    await task
                await settled(lambda pool=pool: pool.open == 0)  # type: ignore[misc]

    run(main())


def test_an_idle_connection_the_upstream_closes(run: Run, upstream: Any) -> None:
    """The pool forgets it; nothing is raised, nothing is retried."""

    async def once(line: Any) -> None:
        await line.request()
        await line.say(OK)

    async def main() -> None:
        async with upstream(once) as up:
            pool = Pool()
            assert await ask_all(pool, up) == b"hi"
            await settled(lambda: (pool.open, pool.idle) == (0, 0))
            await pool.aclose()

    run(main())


def test_origins_no_longer_used_are_forgotten(run: Run, upstream: Any) -> None:
    """Asking many origins once leaves no trace of those without a connection."""

    async def once(line: Any) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\n\r\nhi")

    async def main() -> None:
        pool = Pool()
        for _ in range(5):
            async with upstream(once) as up:
                await ask_all(pool, up)
                await settled(lambda: pool.open == 0)
        assert len(pool._origins) == 1
        await pool.aclose()

    run(main())


def encode(
    method: str, target: str, headers: list[tuple[bytes, bytes]], extra: list[tuple[bytes, bytes]] | None = None
) -> tuple[bytes, frozenset[str]]:
    """The head of a request without a body, and the codings it allows."""
    start, codings = encode_start(ORIGIN, method, target, tuple(headers))
    lane = cast(OriginPool, None)
    return PreparedTarget(ORIGIN, method, start, codings, lane).encode_head(0, extra or ()), codings


def test_a_request_without_a_body() -> None:
    """GET has no length; POST says that it has none."""
    assert b"content-length" not in encode("GET", "/", [])[0]
    assert b"content-length: 0\r\n" in encode("POST", "/", [])[0]


def test_the_callers_own_accept_encoding() -> None:
    """A caller who asks for gzip gets it, and nothing else."""
    head, asked = encode("GET", "/", [(b"Accept-Encoding", b"gzip;q=1.0, x")])
    assert b"identity" not in head
    assert asked == {"gzip", "x"}


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/", [(b"A", b"b\r\nC: d")]),
        ("GET", "/", [(b"A", b"b\nC: d")]),
        ("GET", "/", [(b"A", b"b\r\n\r\nGET / HTTP/1.1")]),
        ("GET", "/", [(b"A", b"\x00")]),
        ("GET", "/", [(b"A: b\r\nC", b"d")]),
        ("GET", "/", [(b"A b", b"d")]),
        ("GET", "/", [(b"", b"d")]),
        ("GET", "/a b", []),
        ("GET", "/a\r\nB: c", []),
        ("GET", "/ä", []),
        ("GET", "http://x/", []),
        ("GET", "", []),
        ("get", "/", []),
        ("GET / HTTP/1.1\r\nA:", "/", []),
        ("GET", "/", [(b"Host", b"x")]),
        ("GET", "/", [(b"Content-Length", b"1")]),
        ("GET", "/", [(b"TRANSFER-ENCODING", b"chunked")]),
        ("GET", "/", [(b"Connection", b"close")]),
    ],
)
def test_what_is_not_one_request(method: str, target: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Nothing can be smuggled into a request; the message does not quote what may be a key."""
    with pytest.raises(ValueError, match=r"headers itself|invalid characters|ordinal not in range"):
        encode(method, target, headers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"A", b"b\r\nC: d"),
        (b"A", b"b\n"),
        (b"A: b\r\nC", b"d"),
        (b"A", b"\x00"),
        (b"", b"d"),
        (b"Content-Length", b"1"),
        (b"host", b"x"),
        (b"Accept-Encoding", b"gzip"),
    ],
)
def test_an_extra_header_is_one_header(name: bytes, value: bytes) -> None:
    """T18: checked where it enters, and never one that decides where the request ends or how it is answered."""
    with pytest.raises(ValueError, match="extra header"):
        encode("GET", "/", [], [(name, value)])


def test_a_prepared_target_is_sent_again_and_again(run: Run, upstream: Any) -> None:
    """Each request has its own body and extra headers; a target outlives the connections to its origin."""
    seen: list[bytes] = []

    async def script(line: Any) -> None:
        for _ in range(2):
            seen.append(await line.request())
            await line.say(OK)

    async def main() -> None:
        async with upstream(script) as up, upstream(script) as other:
            pool = Pool()
            target = pool.prepare(up.origin, "POST", "/v1", [(b"A", b"b")])
            for number in range(4):
                extra = [(b"x-number", b"%d" % number)]
                response = await pool.send_prepared(target, b"x" * number, Timeouts(), extra)
                assert response.whole_body() in {b"hi", None}
                assert await response.read_all(10) in {b"hi", b""}
                if number == 1:
                    await settled(lambda: pool.open == 0)
                    await (await pool.send(other.origin, "GET", "/", [], b"", Timeouts())).read_all(10)
                    assert target.lane.forgotten
            assert up.connections == 2
            assert len(pool._origins) == 2
            await pool.aclose()
            with pytest.raises(TransportError):
                await pool.send_prepared(target, b"", Timeouts())

    run(main())
    ours = [request for request in seen if request.startswith(b"POST")]
    assert [request.partition(b"\r\n\r\n")[2] for request in ours] == [b"", b"x", b"xx", b"xxx"]
    assert all(b"\r\nx-number: %d\r\n" % number in request for number, request in enumerate(ours))
