"""Server-sent events from bytes."""

from __future__ import annotations

import pytest

from fwd_client._sse import Comment, Decoder, Event

TEXT = (
    b'\xef\xbb\xbfdata: {"a":1}\n\n: fwd {"x":2}\r\n\r\nevent: e\rdata: one\rdata:two\r\rid: 7\ndata\n\n'
    b'data: "\xe2\x80\xa8\xc2\x85\x0b\x0c"\n\n: keep-alive\n\ndata: [DONE]\n\ndata: unfinished'
)
FOUND = [
    Event(b'{"a":1}'),
    Comment(b'fwd {"x":2}'),
    Event(b"one\ntwo"),
    Event(b""),
    Event(b'"\xe2\x80\xa8\xc2\x85\x0b\x0c"'),
    Comment(b"keep-alive"),
    Event(b"[DONE]"),
]


def decode(*parts: bytes) -> list[Event | Comment]:
    decoder = Decoder()
    return [item for part in parts for item in decoder.feed(part)]


def test_whole_text() -> None:
    """CR, LF and CRLF end lines and nothing else does; the unfinished event is not given."""
    assert decode(TEXT) == FOUND


@pytest.mark.parametrize("cut", range(len(TEXT) + 1))
def test_every_cut(cut: int) -> None:
    """Where the bytes are cut makes no difference."""
    assert decode(TEXT[:cut], TEXT[cut:]) == FOUND


def test_byte_by_byte() -> None:
    """Nor does it when they come one by one, with empty pieces between."""
    assert decode(*(part for i in range(len(TEXT)) for part in (TEXT[i : i + 1], b""))) == FOUND


def test_long_line_in_pieces() -> None:
    """A long line is joined once, at its end."""
    assert decode(b"data: ", *[b"x" * 1000] * 1000, b"\n\n") == [Event(b"x" * 1_000_000)]
