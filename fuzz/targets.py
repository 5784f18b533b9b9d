"""The readers of foreign bytes, and what must hold for each of them whatever the bytes are.

Whole or cut, they must mean the same; nothing but the known refusals is raised; nothing is kept without bound; and h11
frames alike what we take. The limits are small here, so that they are met.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

import h11
from attrs import evolve, frozen
from tests.kit import malformed
from tests.server.http1.client import test_answer
from tests.server.http1.server import test_request
from tests.server.wire import test_sse

from fuzz import languages
from fuzz.cuts import parted, seed
from fwd_client import _sse as sdk
from fwd_server.http1.client.answer import Answer
from fwd_server.http1.client.values import Limits
from fwd_server.http1.server.limits import Refusal, ServerLimits
from fwd_server.http1.server.reader import RequestReader
from fwd_server.http1.server.request import Head
from fwd_server.wire.sse import EventDecoder, LineDecoder, LineTooLong, encode_event

_SERVER: Final = ServerLimits(header_bytes=512, header_lines=8, target_bytes=64)
_ANSWER: Final = Limits(head=512, header_lines=8)
_LINE: Final = 64
_FRAMING: Final = 16  # bytes of a chunk's size line that may have to wait for the rest of it
_NEWLINE: Final = re.compile(rb"\r\n|\n|\r")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@frozen
class Target:
    """A property of some reader, inputs to begin with, and how many bytes an input may have."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    longest: int = 2048


# -- requests


@frozen
class Reading:
    """What became of bytes: complete requests, where each ended, and what was refused."""

    taken: list[tuple[Head, bytes]]
    ends: list[int]
    refused: bool
    body: bytes  # of the request that is not complete


def read_requests(pieces: Iterable[bytes]) -> Reading:
    """Read as the server does: a head, its body, the next head."""
    requests, fed = RequestReader(_SERVER), 0
    reading = Reading([], [], refused=False, body=b"")
    head: Head | None = None
    body = bytearray()
    try:
        for piece in pieces:
            requests.feed(piece)
            fed += len(piece)
            while head or (head := requests.next_head()):
                body += requests.take()
                if not requests.body.ended:
                    assert len(requests.buffer) <= _FRAMING
                    break
                reading.taken.append((head, bytes(body)))
                reading.ends.append(fed - len(requests.buffer))
                head = None
                body.clear()
            assert head or len(requests.buffer) <= _SERVER.header_bytes
    except Refusal:
        return evolve(reading, refused=True)
    return evolve(reading, body=bytes(body))


def check_requests(data: bytes) -> None:
    """T1: one meaning, for us and for h11."""
    text, pieces = parted(data)
    whole, cut = read_requests([text]), read_requests(pieces)
    assert [_told(*one) for one in whole.taken] == [_told(*one) for one in cut.taken]
    assert (whole.ends, whole.refused, whole.body) == (cut.ends, cut.refused, cut.body)
    count = _until_close(whole.taken)
    ours = [(head.method, head.target, body) for head, body in whole.taken[:count]]
    if count:
        assert test_request.by_h11(text[: whole.ends[count - 1]]) == ours


def _told(head: Head, body: bytes) -> tuple[object, ...]:
    return (*head.start, list(head.tornado_headers().get_all()), head.length, head.keeps_alive, head.expects, body)


def _until_close(taken: Sequence[tuple[Head, bytes]]) -> int:
    """How many requests h11 reads: it keeps no connection of HTTP/1.0, and none that is to be closed."""
    for number, (head, _) in enumerate(taken, 1):
        if head.version == "HTTP/1.0" or not head.keeps_alive:
            return number
    return len(taken)


def request_seeds() -> Iterator[bytes]:
    for data, _ in test_request.GOOD.values():
        yield seed(data)
        yield seed(data * 2)
    yield from map(seed, malformed.CASES.values())


# -- answers


def read_answer(method: str, pieces: Iterable[bytes]) -> tuple[Answer, bytes]:
    """Read as the client does: until the answer has ended, then no more."""
    answer, body = Answer(method, _ANSWER, frozenset({"gzip"})), b""
    for piece in pieces:
        if answer.ended or answer.error:
            break
        body += answer.feed(piece)
        assert answer.error or len(answer._buffer or b"") <= _ANSWER.head
    if not (answer.ended or answer.error):
        answer.eof()
    return answer, body


def check_answers(data: bytes) -> None:
    """T9, F29: one meaning, for us and for h11."""
    method, data = "HEAD" if data[:1] == b"H" else "GET", data[1:]
    text, pieces = parted(data)
    (whole, body), (cut, other) = read_answer(method, [text]), read_answer(method, pieces)
    assert bool(whole.error) == bool(cut.error)
    assert body.startswith(other) or other.startswith(body)  # what comes before a fault may be given, or not
    if whole.error is None:
        assert whole.head is not None
        assert (whole.head, whole.ended, body) == (cut.head, cut.ended, other)
        assert len(body) <= len(text)
        if method == "GET":
            assert by_h11(text) == (whole.head.status, body)


def by_h11(text: bytes) -> tuple[int, bytes]:
    """Status and body as h11 reads them. It may refuse trailers that we drop: the body is all there by then."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(text)
    connection.receive_data(b"")
    status, body = 0, b""
    with contextlib.suppress(h11.RemoteProtocolError):
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            status = event.status_code if isinstance(event, h11.Response) else status
            body += event.data if isinstance(event, h11.Data) else b""
    return status, body


def answer_seeds() -> Iterator[bytes]:
    texts = [*(good[0] for good in test_answer.GOOD.values()), *test_answer.MALFORMED.values()]
    yield from (b"G" + seed(text) for text in texts)
    yield from (b"H" + seed(text) for text in texts[:3])


# -- events and lines


class Reader(Protocol[T_co]):
    """What takes pieces."""

    def feed(self, data: bytes) -> Sequence[T_co]: ...

    def close(self) -> Sequence[T_co]: ...


def gathered(reader: Reader[T], pieces: Iterable[bytes]) -> tuple[list[T], bool]:
    """What a decoder makes of pieces, and whether it gave up."""
    found: list[T] = []
    try:
        for piece in pieces:
            found += reader.feed(piece)
        found += reader.close()
    except LineTooLong:
        return found, True
    return found, False


def check_events(data: bytes) -> None:
    """T10, F26: one meaning; and what was read can be written and read again."""
    text, pieces = parted(data)
    whole, cut = gathered(EventDecoder(_LINE), [text]), gathered(EventDecoder(_LINE), pieces)
    assert whole == cut
    events, _ = whole
    assert all(len(event.data) <= _LINE for event in events)
    # A byte of a name that is no text comes back as the three of U+FFFD.
    again = b"".join(encode_event(event.data, event.name) for event in events)
    assert gathered(EventDecoder(4 * _LINE), [again]) == (events, False)


def check_sdk_events(data: bytes) -> None:
    """T10: the SDK's decoder means the same whole and cut, and the same as the server's."""
    text, pieces = parted(data)
    whole, cut = sdk.Decoder(), sdk.Decoder()
    found = whole.feed(text)
    assert found == [item for piece in pieces for item in cut.feed(piece)]
    ours = [item.data for item in found if isinstance(item, sdk.Event) and item.data]
    assert ours == [event.data for event in EventDecoder().feed(text)]


def check_lines(data: bytes) -> None:
    """T10, F26: lines are what stands between two ends, up to the first that is too long."""
    text, pieces = parted(data)
    whole, cut = gathered(LineDecoder(_LINE), [text]), gathered(LineDecoder(_LINE), pieces)
    assert whole == cut
    lines = _NEWLINE.split(text)
    lines = lines if lines[-1] else lines[:-1]
    good = next((number for number, line in enumerate(lines) if len(line) > _LINE), len(lines))
    assert whole == (lines[:good], good < len(lines))


def event_seeds() -> Iterator[bytes]:
    yield seed(test_sse.MIXED)
    yield from (seed(test_sse.MIXED[at:]) for at in range(0, len(test_sse.MIXED), 7))
    yield from (seed(b"data: " + b"a" * size + b"\n\ndata: [DONE]\r\n\r\n") for size in (1, 50, 58, 59, 64, 70))


def line_seeds() -> Iterator[bytes]:
    yield from (seed(b'{"a":1}\r\n\n"\xe2\x80\xa8"\rx' * times) for times in (1, 2, 9))
    yield from (seed(b"a" * size + end) for size in (1, 63, 64, 65) for end in (b"", b"\n", b"\r", b"\r\n"))


TARGETS: Final = {
    "requests": Target(check_requests, request_seeds),
    "answers": Target(check_answers, answer_seeds),
    "events": Target(check_events, event_seeds),
    "sdk_events": Target(check_sdk_events, event_seeds),
    "lines": Target(check_lines, line_seeds),
    "streams": Target(languages.check_streams, languages.stream_seeds, longest=8192),
    "messages": Target(languages.check_messages, languages.message_seeds, longest=8192),
    "wholes": Target(languages.check_wholes, languages.whole_seeds, longest=8192),
}
