"""Answers of delegates that take the light head: one write each, and the same promises as for handlers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from kit.served import HOST, Served, until

from fwd_server.http1.server.limits import ServerLimits

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def light(how: bytes, body: bytes = b"", more: bytes = b"", line: bytes = b"POST /light/%b HTTP/1.1\r\n") -> bytes:
    return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (line % how, HOST, more, len(body), body)


def serve(run: Run, test: Callable[[Served], Coroutine[Any, Any, None]], **limits: Any) -> None:
    async def body() -> None:
        async with Served(ServerLimits(**limits)) as served:
            await test(served)

    run(body())


@pytest.mark.parametrize("step", [1 << 20, 7, 1])
def test_answers_are_whole_and_in_order(run: Run, step: int) -> None:
    """Pipelined or cut anywhere, with handlers of Tornado's kind between them."""

    async def test(served: Served) -> None:
        requests = [light(b"whole", b"abc"), light(b"stream"), b"GET /?x HTTP/1.1\r\n" + HOST + b"\r\n"]
        requests += [light(b"empty"), light(b"bare"), light(b"whole", b"abcd")]
        client = await served.say(b"".join(requests), step)
        answers = [(await client.answer(bodiless=number == 3))[2] for number in range(len(requests))]
        assert answers == [b"abc", b"onetwothree", b"GET x ", b"", b"", b"abcd"]
        await until(lambda: served.server.idle == 1)

    serve(run, test)


@pytest.mark.parametrize(
    ("request_bytes", "end"),
    [
        (light(b"whole", b"hi"), b"X-A: b\r\nContent-Length: 2\r\n\r\nhi"),
        (light(b"whole", b"hi", line=b"HEAD /light/%b HTTP/1.1\r\n"), b"X-A: b\r\nContent-Length: 2\r\n\r\n"),
        (light(b"empty"), b"HTTP/1.1 204 No Content\r\n\r\n"),
        (light(b"close", b"hi"), b"X-A: b\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"),
        (
            light(b"whole", b"hi", line=b"POST /light/%b HTTP/1.0\r\n"),
            b"X-A: b\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        ),
        (
            light(b"whole", b"hi", b"Connection: keep-alive\r\n", line=b"POST /light/%b HTTP/1.0\r\n"),
            b"X-A: b\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi",
        ),
        (
            light(b"stream"),
            b"X-A: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n",
        ),
        (light(b"bare"), b"X-A: b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (light(b"stream", line=b"HEAD /light/%b HTTP/1.1\r\n"), b"X-A: b\r\n\r\n"),
        (light(b"stream", line=b"POST /light/%b HTTP/1.0\r\n"), b"X-A: b\r\nConnection: close\r\n\r\nonetwothree"),
        (
            light(b"stream", more=b"Connection: keep-alive\r\n", line=b"POST /light/%b HTTP/1.0\r\n"),
            b"X-A: b\r\nConnection: close\r\n\r\nonetwothree",
        ),
        (light(b"broken"), b"X-A: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"),
    ],
)
def test_how_an_answer_is_framed(run: Run, request_bytes: bytes, end: bytes) -> None:
    """L2, RFC 9112, 6: length or chunks, neither for HEAD and 204, and the end of the connection in HTTP/1.0."""

    async def test(served: Served) -> None:
        client = await served.say(request_bytes)
        answer = await client.reader.readexactly(len(b"HTTP/1.1 200 OK\r\n" * (b"204" not in end) + end))
        assert answer.endswith(end)
        client.writer.write_eof()
        assert await client.rest() == b""

    serve(run, test)


@pytest.mark.parametrize("how", [b"close", b"broken"])
def test_the_connection_ends_when_the_delegate_says_so(run: Run, how: bytes) -> None:
    """G5: a second request behind it is never seen."""

    async def test(served: Served) -> None:
        client = await served.say(light(how) + light(b"whole"))
        await client.rest()
        assert len(served.heads) == 1

    serve(run, test)


def test_an_early_answer_ends_the_connection(run: Run) -> None:
    """T4: what still comes of the body is thrown away, and the delegate sees none of it."""

    async def test(served: Served) -> None:
        client = await served.connect()
        with contextlib.suppress(ConnectionError):
            await client.send(light(b"early", b"x" * 1_000_000), 1 << 16)
        answer = await client.answer()
        assert (answer[0], answer[1]["connection"], answer[2]) == (200, "close", b"no")
        assert served.events == []
        await until(lambda: served.left == ["/light/early"])

    serve(run, test)


def test_a_late_write_meets_a_closed_door(run: Run) -> None:
    """S28: nothing of an answer lands in the next, whichever way it is written."""

    async def test(served: Served) -> None:
        client = await served.say(light(b"late", b"a") + light(b"whole", b"b"))
        assert [(await client.answer())[2] for _ in range(2)] == [b"a", b"b"]
        assert [event for event in served.events if event != "piece"] == ["StreamClosedError"] * 4

    serve(run, test)


@pytest.mark.parametrize("how", [b"twice", b"unbegun", b"endless"])
def test_an_answer_that_is_not_one_costs_the_connection(run: Run, how: bytes) -> None:
    """L2: two heads or none; the loop logs the bug."""

    async def test(served: Served) -> None:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
        client = await served.say(light(how))
        answer = await client.rest()
        assert answer.count(b"HTTP/1.1") == (how == b"twice")
        assert len(errors) == 1

    serve(run, test)


def test_a_client_that_leaves_is_noticed(run: Run) -> None:
    """T7: by the close callback, while the answer is not complete."""

    async def test(served: Served) -> None:
        client = await served.say(light(b"never"))
        await until(lambda: served.heads)
        client.writer.transport.abort()
        await until(lambda: served.left == ["/light/never"])

    serve(run, test)


def test_the_same_head_is_recognised_and_its_length_read_anew(run: Run) -> None:
    """The memo stays with the connection; what differs in any byte but the length's has a memo of its own."""

    async def test(served: Served) -> None:
        client = await served.connect()
        for body in (b"abc", b"abcd", b"", b"x" * 70_000, b"abc"):
            await client.send(light(b"whole", body))
            assert (await client.answer())[2] == body
            head = served.heads[-1]
            assert head.length == len(body)
            assert head.headers["content-length"] == str(len(body))
            assert head.tornado_headers()["Content-Length"] == str(len(body))
            assert served.heads[0].length == 3
        assert len({id(head.memo) for head in served.heads}) == 1
        await client.send(light(b"whole", b"abc", b"X: y\r\n"))
        await client.answer()
        other = await served.say(light(b"whole", b"abc"))
        await other.answer()
        assert len({id(head.memo) for head in served.heads}) == 3

    serve(run, test)
