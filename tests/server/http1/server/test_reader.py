"""The fast readers of requests: what they take, the exact reader takes with the same result.

Every request is read by a connection that has seen another one before, and by a new one: both must say the same.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.malformed import CASES, CLASSES, HOST, SECOND, mutate

from fwd_server.http1.server.limits import Refusal, ServerLimits
from fwd_server.http1.server.reader import RememberedHead, RequestReader
from fwd_server.http1.server.request import Head, parse_head

LIMITS = ServerLimits(header_bytes=1000, header_lines=12, target_bytes=200)
SDK = (
    b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: gateway:8000\r\nAccept: application/json\r\n"
    b"Connection: keep-alive\r\nAuthorization: Bearer fwd_0123\r\nX-Request-Id: req-1\r\nX-A: 1\r\nx-empty:\r\n"
    b"Content-Length: 5\r\n\r\n"
)
BASES = {
    "sdk": (SDK, b"hello"),
    "length first": (b"PUT /first HTTP/1.1\r\ncontent-length:5\r\n" + HOST + b"\r\n", b"hello"),
    "blanks": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: \t 5 \t\r\nA: b\r\n\r\n", b"hello"),
    "repeated": (b"POST / HTTP/1.1\r\n" + HOST + b"A: 1\r\nContent-Length: 5\r\na: 2\r\n\r\n", b"hello"),
    "get": (b"GET /first HTTP/1.1\r\n" + HOST + b"X-Request-Id: 1\r\n\r\n", b""),
    "chunked": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HOST + b"\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    "expects": (b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n" + HOST + b"\r\n", b"hello"),
    "1.0": (b"POST / HTTP/1.0\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", b"hello"),
}
Outcome = Any


def fields(head: Head) -> Outcome:
    """All that a head says."""
    shown = (head.method, head.target, head.path, head.query, head.version, head.headers, head.length)
    return (*shown, head.keeps_alive, head.expects, head.plain, list(head.tornado_headers().get_all()))


def read_next(reader: RequestReader, data: bytes, step: int = 0) -> Outcome:
    """What becomes of the next request of a connection: its head and body, a refusal, or nothing yet."""
    try:
        whole = None if step else reader.read_whole(data)
        if whole is not None:
            return fields(whole[0]), whole[1]
        head, body = None, b""
        for start in range(0, len(data), step or len(data)):
            reader.feed(data[start : start + (step or len(data))])
            head = head or reader.next_head()
            body += reader.take() if head is not None else b""
        return None if head is None else (fields(head), body, reader.body.ended, bytes(reader.buffer))
    except Refusal as refusal:
        return refusal.status, refusal.code, str(refusal)


def shape(outcome: Outcome) -> Outcome:
    """An outcome without how it was come by: whole, or by the buffer to its end."""
    return outcome[:2] if isinstance(outcome, tuple) and len(outcome) == 4 and outcome[2:] == (True, b"") else outcome


def experienced(base: tuple[bytes, bytes]) -> RequestReader:
    """The reader of a connection that has carried this request."""
    reader = RequestReader(LIMITS)
    assert shape(read_next(reader, b"".join(base)))[1] in {b"hello", b""}
    return reader


def agree(base: tuple[bytes, bytes], data: bytes, step: int = 0) -> Outcome:
    """Read a request after another one, and by itself; return the outcome, which must be one."""
    after, alone = read_next(experienced(base), data, step), read_next(RequestReader(LIMITS), data, step)
    assert shape(after) == shape(alone)
    return shape(after)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("kind", CLASSES)
def test_malformed_requests_are_refused_after_a_good_one(kind: str, base: str) -> None:
    """T1 to T6, T12 to T15, T23: whole, and cut, with the same status, code and words as without."""
    limits = ServerLimits()
    for name, data in CASES.items():
        if name.startswith(kind + "/"):
            for step in (1 << 20, 7):
                reader = RequestReader(limits)
                read_next(reader, b"".join(BASES[base]))
                outcome = read_next(reader, data + SECOND, 0 if step > 7 else step)
                assert isinstance(outcome[0], int), name
                assert outcome == read_next(RequestReader(limits), data + SECOND, 0 if step > 7 else step), name


@pytest.mark.parametrize("base", BASES)
def test_mutations_are_refused_after_a_good_one(base: str) -> None:
    """T1: 10,000 of them altogether."""
    dice = random.Random(base)
    for _ in range(10_000 // len(BASES)):
        outcome = agree(BASES[base], mutate(dice), dice.choice([0, 0, 7]))
        assert outcome is None or isinstance(outcome[0], int)


INSERTED = (b" ", b"\t", b"\r\n", b":", b"0", b"\x00", b"\xe9")
VALUES = (b"req-2", b"", b" x \t", b"\xe9", b"a\rb", b"a\nb", b"\x7f")
LENGTHS = (b"5", b"05", b"4", b"1" * 15, b"1" * 16, b"5,5", b"-5")
LINES = (b"x-a:1", b"Host: b", b"Expect: x", b"X-B: 1", b"X-A : 1")


def neighbour(dice: random.Random, head: bytes) -> bytes:
    """A head that differs a little: in a byte, a line, the order of lines, a value or the length's digits."""
    for _ in range(dice.randrange(1, 3)):
        lines = head.split(b"\r\n")
        place, index = dice.randrange(len(head)), dice.randrange(len(lines))
        heads = (
            head[:place] + bytes([dice.randrange(256)]) + head[place + 1 :],
            head[:place] + head[place + 1 :],
            head[:place] + dice.choice(INSERTED) + head[place:],
            b"\r\n".join([*lines[:index], dice.choice(lines), *lines[index:]]),
            b"\r\n".join([*lines[:index], *lines[index + 1 :]]),
            head.replace(b"req-1", dice.choice(VALUES)),
            head.replace(b": 5", b": " + dice.choice(LENGTHS)),
            head.replace(b"X-A: 1", dice.choice(LINES)),
        )
        head = dice.choice(heads)
    return head


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("step", [0, 64])
def test_what_differs_a_little_is_read_as_if_it_came_first(base: str, step: int) -> None:
    """The memo may only decline or agree: 3,000 neighbours of each kind of head, most of them refused."""
    dice, taken = random.Random(f"{base} {step}"), 0
    for _ in range(3_000):
        head, body = BASES[base]
        outcome = agree(BASES[base], neighbour(dice, head) + body, step)
        taken += outcome is not None and not isinstance(outcome[0], int)
    assert taken > 150


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(BASES)), st.integers(0, 10**16), st.text("ab \t", max_size=3)), max_size=6
    )
)
def test_any_sequence_of_good_requests_is_read_alike(requests: list[tuple[str, int, str]]) -> None:
    """On one connection: heads come again, with other lengths and ids, and never bring an old value back."""
    reader = RequestReader(LIMITS)
    for base, length, value in requests:
        head = BASES[base][0].replace(b": 5", b": %d" % length).replace(b"req-1", value.encode())
        assert head_or_code(reader, head) == head_or_code(RequestReader(LIMITS), head)
        reader.buffer.clear()


def head_or_code(reader: RequestReader, data: bytes) -> Outcome:
    """The next head of a connection, or the code of a refusal."""
    try:
        reader.feed(data)
        head = reader.next_head()
    except Refusal as refusal:
        return refusal.code
    return head and fields(head)


def test_the_memo_is_shared_by_what_differs_in_its_length_only() -> None:
    """R7, D8: what the layer above remembers of a head is never seen by another head, nor by another connection."""
    reader = experienced(BASES["sdk"])
    memos = []
    for old, new in ((b"", b""), (b": 5", b": 7"), (b"req-1", b"req-2"), (b"fwd_0123", b"fwd_9999"), (b"", b"")):
        reader.feed(SDK.replace(old, new, 1) if old else SDK)
        head = reader.next_head()
        assert head is not None
        memos.append(head.memo)
    assert memos[0] is memos[1]
    assert len({id(memo) for memo in memos}) == 4
    assert memos[0].value is None


def test_the_limits_hold_for_a_head_that_is_recognised() -> None:
    """T6: with more digits it may become too long, and is then refused by the exact reader."""
    limits = ServerLimits(header_bytes=len(SDK) + 1)
    reader = RequestReader(limits)
    reader.feed(SDK + b"hello")
    assert reader.next_head() is not None
    assert reader.take() == b"hello"
    assert read_next(reader, SDK.replace(b": 5", b": 12") + b"x" * 12)[1] == b"x" * 12
    assert read_next(reader, SDK.replace(b": 5", b": 123") + b"x" * 123)[0] == 431


def test_a_long_head_is_not_remembered() -> None:
    """Idle connections are many, so each of them keeps little."""
    reader = RequestReader(ServerLimits())
    reader.feed(SDK[:-2] + b"X-Long: " + b"a" * 5000 + b"\r\n\r\n")
    assert reader.next_head() is not None
    assert reader._remembered is None


def test_a_head_is_not_recognised_by_its_beginning() -> None:
    """Every part of it counts."""
    head = parse_head(SDK, LIMITS)
    remembered = RememberedHead(SDK, head)
    for end in range(len(SDK)):
        assert remembered.match(SDK[:end], 1000) is None
    assert remembered.match(SDK, 1000) == (head, len(SDK))
