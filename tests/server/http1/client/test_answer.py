"""The answer parser: every cut gives the same answer, junk is refused, and h11 frames alike what is taken."""

from __future__ import annotations

import random

import h11
import pytest

from fwd_server.http1.client.answer import Answer
from fwd_server.http1.client.values import Limits, TransportError

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = {
    "length": (OK + b"Content-Length: 5\r\nX-A:  b \r\n\r\nhello", 200, b"hello", True),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    "same length twice": (OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi", True),
    "chunked": (CHUNKED + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n", 200, b"abcd", True),
    "chunked, extension": (CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n", 200, b"abc", True),
    "chunked, trailer": (CHUNKED + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", 200, b"abc", False),
    "chunked, close": (OK + b"connection: x, Close\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n", 200, b"", False),
    "no content": (b"HTTP/1.1 204\r\n\r\n", 204, b"", True),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, b"", True),
    "informational": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nz",
        200,
        b"z",
        True,
    ),
    "1.0": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nz", 200, b"z", False),
    "surplus": (OK + b"Content-Length: 1\r\n\r\nzHTTP/1.1 200 OK", 200, b"z", False),
    "surplus after nothing": (b"HTTP/1.1 204 x\r\n\r\n\r\n", 204, b"", False),
    "surplus after chunks": (CHUNKED + b"1\r\nz\r\n0\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\ny", 200, b"z", False),
    "line break after chunks": (CHUNKED + b"1\r\nz\r\n0\r\n\r\n\r\n", 200, b"z", False),
    "junk after chunks": (CHUNKED + b"1\r\nz\r\n0\r\n\r\n?", 200, b"z", False),
}
MALFORMED = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\n\r\n",
    "leading line break": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "two empty lines": b"\r\n\r\n",
    "double space": b"HTTP/1.1  200 OK\r\n\r\n",
    "tab for space": b"HTTP/1.1\t200 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\n\r\n",
    "status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "control in reason": b"HTTP/1.1 200 O\x00K\r\n\r\n",
    "switching protocols": b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n",
    "informational with length": b"HTTP/1.1 103 x\r\nContent-Length: 1\r\n\r\nz",
    "eleven informational": b"HTTP/1.1 102 x\r\n\r\n" * 11,
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare LF in between": OK + b"A: b\nContent-Length: 0\r\n\r\n",
    "bare CR": OK + b"A: b\rContent-Length: 0\r\n\r\n",
    "NUL in value": OK + b"A: b\x00c\r\n\r\n",
    "DEL in value": OK + b"A: b\x7fc\r\n\r\n",
    "folded line": OK + b"A: b\r\n c\r\n\r\n",
    "space before colon": OK + b"A : b\r\n\r\n",
    "space before name": OK + b" A: b\r\n\r\n",
    "no name": OK + b": b\r\n\r\n",
    "no colon": OK + b"A b\r\n\r\n",
    "bad name": OK + b"A(b): c\r\n\r\n",
    "name not ASCII": OK + b"\xc3\xa4: c\r\n\r\n",
    "length not a number": OK + b"Content-Length: five\r\n\r\n",
    "length with sign": OK + b"Content-Length: +5\r\n\r\n",
    "negative length": OK + b"Content-Length: -5\r\n\r\n",
    "hex length": OK + b"Content-Length: 0x5\r\n\r\n",
    "length with underscore": OK + b"Content-Length: 1_0\r\n\r\n",
    "no length": OK + b"Content-Length:\r\n\r\n",
    "huge length": OK + b"Content-Length: 9999999999999999\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "list of lengths": OK + b"Content-Length: 5, 6\r\n\r\n",
    "length and comma": OK + b"Content-Length: 5,\r\n\r\n",
    "length and coding": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two codings": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "coding list": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "unknown coding": OK + b"Transfer-Encoding: identity\r\n\r\n",
    "disguised coding": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "empty coding": OK + b"Transfer-Encoding:\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunked in HEAD's shape": b"HTTP/1.0 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunk size missing": CHUNKED + b"\r\nabc\r\n",
    "chunk size with 0x": CHUNKED + b"0x3\r\nabc\r\n",
    "chunk size with space": CHUNKED + b"3 \r\nabc\r\n",
    "chunk size too large": CHUNKED + b"fffffffffffffffff\r\n",
    "negative chunk": CHUNKED + b"-3\r\nabc\r\n",
    "chunk longer than said": CHUNKED + b"3\r\nabcd\r\n",
    "chunk, bare LF": CHUNKED + b"3\nabc\n0\n\n",
    "chunk end, bare LF": CHUNKED + b"3\r\nabc\n0\r\n\r\n",
    "chunk extension, bare LF": CHUNKED + b"3;a\nb\r\nabc\r\n",
    "endless chunk extension": CHUNKED + b"3;" + b"a" * 20_000,
    "endless trailers": CHUNKED + b"0\r\n" + b"A: b\r\n" * 4_000,
    "length as trailer": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "long head": OK + b"A: " + b"b" * 40_000,
    "long whole head": OK + b"A: " + b"b" * 40_000 + b"\r\n\r\n",
    "many headers": OK + b"A: b\r\n" * 300 + b"\r\n",
}


def feed(data: bytes, step: int, method: str = "POST", asked: frozenset[str] = frozenset()) -> tuple[Answer, bytes]:
    """Feed `data` in pieces of `step` bytes, for as long as the parser wants more."""
    answer, body = Answer(method, Limits(), asked), b""
    for start in range(0, len(data), step):
        body += answer.feed(data[start : start + step])
        if answer.error is not None or answer.ended:
            break
    return answer, body


@pytest.mark.parametrize("name", GOOD)
def test_a_good_answer_in_one_piece(name: str) -> None:
    """Status, body and whether the connection may be kept are as the framing says."""
    data, status, body, reusable = GOOD[name]
    answer, found = feed(data, len(data))
    assert answer.head is not None
    assert (answer.head.status, found, answer.ended, answer.reusable) == (status, body, True, reusable)


@pytest.mark.parametrize("name", GOOD)
def test_every_cut_gives_the_same_answer(name: str) -> None:
    """However the network cuts an answer, it is the same answer (law)."""
    data, status, body, _ = GOOD[name]
    for cut in range(1, len(data)):
        answer = Answer("POST", Limits())
        found = answer.feed(data[:cut])
        found += b"" if answer.ended else answer.feed(data[cut:])
        assert answer.head is not None
        assert (answer.head.status, found, answer.ended) == (status, body, True), cut


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_answers_are_refused(name: str, step: int) -> None:
    """What could be read in two ways is not read at all, in one piece or in many (F29, T9)."""
    answer, _ = feed(MALFORMED[name], step)
    assert answer.error is not None
    assert answer.error.code == "bad_response"


def test_pieces_before_the_fault_are_kept() -> None:
    """A chunk that was good stays good when the next one is not."""
    answer, body = feed(CHUNKED + b"3\r\nabc\r\nxyz", 1 << 20)
    assert (body, answer.error is None) == (b"abc", False)


def test_headers_are_lower_case_and_joined() -> None:
    """Names are lower-case; a name that comes twice is one list."""
    answer, _ = feed(OK + b"X-A: 1\r\nx-a:2\t\r\nEmpty:\r\nL: \xe4\r\n\r\n", 1 << 20)
    assert answer.head is not None
    assert answer.head.headers == {"x-a": "1, 2", "empty": "", "l": "ä"}


def test_head_has_no_body() -> None:
    """The answer to HEAD ends with its head, whatever it says of a body."""
    answer, _ = feed(OK + b"Content-Length: 5\r\n\r\n", 1 << 20, method="HEAD")
    assert (answer.ended, answer.reusable) == (True, True)


def test_a_body_until_close_ends_at_eof() -> None:
    """Without a length the end of the connection is the end of the body, and the connection is not kept."""
    answer, body = feed(OK + b"\r\nhello", 1 << 20)
    assert (body, answer.ended) == (b"hello", False)
    answer.eof()
    assert (answer.ended, answer.error, answer.reusable) == (True, None, False)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "upstream_reset"),
        (b"HTTP/1.1 20", "upstream_reset"),
        (OK + b"Content-Length: 5\r\n\r\nhell", "upstream_truncated"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n", "upstream_truncated"),
    ],
)
def test_eof_too_early(data: bytes, code: str) -> None:
    """A cut is an error, and says whether it was in the head or in the body (F5, F8, L3)."""
    answer, _ = feed(data, 1 << 20)
    answer.eof()
    assert answer.error is not None
    assert answer.error.code == code


def test_eof_after_the_end_changes_nothing() -> None:
    """An answer that has ended stays ended."""
    answer, _ = feed(OK + b"Content-Length: 0\r\n\r\n", 1 << 20)
    answer.eof()
    assert answer.error is None


@pytest.mark.parametrize("head", [b"Content-Length: 101\r\n", b"", b"Transfer-Encoding: chunked\r\n"])
def test_too_large(head: bytes) -> None:
    """More than the limit is refused, with a length before the first byte of it is taken (T9, F26)."""
    answer = Answer("POST", Limits(body=100))
    body = answer.feed(OK + head + b"\r\n")
    body += b"" if answer.error is not None else answer.feed(b"40\r\n" + b"x" * 64 + b"\r\n40\r\n" + b"x" * 64)
    assert body == b""
    assert answer.error is not None
    assert answer.error.code == "too_large"


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"gzip, gzip", b"x\xff"])
def test_an_encoding_nobody_asked_for(coding: bytes) -> None:
    """An answer that is compressed unasked is refused rather than handed on (F25)."""
    answer, _ = feed(OK + b"Content-Encoding: " + coding + b"\r\nContent-Length: 0\r\n\r\n", 1 << 20)
    assert answer.error is not None
    assert answer.error.code == "bad_encoding"


@pytest.mark.parametrize("coding", [b"GZIP", b"identity", b"", b" ", b",", b" , ,"])
def test_an_encoding_that_was_asked_for(coding: bytes) -> None:
    """Identity is always welcome, gzip when the request allowed it."""
    data = OK + b"Content-Encoding: " + coding + b"\r\nContent-Length: 0\r\n\r\n"
    answer, _ = feed(data, 1 << 20, asked=frozenset(["gzip"]))
    assert answer.ended


@pytest.mark.parametrize(
    ("value", "welcome_s"), [(b"timeout=5", 4.0), (b"max=3, Timeout=1", 0.0), (b"x", float("inf"))]
)
def test_how_long_an_idle_connection_is_welcome(value: bytes, welcome_s: float) -> None:
    """The upstream's own hint is respected with a second to spare."""
    answer, _ = feed(OK + b"Keep-Alive: " + value + b"\r\n\r\n", 1 << 20)
    assert answer.head is not None
    assert answer.head.keepalive_limit_s == welcome_s


def h11_reading(data: bytes) -> tuple[int, bytes]:
    """Return status and body as h11 reads them, the connection closed after `data`."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, body = 0, b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
    return status, body


def mutate(data: bytes, rand: random.Random) -> bytes:
    """Return `data` with one small wound: a byte lost, doubled, changed, or a piece from elsewhere put in."""
    place = rand.randrange(len(data))
    piece = rand.choice([b"", data[place : place + 1] * 2, rand.choice(b"\r\n\t :;,05aZ\x00\xff").to_bytes(1, "big")])
    if rand.random() < 0.2:
        other = rand.choice(list(GOOD.values()))[0]
        start = rand.randrange(len(other))
        piece = other[start : start + rand.randrange(30)]
    return data[:place] + piece + data[place + 1 :]


@pytest.mark.parametrize("seed", range(20))
def test_h11_frames_alike_what_we_take(seed: int) -> None:
    """Of 5,000 wounded answers, h11 reads each that we take to its end as the same status and body."""
    rand = random.Random(seed)
    taken = 0
    for _ in range(250):
        data = mutate(rand.choice(list(GOOD.values()))[0], rand)
        answer, body = feed(data, 1 << 20, method="GET")
        if answer.error is None and not answer.ended:
            answer.eof()
        if answer.error is None and answer.head is not None:
            taken += 1
            assert h11_reading(data) == (answer.head.status, body), data
    assert taken > 20


def test_the_error_quotes_little() -> None:
    """A message quotes a few bytes, escaped, and no more (S13)."""
    answer, _ = feed(b"\x1b]0;" + b"x" * 1000, 1 << 20)
    assert isinstance(answer.error, TransportError)
    assert "\x1b" not in str(answer.error)
    assert len(str(answer.error)) < 100


def test_what_follows_a_whole_answer_spoils_only_its_own_connection() -> None:
    """Contract S28: an answer read in one step shares nothing with the next one."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    first, second = Answer("GET", Limits()), Answer("GET", Limits())
    assert first.feed(whole) == b"ok"
    assert first.reusable
    assert first.feed(b"surplus") == b""
    assert not first.reusable
    assert second.feed(whole) == b"ok"
    assert second.reusable
