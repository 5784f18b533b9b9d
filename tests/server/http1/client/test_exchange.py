"""One exchange on real sockets: faults, timeouts, backpressure, early answers, leaving early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any, cast

import pytest

from fwd_server.http1.client.answer import Answer
from fwd_server.http1.client.exchange import Connection, Exchange
from fwd_server.http1.client.pool import Limits, Pool, Response, Timeouts, TransportError

Run = Callable[[Coroutine[Any, Any, Any]], Any]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 1024 * 1024


async def ask(pool: Pool, up: Any, body: bytes = b"{}", **timeouts: float | None) -> Response:
    return await pool.send(up.origin, "POST", "/", [], body, Timeouts(**timeouts))


def exchange(run: Run, upstream: Any, script: Any, act: Any, **settings: Any) -> Any:
    """Run `act(pool, upstream)` against `script`, and see that nothing stays open."""

    async def main() -> Any:
        async with upstream(script) as up:
            pool = Pool(**settings)
            try:
                return await act(pool, up)
            finally:
                await pool.aclose()
                assert pool.open == 0

    return run(main())


async def pieces_and_error(response: Response) -> tuple[bytes, str | None]:
    """Read to the end, whichever it is."""
    body = b""
    try:
        while piece := await response.read():
            body += piece
    except TransportError as error:
        return body, error.code
    return body, None


@pytest.mark.parametrize(
    ("said", "then", "outcome"),
    [
        (b"", "close", "upstream_reset"),
        (b"", "reset", "upstream_reset"),
        (b"HTTP/1.1 2", "close", "upstream_reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "close", (b"", "upstream_truncated")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", "close", (b"hi", "upstream_truncated")),
        (CHUNKED + b"2\r\nhi\r\n", "close", (b"hi", "upstream_truncated")),
        (CHUNKED + b"2\r\nhi\r\nxyz", "wait", (b"hi", "bad_response")),
        (CHUNKED + b"2\r\nhi\r\n0\r\n\r\n", "wait", (b"hi", None)),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", "close", (b"hi", None)),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", "half_close", (b"hi", None)),
        (b"SSH-2.0-x\r\n", "wait", "bad_response"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n", "wait", "bad_encoding"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "wait", "too_large"),
    ],
)
def test_how_an_answer_ends(run: Run, upstream: Any, said: bytes, then: str, outcome: Any) -> None:
    """Each end has its code, after the bytes that came before it (F5, F8, F25, F26, F29, L3)."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(said)
        if then in {"reset", "half_close"}:
            getattr(line, then)()
        if then in {"wait", "half_close"}:
            await line.disconnected()

    async def act(pool: Pool, up: Any) -> Any:
        try:
            response = await ask(pool, up)
        except TransportError as error:
            return error.code
        return await pieces_and_error(response)

    assert exchange(run, upstream, script, act) == outcome


def test_a_reset_inside_the_body(run: Run, upstream: Any) -> None:
    """A reset is a cut as well, even where the body would have ended with the connection (F8)."""

    async def main() -> None:
        seen = asyncio.Event()

        async def script(line: Any) -> None:
            await line.request()
            await line.say(b"HTTP/1.1 200 OK\r\n\r\nhi")
            await seen.wait()
            line.reset()

        async with upstream(script) as up:
            pool = Pool()
            response = await ask(pool, up)
            assert await response.read() == b"hi"
            seen.set()
            assert await pieces_and_error(response) == (b"", "upstream_truncated")
            await pool.aclose()

    run(main())


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", b"HTTP/1.1 100 x\r\n\r\n"])
def test_no_head_in_time(run: Run, upstream: Any, said: bytes) -> None:
    """A head that is not complete within `first_byte_s` ends the exchange (F7)."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(said)
        assert await line.disconnected()

    async def act(pool: Pool, up: Any) -> None:
        with pytest.raises(TransportError, match=r"no answer within 0\.03 s") as caught:
            await ask(pool, up, first_byte_s=0.03)
        assert caught.value.code == "upstream_timeout"

    exchange(run, upstream, script, act)


def test_a_stall_inside_the_body(run: Run, upstream: Any) -> None:
    """A body that pauses for `idle_s` is given up, one that trickles is not (F10)."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(CHUNKED)
        for _ in range(6):
            await line.say(b"1\r\nx\r\n")
            await asyncio.sleep(0.1)
        await line.disconnected()

    async def act(pool: Pool, up: Any) -> Any:
        return await pieces_and_error(await ask(pool, up, idle_s=0.4))

    assert exchange(run, upstream, script, act) == (b"x" * 6, "upstream_stalled")


def test_a_slow_reader_holds_the_upstream_back(run: Run, upstream: Any) -> None:
    """No more than buffer and one read are held for a reader who does not read, and it is no stall."""
    sent = 0

    async def script(line: Any) -> None:
        nonlocal sent
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (32 * MIB))
        for _ in range(32 * 16):
            await line.say(b"x" * 65536)
            sent += 65536
        await line.disconnected()

    async def act(pool: Pool, up: Any) -> None:
        response = await ask(pool, up, idle_s=0.3)
        await asyncio.sleep(0.4)
        assert sent < 32 * MIB
        first = await response.read()
        assert len(first) <= 128 * 1024
        assert len(first + await response.read_all(32 * MIB)) == 32 * MIB

    exchange(run, upstream, script, act)


def test_a_paused_answer_that_is_closed(run: Run, upstream: Any) -> None:
    """Closing an answer while reading is paused closes the socket."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\n\r\n")
        await line.say(b"x" * 32 * MIB)

    async def act(pool: Pool, up: Any) -> None:
        response = await ask(pool, up)
        await asyncio.sleep(0.05)
        response.close()
        await asyncio.gather(*up.tasks, return_exceptions=True)

    exchange(run, upstream, script, act)


def test_an_ended_answer_may_be_read_later(run: Run, upstream: Any) -> None:
    """What arrived is read even when its connection serves the next exchange already."""

    async def script(line: Any) -> None:
        for _ in range(2):
            await line.request()
            await line.say(OK)
        await line.disconnected()

    async def act(pool: Pool, up: Any) -> None:
        first = await ask(pool, up)
        second = await ask(pool, up)
        assert (await first.read(), await second.read(), up.connections) == (b"hi", b"hi", 1)
        assert (await first.read(), await second.read()) == (b"", b"")

    exchange(run, upstream, script, act)


def test_a_large_upload(run: Run, upstream: Any) -> None:
    """A body of 8 MiB arrives whole at a reader who takes his time."""
    body = bytes(range(256)) * (8 * MIB // 256)
    seen: list[bytes] = []

    async def script(line: Any) -> None:
        await asyncio.sleep(0.02)
        seen.append((await line.request()).partition(b"\r\n\r\n")[2])
        await line.say(OK)
        await line.request()

    async def act(pool: Pool, up: Any) -> None:
        with closing(await ask(pool, up, body)) as response:
            assert await response.read_all(10) == b"hi"
        assert seen == [body]
        assert pool.idle == 1

    exchange(run, upstream, script, act)


@pytest.mark.parametrize("then", ["wait", "close"])
def test_an_early_refusal_stops_the_upload(run: Run, upstream: Any, then: str) -> None:
    """An answer that comes before the body was read is taken, and the rest of the body not sent (F31)."""
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\n413"
    received = 0

    async def script(line: Any) -> None:
        nonlocal received
        await line.loop.sock_recv(line.sock, 1000)
        await line.say(refusal[:-1])
        await line.say(refusal[-1:])
        while then == "wait" and (data := await line.loop.sock_recv(line.sock, 65536)):
            received += len(data)

    async def act(pool: Pool, up: Any) -> None:
        with closing(await ask(pool, up, b"x" * 64 * MIB)) as response:
            assert (response.status, await response.read_all(10)) == (413, b"413")
        assert pool.idle == 0
        await asyncio.gather(*up.tasks, return_exceptions=True)
        assert received < 64 * MIB

    exchange(run, upstream, script, act)


def test_an_early_success_does_not_stop_the_upload(run: Run, upstream: Any) -> None:
    """An upstream that begins to answer while it reads gets the whole body."""

    async def script(line: Any) -> None:
        await line.say(CHUNKED)
        request = await line.request()
        await line.say(b"7\r\n%7d\r\n0\r\n\r\n" % len(request.partition(b"\r\n\r\n")[2]))
        await line.disconnected()

    async def act(pool: Pool, up: Any) -> Any:
        return await pieces_and_error(await ask(pool, up, b"x" * 4 * MIB))

    async def after_request(line: Any) -> None:
        await line.loop.sock_recv(line.sock, 1)
        await script(line)

    assert exchange(run, upstream, after_request, act) == (b"4194304", None)


@pytest.mark.parametrize("phase", ["head", "body", "upload"])
def test_a_cancelled_exchange_closes_the_socket(run: Run, upstream: Any, phase: str) -> None:
    """Whoever leaves takes the upstream's connection along (S28, T7)."""

    async def script(line: Any) -> None:
        if phase != "upload":
            await line.request()
        if phase == "body":
            await line.say(CHUNKED)
        if phase == "upload":
            await asyncio.sleep(0.05)
        assert await line.disconnected()

    async def act(pool: Pool, up: Any) -> None:
        async def work() -> None:
            response = await ask(pool, up, b"x" * (32 * MIB if phase == "upload" else 1))
            await response.read()

        task = asyncio.create_task(work())
        await asyncio.sleep(0.03)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.gather(*up.tasks)

    exchange(run, upstream, script, act)


def test_closing_an_answer_twice_or_after_its_end(run: Run, upstream: Any) -> None:
    """`close` is idempotent; after the true end it changes nothing, before it the rest cannot be read."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(OK)
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi")
        assert await line.disconnected()

    async def act(pool: Pool, up: Any) -> None:
        whole = await ask(pool, up)
        assert await whole.read_all(10) == b"hi"
        whole.close()
        assert (await whole.read(), pool.idle) == (b"", 1)
        part = await ask(pool, up)
        part.close()
        part.close()
        assert await pieces_and_error(part) == (b"", "upstream_reset")

    exchange(run, upstream, script, act)


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        ((0.0, b"0\r\n\r\n"), True),
        ((0.05, b"0\r\n\r\n"), True),
        ((0.05, b"2\r\nmo\r\n"), False),
        ((5.0, b"0\r\n\r\n"), False),
    ],
    ids=["at once", "in a packet of its own", "after more of the body", "too late"],
)
def test_an_answer_that_is_over_waits_for_its_end(
    run: Run, upstream: Any, after: tuple[float, bytes], kept: bool
) -> None:
    """S28: its connection carries the next exchange if nothing but the end comes, and that within half a second."""
    seconds, rest = after

    async def script(line: Any) -> None:
        while await line.request():
            await line.say(CHUNKED + b"2\r\nhi\r\n")
            if seconds > 1:
                assert await line.disconnected()
                return
            await asyncio.sleep(seconds)
            await line.say(rest)

    async def act(pool: Pool, up: Any) -> None:
        for _ in range(2):
            response = await ask(pool, up)
            assert await response.read() == b"hi"
            response.await_end()
            for _ in range(100):
                if pool.idle or not pool.open:
                    break
                await asyncio.sleep(0.02)
            assert (pool.idle, pool.open) == ((1, 1) if kept else (0, 0))

    exchange(run, upstream, script, act)


def test_closing_wakes_who_reads(run: Run, upstream: Any) -> None:
    """A reader does not wait for an answer that somebody else has closed."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(CHUNKED)
        assert await line.disconnected()

    async def act(pool: Pool, up: Any) -> Any:
        response = await ask(pool, up)
        asyncio.get_running_loop().call_soon(response.close)
        return await pieces_and_error(response)

    assert exchange(run, upstream, script, act) == (b"", "upstream_reset")


def test_read_all_has_a_limit(run: Run, upstream: Any) -> None:
    """More than the reader wants is an error and ends the exchange (T9)."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 11)
        assert await line.disconnected()

    async def act(pool: Pool, up: Any) -> None:
        response = await ask(pool, up)
        with pytest.raises(TransportError) as caught:
            await response.read_all(10)
        assert caught.value.code == "too_large"

    exchange(run, upstream, script, act)


def test_an_endless_answer(run: Run, upstream: Any) -> None:
    """The pool's own limit ends an answer that does not end, without holding more than is unread (T9)."""

    async def script(line: Any) -> None:
        await line.request()
        await line.say(CHUNKED)
        while True:
            await line.say(b"400\r\n" + b"x" * 1024 + b"\r\n")

    async def act(pool: Pool, up: Any) -> Any:
        body, code = await pieces_and_error(await ask(pool, up))
        return len(body) <= MIB, code

    assert exchange(run, upstream, script, act, limits=Limits(body=MIB)) == (True, "too_large")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 204 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"])
def test_head_and_no_content(run: Run, upstream: Any, answer: bytes) -> None:
    """Answers without a body end at once and keep their connection."""

    async def script(line: Any) -> None:
        for _ in range(3):
            assert (await line.request()).startswith(b"HEAD ")
            await line.say(answer)
        await line.disconnected()

    async def act(pool: Pool, up: Any) -> None:
        for _ in range(3):
            response = await pool.send(up.origin, "HEAD", "/", [], b"", Timeouts())
            assert await response.read() == b""
        assert up.connections == 1

    exchange(run, upstream, script, act)


class Closing(asyncio.Transport):
    """A transport that begins to close by itself once it was paused."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = False

    def is_closing(self) -> bool:
        return self.paused

    def pause_reading(self) -> None:
        self.paused = True

    def write(self, data: Any) -> None:
        pass


def test_a_paused_socket_that_closes_is_not_resumed(run: Run) -> None:
    """Reading from a transport that is closing is not asked for: not every loop takes that well."""

    class Owner:
        def made(self, connection: Connection) -> None:
            pass

    async def main() -> None:
        buffer = memoryview(bytearray(CHUNKED + b"10\r\n" + b"x" * 16 + b"\r\n"))
        connection, limits = Connection(cast(Any, Owner()), buffer), Limits(buffer=8)
        connection.connection_made(Closing())
        exchange = Exchange(connection, Answer("GET", limits), Timeouts(idle_s=None), limits)
        asyncio.get_running_loop().call_soon(connection.buffer_updated, len(buffer))
        response = await exchange.send(b"", b"")
        assert await response.read() == b"x" * 16

    run(main())
