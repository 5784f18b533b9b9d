"""Requests from bytes: every cut gives the same requests, and h11 and llhttp frame alike what is taken."""

from __future__ import annotations

import random

import h11
import httptools
import pytest
from attrs import evolve
from kit.malformed import CASES, CLASSES, SECOND, mutate

from fwd_server.http1.server.limits import Refusal, ServerLimits
from fwd_server.http1.server.reader import RequestReader
from fwd_server.http1.server.request import Head, parse_head

LIMITS = ServerLimits()
POST = b"POST /v1?a=b HTTP/1.1\r\nHost: gateway:8000\r\n"
GET = b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: Chunked\r\n\r\n"
GOOD = {
    "get": (GET, b""),
    "length": (POST + b"Content-Length: 5\r\nX:\r\nY: \t b \r\n\r\nhello", b"hello"),
    "no body": (POST + b"Content-Length: 0\r\n\r\n", b""),
    "length with zeros": (POST + b"Content-Length: 005\r\n\r\nhello", b"hello"),
    "chunked": (CHUNKED + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
    "chunked, empty": (CHUNKED + b"0\r\n\r\n", b""),
    "line breaks as content": (CHUNKED + b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    "1.0": (b"GET / HTTP/1.0\r\n\r\n", b""),
    "latin-1": (POST + b"Content-Length: 0\r\nX: \xe9t\xe9\r\n\r\n", b""),
    "ipv6": (b"GET / HTTP/1.1\r\nHost: [::1]:65535\r\n\r\n", b""),
}
Taken = tuple[str, str, bytes]


def read(data: bytes, step: int = 1 << 20, limits: ServerLimits = LIMITS) -> tuple[list[Taken], bytes]:
    """The complete requests in ``data``, fed in pieces of ``step`` bytes, and what is left. Raises Refusal."""
    requests, taken, body = RequestReader(limits), [], bytearray()
    head: Head | None = None
    for start in range(0, len(data), step):
        requests.feed(data[start : start + step])
        while head or (head := requests.next_head()):
            body += requests.take()
            if not requests.body.ended:
                break
            taken.append((head.method, head.target, bytes(body)))
            head = None
            body.clear()
    return taken, bytes(requests.buffer)


def outcome(data: bytes, step: int = 1 << 20) -> Refusal | list[Taken]:
    try:
        return read(data, step)[0]
    except Refusal as refusal:
        return refusal


@pytest.mark.parametrize("name", GOOD)
def test_every_cut_gives_the_same_requests(name: str) -> None:
    """Three in a row: the place of a cut changes nothing."""
    data, body = GOOD[name]
    method, target, _ = data.decode("latin-1").split(" ", 2)
    for step in (1, 2, 3, 5, 7, 11, 1000):
        taken, left = read(data * 3, step)
        assert taken == [(method, target, body)] * 3
        assert left == b""


def test_the_corpus_is_as_large_as_promised() -> None:
    """T1: at least 300 cases in 12 classes."""
    assert len(CASES) >= 300
    assert len(CLASSES) == 12


@pytest.mark.parametrize("kind", CLASSES)
def test_malformed_requests_are_refused(kind: str) -> None:
    """T1: whole, byte by byte and in pieces of seven; with a second request behind them, nothing is taken."""
    for name, data in CASES.items():
        if name.startswith(kind + "/"):
            found = [outcome(data + SECOND, step) for step in (1 << 20, 7, 1)]
            assert all(isinstance(one, Refusal) for one in found), name
            assert len({one.status for one in found if isinstance(one, Refusal)}) == 1, name


def test_ten_thousand_mutations_are_refused() -> None:
    """T1: what is wrong stays wrong in any company."""
    dice = random.Random(1)
    for number in range(10_000):
        data = mutate(dice)
        found = outcome(data, dice.choice([1 << 20, 64, 7]))
        assert isinstance(found, Refusal) or found == [], (number, data)


# -- limits


def sized(size: int) -> bytes:
    """A head of this many bytes."""
    return GET[:-2] + b"A: " + b"b" * (size - len(GET) - 5) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("below", "above", "status"),
    [
        (sized(16 << 10), sized((16 << 10) + 1), 431),
        (GET[:-2] + b"A: b\r\n" * 63 + b"\r\n", GET[:-2] + b"A: b\r\n" * 64 + b"\r\n", 431),
        (GET.replace(b"/ ", b"/" + b"a" * 4095 + b" "), GET.replace(b"/ ", b"/" + b"a" * 4096 + b" "), 414),
        (GET.replace(b"GET", b"A" * 20), GET.replace(b"GET", b"A" * 21), 400),
    ],
)
def test_limits_are_exact(below: bytes, above: bytes, status: int) -> None:
    """T6: at the limit it is taken, one more is not."""
    assert len(read(below)[0]) == 1
    with pytest.raises(Refusal) as refused:
        read(above)
    assert refused.value.status == status


@pytest.mark.parametrize(("data", "status"), [(b"GET /" + b"a" * 20_000, 414), (sized(20_000)[:-1], 431)])
def test_a_head_without_end_is_refused_at_the_limit(data: bytes, status: int) -> None:
    """T6: what can only become too large is not waited for."""
    with pytest.raises(Refusal) as refused:
        read(data, 100)
    assert refused.value.status == status


@pytest.mark.parametrize("data", [b"GET / HT", GET[:-1], CHUNKED + b"3\r\nab", CHUNKED + b"3\r\nabc\r\n0\r"])
def test_an_incomplete_request_is_waited_for(data: bytes) -> None:
    assert read(data)[0] == []


@pytest.mark.parametrize("factor", [1, 4])
def test_tiny_pieces_cost_no_more_than_their_bytes(factor: int) -> None:
    """T38: a head is searched once, however it comes; the buffer never holds more than what is new."""
    requests = RequestReader(evolve(LIMITS, header_bytes=1 << 20))
    for byte in sized(4000 * factor)[:-1]:
        requests.feed(bytes([byte]))
        assert requests.next_head() is None
    assert requests._searched == len(requests.buffer) - 3


# -- what a head says


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: x , CLOSE\r\n", False),
        (b"1.1", b"Connection: x\r\nConnection: close\r\n", False),
        (b"1.1", b"Connection: closed\r\n", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_who_wants_to_keep_the_connection(version: bytes, connection: bytes, keeps: bool) -> None:
    head = parse_head(b"GET / HTTP/" + version + b"\r\nHost: x\r\n" + connection + b"\r\n", LIMITS)
    assert head.keeps_alive is keeps


def test_who_waits_to_be_asked() -> None:
    """RFC 9110, 10.1.1: HTTP/1.0 cannot."""
    line = b"Expect: 100-Continue\r\n\r\n"
    assert parse_head(GET[:-2] + line, LIMITS).expects
    assert not parse_head(b"GET / HTTP/1.0\r\n" + line, LIMITS).expects


def test_headers_are_tornados() -> None:
    """Any case, repeated ones joined, blanks around values gone."""
    head = parse_head(GET[:-2] + b"x-a: 1\r\nX-A:\t2 \r\ncontent-type:a\r\n\r\n", LIMITS)
    assert head.headers == {"host": "gateway", "x-a": "1,2", "content-type": "a"}
    headers = head.tornado_headers()
    assert headers["X-a"] == "1,2"
    assert headers.get_list("x-A") == ["1", "2"]
    assert list(headers) == ["Host", "X-A", "Content-Type"]


# -- other readers


def by_h11(data: bytes) -> list[Taken]:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    taken: list[Taken] = []
    body = bytearray()
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            taken.append((event.method.decode(), event.target.decode(), b""))
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            taken[-1] = (*taken[-1][:2], bytes(body))
            body.clear()
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is h11.MUST_CLOSE:
                return taken
            connection.start_next_cycle()
        else:
            return taken


class ByLlhttp:
    """What llhttp makes of the same bytes."""

    def __init__(self, data: bytes) -> None:
        self.bodies: list[bytes] = []
        self.targets: list[str] = []
        httptools.HttpRequestParser(self).feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.targets.append(url.decode())
        self.bodies.append(b"")

    def on_body(self, piece: bytes) -> None:
        self.bodies[-1] += piece


def generate(dice: random.Random) -> bytes:
    """A request that may be right, with everything readers are known to differ about."""
    method = dice.choice([b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"get"])
    target = dice.choice([b"/", b"/a?b=c", b"/%00", b"//x", b"/a#b", b"*", b"/\xe9"])
    version = dice.choice([b"1.1"] * 6 + [b"1.0", b"1.2"])
    headers = [b"Host: gateway"]
    for _ in range(dice.randrange(4)):
        name = dice.choice([b"A", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Host", b"X_Y", b"B "])
        value = dice.choice(
            [b"", b"0", b"5", b"5,5", b"+5", b"chunked", b"Chunked", b"gzip", b"x\ty", b"gateway", b"\xff"]
        )
        headers.insert(dice.randrange(len(headers) + 1), name + dice.choice([b":", b": ", b":\t"]) + value)
    if dice.random() < 0.5:
        headers.append(dice.choice([b"Content-Length: 5", b"Transfer-Encoding: chunked"]))
    end = dice.choice([b"\r\n"] * 8 + [b"\n"])
    body = dice.choice(
        [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5;x\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n"]
    )
    return end.join([method + b" " + target + b" HTTP/" + version, *headers, b"", b""]) + body


def test_others_frame_alike_what_we_take() -> None:
    """T1: one way only, for both others take more than we do."""
    dice, seen = random.Random(2), 0
    for _ in range(40_000):
        data = generate(dice)
        taken = outcome(data)
        if isinstance(taken, Refusal) or not taken or read(data)[1]:
            continue
        seen += 1
        assert by_h11(data) == taken, data
        found = ByLlhttp(data)
        assert list(zip(found.targets, found.bodies, strict=True)) == [(target, body) for _, target, body in taken], (
            data
        )
    assert seen > 1_000
