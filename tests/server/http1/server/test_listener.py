"""The server over real sockets, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import re
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import tornado
from kit.malformed import CASES, CLASSES, SECOND, mutate
from kit.served import HOST, Client, Served, until
from tornado.httputil import HTTPConnection, HTTPMessageDelegate, HTTPServerConnectionDelegate

from fwd_server.http1.server.connection import Connection
from fwd_server.http1.server.limits import Refusal, ServerLimits
from fwd_server.http1.server.listener import plain_refusal

Run = Callable[[Coroutine[Any, Any, Any]], Any]
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
LONG = "FWD_LONG_TESTS" in os.environ


def get(path: bytes = b"/", more: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"GET " + path + b" HTTP/" + version + b"\r\n" + HOST + more + b"\r\n"


def post(path: bytes = b"/", body: bytes = b"", more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (path, HOST, more, len(body), body)


def served(run: Run, test: Callable[[Served], Coroutine[Any, Any, None]], **limits: Any) -> None:
    """Run a test with a server of its own."""

    async def body() -> None:
        async with Served(ServerLimits(**limits)) as found:
            await test(found)

    run(body())


# -- requests and answers


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_pipelined_requests_are_answered_in_order(run: Run, step: int) -> None:
    """One at a time, however they are cut, with bodies of both kinds between them."""
    chunked = b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"

    async def test(served: Served) -> None:
        client = await served.say(get(b"/?1") + post(b"/?2", b"two") + chunked + get(b"/pieces") + get(b"/?3"), step)
        answers = [await client.answer() for _ in range(5)]
        assert [body for _, _, body in answers] == [b"GET 1 ", b"POST 2 two", b"PUT  abcd", b"onetwo", b"GET 3 "]
        await until(lambda: served.server.idle == 1)

    served(run, test)


def test_a_waiting_request_holds_back_the_ones_behind_it(run: Run) -> None:
    async def test(served: Served) -> None:
        client = await served.say(get(b"/wait") + get(b"/?2"))
        await until(lambda: served.seen)
        assert [request.path for request in served.seen] == ["/wait"]
        served.release.set()
        assert [(await client.answer())[2] for _ in range(2)] == [b"done", b"GET 2 "]

    served(run, test)


def test_http_1_0_ends_with_the_connection(run: Run) -> None:
    """RFC 9112, 9.3: kept only on request, and only with a length; never chunked."""

    async def test(served: Served) -> None:
        assert (await (await served.say(get(version=b"1.0"))).rest()).endswith(b"\r\nConnection: close\r\n\r\nGET  ")
        assert (await (await served.say(get(b"/pieces", version=b"1.0"))).rest()).endswith(b"\r\n\r\nonetwo")
        client = await served.say(get(more=b"Connection: keep-alive\r\n", version=b"1.0") * 2)
        for _ in range(2):
            assert (await client.answer())[1]["connection"] == "keep-alive"

    served(run, test)


@pytest.mark.parametrize("path", [b"/", b"/pieces"])
def test_head_has_no_body(run: Run, path: bytes) -> None:
    async def test(served: Served) -> None:
        client = await served.say(get(path).replace(b"GET", b"HEAD") + GET)
        assert (await client.answer(bodiless=True))[0] == 200
        assert (await client.answer())[2] == b"GET  "

    served(run, test)


def test_who_asks_for_the_end_gets_it(run: Run) -> None:
    async def test(served: Served) -> None:
        client = await served.say(get(more=b"Connection: close\r\n") + SECOND)
        assert (await client.answer())[1]["connection"] == "close"
        assert await client.rest() == b""
        assert len(served.seen) == 1

    served(run, test)


def test_a_handler_can_end_the_connection_after_its_head(run: Run) -> None:
    """G5: a broken stream ends with its connection."""

    async def test(served: Served) -> None:
        client = await served.say(get(b"/last") + SECOND)
        assert "connection" not in (await client.answer())[1]
        assert await client.rest() == b""
        assert len(served.seen) == 1

    served(run, test)


def test_the_body_is_asked_for_when_it_is_wanted(run: Run) -> None:
    """Expect: 100-continue, once the handler is ready for the body."""

    async def test(served: Served) -> None:
        client = await served.say(post(b"/upload", more=b"Expect: 100-continue\r\n").replace(b": 0", b": 3"))
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert (await client.answer())[2] == b"3"

    served(run, test)


def test_the_body_is_not_asked_for_when_it_is_not(run: Run) -> None:
    async def test(served: Served) -> None:
        client = await served.say(post(b"/early", more=b"Expect: 100-continue\r\n").replace(b": 0", b": 3"))
        assert (await client.answer())[0] == 401

    served(run, test)


def test_a_body_waits_for_its_handler(run: Run) -> None:
    """A slow handler is not handed more before it is through; nothing is lost."""

    async def test(served: Served) -> None:
        client = await served.say(post(b"/upload", b"x" * 700_000) + GET)
        assert (await client.answer())[2] == b"700000"
        assert (await client.answer())[2] == b"GET  "
        assert len(served.events) > 3

    served(run, test)


def test_a_late_write_meets_a_closed_door(run: Run) -> None:
    """S28: nothing of an answer lands in the next."""

    async def test(served: Served) -> None:
        client = await served.say(get(b"/late") + GET)
        assert [(await client.answer())[2] for _ in range(2)] == [b"on time", b"GET  "]
        assert served.events == ["StreamClosedError"] * 2

    served(run, test)


@pytest.mark.parametrize("how", [b"break", b"length", b"short", b"long"])
def test_an_answer_that_cannot_be_right_is_not_sent(run: Run, how: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """L2: a head that would be two, or a length that is not kept, costs the connection."""

    async def test(served: Served) -> None:
        client = await served.say(get(b"/wrong/" + how))
        assert b"\r\n\r\n" not in (await client.rest()).replace(b"\r\n\r\nno", b"")

    served(run, test)
    assert caplog.records


@pytest.mark.parametrize("how", [b"upgrade", b"detach"])
def test_an_upgrade_is_refused(run: Run, how: bytes) -> None:
    """501 by the connection itself, for the handler counts as finished."""

    async def test(served: Served) -> None:
        client = await served.say(get(b"/wrong/" + how, b"Connection: upgrade\r\nUpgrade: websocket\r\n"))
        assert (await client.answer())[0] == 501
        assert await client.rest() == b""

    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)
    served(run, test)


def test_an_upgrade_nobody_needs_is_ignored(run: Run) -> None:
    """JDK's client offers h2c with every POST; its body must not be lost (RFC 9110, 7.8)."""

    async def test(served: Served) -> None:
        client = await served.say(post(b"/", b"abc", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n") + GET)
        assert [(await client.answer())[2] for _ in range(2)] == [b"POST  abc", b"GET  "]

    served(run, test)


# -- malformed requests


@pytest.mark.parametrize("kind", CLASSES)
def test_malformed_requests_reach_no_handler(run: Run, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """T1: refused with one line each, none of them an error; the second request is never seen."""

    async def test(served: Served) -> None:
        cases = {name: data for name, data in CASES.items() if name.startswith(kind + "/")}
        for name, data in cases.items():
            await refused(served, data + SECOND, name)
        assert len(served.refused) == len(cases)

    with caplog.at_level(logging.DEBUG):
        served(run, test)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def refused(served: Served, data: bytes, name: object) -> None:
    client = await served.connect()
    with contextlib.suppress(ConnectionError):
        await client.send(data)
    answer = await client.rest()
    client.writer.transport.abort()
    assert 400 <= int(answer.split(b" ", 2)[1]) < 600, name
    assert len(re.findall(rb"HTTP/1.1 \d", answer)) == 1, name
    assert b"\r\nConnection: close\r\n" in answer, name
    assert served.seen == [], name


@pytest.mark.parametrize("data", [b"HEAD / HTTP/1.1\r\nno colon\r\n\r\n", b"HEAD /?%b HTTP/1.1\r\n" % (b"a&" * 2000)])
def test_a_head_that_is_refused_has_no_body_either(run: Run, data: bytes) -> None:
    """RFC 9110, 9.3.2: its client would take one for the next answer."""

    async def test(served: Served) -> None:
        rest = await (await served.say(data + HOST + b"\r\n")).rest()
        assert rest.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"\r\nContent-Length: " in rest
        assert rest.partition(b"\r\n\r\n")[2] == b""

    served(run, test)


@pytest.mark.timeout(1800 if LONG else 120)
def test_mutations_reach_no_handler(run: Run) -> None:
    """T1: 10,000 of them with FWD_LONG_TESTS set, else a few; each answered once at most."""

    async def test(served: Served) -> None:
        dice = random.Random(3)
        for number in range(10_000 if LONG else 200):
            client = await served.connect()
            with contextlib.suppress(ConnectionError):
                await client.send(mutate(dice))
                client.writer.write_eof()
            answer = await client.rest()
            client.writer.transport.abort()
            assert len(re.findall(rb"HTTP/1.1 \d", answer)) <= 1, number
            assert served.seen == [], number

    async def bounded() -> None:
        async with Served() as found:
            await test(found)

    (asyncio.run if LONG else run)(bounded())


def test_what_tornado_refuses_is_refused_as_well(run: Run) -> None:
    """A query with more fields than Tornado takes is seen only while it builds the request."""

    async def test(served: Served) -> None:
        client = await served.say(get(b"/?" + b"a&" * 1500))
        assert (await client.answer())[0] == 400

    served(run, test)


def test_refusals_are_words_unless_somebody_renders_them() -> None:
    assert plain_refusal(Refusal(400, "a", "Found b."), "127.0.0.1")[1] == b"Found b.\n"


# -- sizes


def chunks(size: int, piece: int = 1000) -> bytes:
    return (b"%x\r\n%b\r\n" % (piece, b"x" * piece)) * (size // piece) + b"0\r\n\r\n"


@pytest.mark.parametrize(("size", "status"), [(9_999, 200), (10_000, 200), (10_001, 413)])
def test_a_body_of_the_limit_is_taken(run: Run, size: int, status: int) -> None:
    """T4: one byte more is not, and not read either."""

    async def test(served: Served) -> None:
        client = await served.say(post(b"/", b"x" * size))
        assert (await client.answer())[0] == status
        assert len(served.seen) == (status == 200)

    served(run, test, body_bytes=10_000)


@pytest.mark.parametrize(("size", "status"), [(10_000, 200), (11_000, 413)])
def test_a_chunked_body_is_counted_while_it_is_read(run: Run, size: int, status: int) -> None:
    """T4: no length is no way around the limit."""

    async def test(served: Served) -> None:
        head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        client = await served.say(head + chunks(size))
        assert (await client.answer())[0] == status
        assert len(served.seen) == (status == 200)

    served(run, test, body_bytes=10_000)


def test_a_handler_may_set_its_own_limit(run: Run) -> None:
    """Higher or lower, before it reads anything."""

    async def test(served: Served) -> None:
        assert (await (await served.say(post(b"/upload?limit=20000", b"x" * 20_000))).answer())[0] == 200
        assert (await (await served.say(post(b"/upload?limit=100", b"x" * 101))).answer())[0] == 413
        await until(lambda: served.left == ["/upload"])

    served(run, test, body_bytes=10_000)


@pytest.mark.parametrize("size", [1 << 20, 20 << 20])
def test_an_early_answer_reaches_who_reads_after_a_write_error(run: Run, size: int) -> None:
    """T4: what still comes is thrown away for a while."""

    async def test(served: Served) -> None:
        for path, status in ((b"/early", 401), (b"/", 413)):
            client = await served.connect()
            with contextlib.suppress(ConnectionError):
                await client.send(post(path, b"x" * size), 1 << 18)
            answer = await client.answer()
            assert (answer[0], answer[1]["connection"]) == (status, "close")
            assert served.events == []

    served(run, test, body_bytes=100_000)


def test_an_upload_without_end_is_cut(run: Run) -> None:
    """T4: after so many bytes, or so long."""

    async def flood(client: Client) -> None:
        while True:
            await client.send(b"x" * 65536)
            await asyncio.sleep(0.001)

    async def endless(served: Served) -> None:
        client = await served.say(post(b"/early").replace(b": 0", b": 999999999"))
        with pytest.raises(ConnectionError):
            await flood(client)

    async def silent(served: Served) -> None:
        client = await served.say(post(b"/early").replace(b": 0", b": 99"))
        await until(lambda: not served.server.open)
        assert await client.rest() != b""

    served(run, endless, linger_bytes=1 << 20)
    served(run, endless, linger_s=0.1)
    served(run, silent, linger_s=0.1)


# -- times


@pytest.mark.parametrize("data", [b"G", GET[:-1]])
def test_a_slow_head_is_408(run: Run, data: bytes) -> None:
    """T2: by its first byte, not by its last."""

    async def test(served: Served) -> None:
        client = await served.say(data)
        assert (await client.answer())[0] == 408
        assert served.refused == [(408, "request_timeout")]

    served(run, test, header_s=0.1)


@pytest.mark.parametrize("path", [b"/", b"/upload"])
def test_a_slow_body_is_408(run: Run, path: bytes) -> None:
    """T2: a byte now and then is not enough."""

    async def test(served: Served) -> None:
        client = await served.say(post(path).replace(b": 0", b": 1000000"))
        answer = asyncio.ensure_future(client.answer())
        while not answer.done():
            await client.send(b"x")
            await asyncio.sleep(0.01)
        assert answer.result()[0] == 408
        assert len(served.refused) == 1

    served(run, test, body_s=0.1)


def test_a_steady_body_has_its_time(run: Run) -> None:
    """T2: what comes at the least rate may take longer."""

    async def test(served: Served) -> None:
        client = await served.say(post().replace(b": 0", b": 60"))
        for _ in range(60):  # longer than 1 s, and 1.3 s less than they may take
            await client.send(b"x")
            await asyncio.sleep(0.02)
        assert (await client.answer())[0] == 200

    served(run, test, body_s=1, body_rate=40)


def test_a_handler_may_set_its_own_time(run: Run) -> None:
    async def test(served: Served) -> None:
        client = await served.say(post(b"/upload?body_s=0.1").replace(b": 0", b": 9"))
        assert (await client.answer())[0] == 408

    served(run, test, linger_s=0.2)


@pytest.mark.parametrize("data", [b"", GET])
def test_silence_ends_without_a_word(run: Run, data: bytes) -> None:
    """T2: before the first request and between two, nobody waits for an answer."""

    async def test(served: Served) -> None:
        client = await served.say(data)
        if data:
            await client.answer()
        assert await client.rest() == b""
        assert served.refused == []

    served(run, test, header_s=0.1, idle_s=0.1)


def test_a_handler_has_all_the_time_it_needs(run: Run) -> None:
    """The client owes nothing then."""

    async def test(served: Served) -> None:
        client = await served.say(get(b"/wait"))
        await asyncio.sleep(0.3)
        served.release.set()
        assert (await client.answer())[2] == b"done"

    served(run, test, header_s=0.1, idle_s=0.1, body_s=0.1, unread_s=0.1)


def small(client: Client) -> None:
    """Let the kernel keep little, so that the server notices a slow reader soon."""
    client.reader._transport.pause_reading()  # type: ignore[attr-defined]


def test_an_answer_nobody_reads_is_given_up(run: Run) -> None:
    """T2: after a while without progress, whether the handler waits or is through."""

    async def test(served: Served) -> None:
        for path in (b"/large/30000000", b"/pieces"):
            client = await served.connect(limit=1)
            small(client)
            await client.send(get(path) * (1 if b"large" in path else 20_000))
        await until(lambda: not served.server.open)
        assert "/large/30000000" in served.left  # of the small ones, none need have been at work just then

    served(run, test, unread_s=0.2)


def test_answers_nobody_reads_hold_back_the_next_request(run: Run) -> None:
    """R4, T2: many requests in one packet cannot fill the memory with their answers: a stranger gets one at a time."""

    async def test(served: Served) -> None:
        client = await served.connect()
        small(client)
        await client.send(get(b"/all") * 50)
        await until(lambda: served.seen)
        await asyncio.sleep(0.2)
        assert len(served.seen) == 1
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(50):
            assert len((await client.answer())[2]) == 1 << 20
        await until(lambda: served.server.idle == 1)

    served(run, test, header_s=0.5, idle_s=0.5)


def test_a_reader_that_takes_a_little_now_and_then_is_kept(run: Run) -> None:
    """R4: slow is not stalled, also when the handler is through and the connection is to end."""

    async def test(served: Served) -> None:
        body = b"x" * 6_000_000
        client = await served.connect(limit=1)  # so that it reads only when it is asked to
        asking = asyncio.ensure_future(client.send(post(b"/", body, b"Connection: close\r\n")))
        await until(lambda: served.seen)
        await asking
        got = 0
        while piece := await client.reader.read(400_000):
            got += len(piece)
            await asyncio.sleep(0.06)
        assert got > len(body)

    served(run, test, unread_s=0.5)


class Unread:
    """A transport of a client that has yet to take what it was sent."""

    left = 1 << 20
    aborted = False

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else self

    family = socket.AF_INET

    def setsockopt(self, level: int, name: int, value: bytes) -> None:
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_LINGER)

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.left

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize(
    ("key", "rate", "seconds"), [(False, 0, 30), (True, 0, 30), (False, 256, 32), (True, 256, 100), (False, 4096, 100)]
)
def test_strangers_must_read_at_a_least_rate(run: Run, key: bool, rate: int, seconds: int) -> None:
    """T2: a little now and then is enough for who has shown a key (R4)."""

    async def test(served: Served) -> None:
        connection, transport = Connection(served.server, "http"), Unread()
        connection.connection_made(transport)  # type: ignore[arg-type]
        connection.authenticated = key
        connection.pause_writing()
        begun, lasted = connection.stalls - 30, 0
        while lasted < 100 and not transport.aborted:
            lasted += 1
            transport.left -= rate
            connection.check_progress(begun + lasted + 0.5)
        served.server.lost(connection)
        assert lasted == seconds

    served(run, test)


def test_who_is_given_up_is_sent_no_more(run: Run) -> None:
    """T2: nor by the kernel, which would keep what it holds until the client has read it."""

    async def test(served: Served) -> None:
        client = await served.connect(limit=1)
        small(client)
        await client.send(get(b"/large/30000000"))
        await until(lambda: served.seen and not served.server.open)
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionResetError):
            await client.reader.read(-1)

    served(run, test, unread_s=0.2)


def test_a_slow_reader_holds_the_handler_back(run: Run) -> None:
    """R4: what waits for it is bounded; when it reads on, all of it arrives."""

    async def test(served: Served) -> None:
        client = await served.connect()
        small(client)
        await client.send(get(b"/large/20000000") + GET)
        await until(lambda: served.events)
        count = -1
        while count != len(served.events):
            count = len(served.events)
            await asyncio.sleep(0.1)
        assert count * (32 << 10) < 12_000_000
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.answer())[2]) == 20_000_000
        assert (await client.answer())[2] == b"GET  "

    served(run, test)


# -- clients that leave


def test_a_client_that_leaves_is_noticed(run: Run) -> None:
    """T7: while a handler works for it."""

    async def test(served: Served) -> None:
        client = await served.say(get(b"/wait") + b"x" * 1000)
        await until(lambda: served.seen)
        client.writer.transport.abort()
        await until(lambda: served.left == ["/wait"])
        await until(lambda: not served.server.open)

    served(run, test)


def test_half_a_close_counts_as_leaving(run: Run) -> None:
    """D16."""

    async def test(served: Served) -> None:
        client = await served.say(get(b"/wait"))
        await until(lambda: served.seen)
        client.writer.write_eof()
        await until(lambda: served.left == ["/wait"])
        assert await client.rest() == b""

    served(run, test)


@pytest.mark.parametrize(
    "data", [b"", b"GET", GET, post(b"/").replace(b": 0", b": 9"), post(b"/early").replace(b": 0", b": 9")]
)
def test_an_end_at_any_time_leaves_nothing(run: Run, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def test(served: Served) -> None:
        client = await served.say(data)
        await until(lambda: served.server.open)
        if data == GET:
            await client.answer()
        client.writer.write_eof()
        await until(lambda: not served.server.open)
        assert served.refused == []

    served(run, test)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_an_upload_that_breaks_off_tells_its_handler(run: Run) -> None:
    async def test(served: Served) -> None:
        client = await served.say(post(b"/upload", b"abc").replace(b": 3", b": 9"))
        await until(lambda: served.events)
        client.writer.transport.abort()
        await until(lambda: served.left == ["/upload"])

    served(run, test)


def test_a_write_after_the_client_left_fails(run: Run) -> None:
    """The handler's flush raises, so that it stops."""

    async def test(served: Served) -> None:
        client = await served.connect()
        small(client)
        await client.send(get(b"/large/30000000"))
        await until(lambda: served.events)
        client.writer.transport.abort()
        await until(lambda: served.left == ["/large/30000000"])

    served(run, test)


def test_reading_stops_while_too_much_waits(run: Run) -> None:
    """A client cannot fill the memory behind a request that is being answered."""

    async def test(served: Served) -> None:
        client = await served.say(get(b"/wait") + GET)
        await until(lambda: served.seen)
        many = GET * 200_000
        client.writer.write(many)
        await asyncio.sleep(0.3)
        (connection,) = served.server._connections
        assert len(connection._requests.buffer) < 256 << 10
        client.writer.transport.abort()
        served.release.set()

    served(run, test)


def test_a_bug_in_a_handlers_reading_costs_its_connection(run: Run) -> None:
    """... and is logged once by the loop."""

    async def test(served: Served) -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        client = await served.say(post(b"/upload?fail", b"abc"))
        assert await client.rest() == b""
        assert [str(error) for error in told] == ["as asked"]

    served(run, test)


def test_a_bug_before_any_handler_costs_the_connection(run: Run) -> None:
    """... and is logged once by the loop; nobody waits for an answer that will not come."""

    class Broken(HTTPServerConnectionDelegate):
        def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
            raise RuntimeError("as asked")

    async def test(served: Served) -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        served.server.application = Broken()
        assert await (await served.say(GET)).rest() == b""
        assert [str(error) for error in told] == ["as asked"]

    served(run, test)


def test_a_connection_that_closes_takes_no_more(run: Run) -> None:
    async def test(served: Served) -> None:
        client = await served.say(b"")
        await until(lambda: served.server.open)
        (connection,) = served.server._connections
        connection.close()
        connection.refuse(Refusal(503, "overloaded", "Too late."))
        assert await client.rest() == b""

    served(run, test)


# -- the server itself


def test_it_accepts_as_many_as_it_may(run: Run) -> None:
    """T3: the others wait in the kernel, and come when there is room."""

    async def test(served: Served) -> None:
        clients = [await served.say(GET) for _ in range(5)]
        await until(lambda: served.server.open == 3)
        await asyncio.sleep(0.05)
        assert served.server.open == 3
        for client in clients:
            assert (await client.answer())[0] == 200
            client.writer.transport.abort()

    served(run, test, connections=3)


def test_too_many_strangers_of_one_address_are_refused(run: Run) -> None:
    """T2: the youngest of those that had time to show a key; who showed one does not count."""

    async def test(served: Served) -> None:
        known = await served.say(get(b"/wait"))
        await until(lambda: served.seen)
        connection: Any = served.seen[0].connection
        connection.mark_authenticated()
        old = [await served.connect() for _ in range(3)]
        await until(lambda: served.server.open == 4)
        late = await served.connect()
        assert (await late.answer())[0] == 503
        assert served.server.open >= 4
        served.release.set()
        assert (await known.answer())[2] == b"done"
        connection.mark_authenticated()  # too late, and harmless
        for client in old:
            await client.send(GET)
            assert (await client.answer())[0] == 200

    served(run, test, strangers=3, stranger_s=0.1)


def test_it_stops_accepting_and_lets_what_is_open_finish(run: Run) -> None:
    """R2."""

    async def test(served: Served) -> None:
        busy, idle = await served.say(get(b"/wait")), await served.say(GET)
        await idle.answer()
        await until(lambda: served.seen and served.server.idle == 1)
        served.server.stop()
        served.server.close_idle()
        assert await idle.rest() == b""
        with pytest.raises(ConnectionError):
            await served.connect()
        served.release.set()
        assert (await busy.answer())[2] == b"done"

    served(run, test)


def test_closing_it_ends_what_runs(run: Run) -> None:
    """D14: what was answered is sent, what was not is cut."""

    async def test(served: Served) -> None:
        busy, slow = await served.say(get(b"/wait")), await served.connect()
        small(slow)
        await slow.send(get(b"/pieces") * 20_000)
        await until(lambda: served.seen)
        await served.server.aclose(flush_s=0.1)
        assert served.server.open == 0
        assert await busy.rest() == b""

    served(run, test)


class Short(socket.socket):
    """A listener that at first finds no descriptor free."""

    tries = 0

    def accept(self) -> Any:
        self.tries += 1
        if self.tries == 1:
            raise OSError(24, "Too many open files")
        return super().accept()


def test_closing_it_waits_for_no_handshake_and_no_reader(run: Run) -> None:
    async def test() -> None:
        async with Served(context=tls()[0]) as served:
            await served.connect()
            await until(lambda: served.server.open)
            await served.server.aclose()
        async with Served() as served:
            client = await served.connect(limit=1)
            small(client)
            await client.send(post(b"/", b"x" * 9_000_000))
            await until(lambda: served.seen)
            await asyncio.sleep(0)
            await served.server.aclose(flush_s=0.05)

    run(test())


def test_a_shortage_of_descriptors_is_waited_out(run: Run) -> None:
    """T3: no spin, no end."""

    async def test() -> None:
        served = Served()
        listener = Short(fileno=served._sockets.pop().detach())
        listener.setblocking(False)
        served._sockets.append(listener)
        async with served:
            client = await served.say(GET)
            assert (await client.answer())[0] == 200
            assert 2 <= listener.tries <= 4

    run(test())


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_it_serves_a_unix_socket(run: Run, tmp_path: Path) -> None:
    """No address there, so no strangers either."""

    async def test() -> None:
        async with Served(ServerLimits(strangers=1, stranger_s=0.01), uds=tmp_path / "s") as served:
            clients = [await served.connect() for _ in range(3)]
            await asyncio.sleep(0.2)
            for client in clients:
                await client.send(GET)
                assert (await client.answer())[0] == 200
            assert {request.remote_ip for request in served.seen} == {""}

    run(test())


def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server and of a client that asks no questions."""
    folder = Path(tornado.__file__).parent / "test"
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    server.load_cert_chain(folder / "test.crt", folder / "test.key")
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return server, client


def test_it_serves_https(run: Run) -> None:
    """Answers, early answers, and clients that do not speak TLS at all."""

    async def test() -> None:
        context, ours = tls()
        async with Served(ServerLimits(linger_s=0.1), context) as served:
            client = await served.connect(ssl=ours)
            await client.send(post(b"/upload", b"x" * 300_000) + get(b"/pieces"))
            assert [(await client.answer())[2] for _ in range(2)] == [b"300000", b"onetwo"]
            assert served.seen[0].protocol == "https"
            await client.send(post(b"/early", b"x" * 300_000))
            assert (await client.answer())[0] == 401
            await until(lambda: not served.server.open)
            plain = await served.say(GET)
            assert b"HTTP/1.1" not in await plain.rest()

    run(test())


def test_nothing_of_a_request_stays_behind(run: Run) -> None:
    """An idle connection keeps neither handler nor request."""

    async def test(served: Served) -> None:
        client = await served.say(GET * 3)
        for _ in range(3):
            await client.answer()
        await until(lambda: served.server.idle == 1)
        request = served.seen.pop()
        gc.collect()
        assert request.connection is not None
        assert request.connection.over  # type: ignore[attr-defined]
        (connection,) = served.server._connections
        assert connection.reply is None

    served(run, test)
