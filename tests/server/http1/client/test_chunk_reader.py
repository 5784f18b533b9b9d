"""A piece that is exactly one chunk is taken without llhttp, and any way of cutting a body gives the same bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fwd_server.http1.client.answer import Answer
from fwd_server.http1.client.values import Limits

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# Contents that look like framing, so that a reader that loses its place would show it.
CONTENTS = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.sampled_from([b"\r\n", b"5\r\n", b"0\r\n\r\n", b"1\r\na\r\n", b"a" * 16, b"\n"]),
)
FRAMINGS = st.sampled_from([b"%x\r\n%b\r\n", b"%X\r\n%b\r\n", b"0%x\r\n%b\r\n", b"%x;a=b\r\n%b\r\n"])
BROKEN = st.sampled_from([b"x\r\n\r\n", b"-1\r\na\r\n", b"2\r\na\r\n", b"1\r\nab\r\n", b"\r\n", b"1\nab\r\n"])


@st.composite
def pieces(draw: st.DrawFn) -> list[bytes]:
    """Chunks, most of them whole pieces, some cut or joined, some broken."""
    chunks = []
    for content in draw(st.lists(CONTENTS, max_size=6)):
        chunks.append(draw(FRAMINGS) % (len(content), content))
        if not draw(st.integers(0, 19)):
            chunks.append(draw(BROKEN))
    if draw(st.booleans()):
        chunks.append(b"0\r\n\r\n")
    if draw(st.booleans()):
        return chunks
    data = b"".join(chunks)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=4)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def read(data: list[bytes]) -> tuple[bytes, bool, bool, bool]:
    """The body, and how it ended; nothing is fed after the end, as a connection does."""
    answer, body = Answer("POST", Limits()), b""
    for piece in data:
        body += answer.feed(piece)
        if answer.ended or answer.error is not None:
            break
    return body, answer.ended, answer.error is not None, answer.reusable


@settings(max_examples=500)
@given(pieces())
def test_pieces_and_single_bytes_give_the_same(data: list[bytes]) -> None:
    """Byte by byte no piece is a whole chunk, so llhttp reads everything."""
    body, ended, failed, _ = read([HEAD, *data])
    whole = HEAD + b"".join(data)
    expected, has_ended, has_failed, _ = read([whole[at : at + 1] for at in range(len(whole))])
    assert (ended, failed) == (has_ended, has_failed)
    assert body == expected or failed  # of a broken body more or less may have come before it was noticed


class CountingParser:
    """llhttp, and how many bytes it was fed."""

    def __init__(self, parser: Any) -> None:
        self.parser = parser
        self.fed = 0

    def feed_data(self, data: bytes) -> None:
        self.fed += len(data)
        self.parser.feed_data(data)


def test_whole_chunks_never_reach_the_parser() -> None:
    answer = Answer("POST", Limits())
    answer.feed(HEAD)
    body: Any = answer._body
    parser = body._parser = CountingParser(body._parser)
    assert answer.feed(b"5\r\nhello\r\n") == b"hello"
    assert parser.fed == 0
    assert answer.feed(b"1;x\r\n!\r\n") == b"!"  # read by llhttp, which then stands between two chunks again
    fed = parser.fed
    assert answer.feed(b"2\r\nok\r\n") == b"ok"
    assert parser.fed == fed > 0
    assert answer.feed(b"0\r\n\r\n") == b""
    assert (answer.ended, answer.reusable) == (True, True)
