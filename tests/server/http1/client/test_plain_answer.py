"""The fast reader of answers takes what is plainly good, and the exact reader then says the same (docs/adr/0005)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.http1.client.answer import Answer, read_plain
from fwd_server.http1.client.values import Limits

LIMITS = Limits()
BODY = b'{"id":"x"}'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Type: application/json\r\n\r\n" + BODY
NAMES = st.sampled_from(
    [
        "content-length",
        "Content-Length",
        "transfer-encoding",
        "content-encoding",
        "connection",
        "keep-alive",
        "x-a",
        "X-A",
    ]
)
VALUES = st.sampled_from(
    [
        "10",
        "0",
        "9",
        "11",
        "010",
        " 10 ",
        "10, 10",
        "+10",
        "1_0",
        "chunked",
        "identity",
        "gzip",
        "",
        "close",
        "timeout=5",
        "é",
    ]
)
STARTS = st.sampled_from(
    [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 304 x",
        "HTTP/1.1 404 Not Found",
        "HTTP/1.1 500 é",
        "HTTP/1.1 100 Continue",
        "HTTP/1.1 600 x",
        "HTTP/1.1  200 OK",
    ]
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Heads of decisive headers in any mixture, bodies that fit or do not, and a few bytes changed anywhere."""
    body = BODY[: draw(st.integers(0, 10))]
    headers = [f"{draw(NAMES)}: {draw(VALUES)}" for _ in range(draw(st.integers(0, 3)))]
    # Most have the right length somewhere, or the fast reader would hardly ever take one.
    if draw(st.integers(0, 3)):
        headers.insert(draw(st.integers(0, len(headers))), f"content-length: {len(body)}")
    data = bytearray("\r\n".join([draw(STARTS), *headers]).encode("latin-1") + b"\r\n\r\n" + body)
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


def read_exactly(data: bytes) -> tuple[Answer, bytes]:
    """Fed byte by byte, an answer never reaches the fast reader."""
    answer = Answer("POST", LIMITS)
    pieces = [answer.feed(data[at : at + 1]) for at in range(len(data))]
    return answer, b"".join(pieces)


@given(answers())
def test_what_the_fast_reader_takes_the_exact_one_takes_with_the_same_meaning(data: bytes) -> None:
    plain = read_plain(data, LIMITS)
    if plain is None:
        return
    exact, body = read_exactly(data)
    assert (exact.error, exact.ended) == (None, True)
    assert (exact.head, body) == plain
    fast = Answer("POST", LIMITS)
    assert fast.feed(data) == body
    assert (fast.head, fast.ended, fast.error, fast.reusable) == (exact.head, True, None, exact.reusable)


def test_a_plain_answer_is_taken() -> None:
    plain = read_plain(PLAIN, LIMITS)
    assert plain is not None
    assert plain[1] == BODY


@pytest.mark.parametrize(
    "data",
    [
        PLAIN[:-1],
        PLAIN + b"H",
        PLAIN.replace(b"1.1", b"1.0", 1),
        PLAIN.replace(b"200 OK", b"204 No Content"),
        PLAIN.replace(b"Content-Type", b"Content-Length"),
        PLAIN.replace(b"Content-Type: application/json", b"Transfer-Encoding: chunked"),
        PLAIN.replace(b"Content-Type: application/json", b"Content-Encoding: gzip"),
        PLAIN.replace(b"Content-Length: 10", b"Content-Length: 1" + b"0" * 15),
        PLAIN.replace(b"\r\n", b"\n"),
    ],
)
def test_everything_else_is_declined(data: bytes) -> None:
    assert read_plain(data, LIMITS) is None


def test_limits_are_the_exact_readers_to_word() -> None:
    """Too long a head, too many lines, too large a body: declined, then refused."""
    for limits in (Limits(head=20), Limits(header_lines=1), Limits(body=9)):
        assert read_plain(PLAIN, limits) is None
        answer = Answer("POST", limits)
        answer.feed(PLAIN)
        assert answer.error is not None


def test_a_head_request_has_no_body_to_read() -> None:
    answer = Answer("HEAD", LIMITS)
    answer.feed(PLAIN)
    assert (answer.ended, answer.reusable) == (True, False)
