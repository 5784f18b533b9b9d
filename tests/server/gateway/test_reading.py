"""What a body is, its first bytes decide, whatever its label says (contract F24)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.gateway.reading import BodyKind, body_kind, read_all, read_first_content
from fwd_server.providers.base import Exchange
from fwd_server.values.chat import ChatResponse, Chunk, End
from fwd_server.values.errors import UpstreamError

JSON, EVENTS, OTHER = BodyKind.JSON, BodyKind.EVENTS, BodyKind.OTHER


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"{", JSON),
        (b"[", JSON),
        (b"\xef\xbb\xbf \r\n\t{", JSON),
        (b"data: x", EVENTS),
        (b"data:x", EVENTS),
        (b"event: x", EVENTS),
        (b"id: 1", EVENTS),
        (b"retry: 1", EVENTS),
        (b": ping", EVENTS),
        (b"\n\n:", EVENTS),
        (b"\xef\xbb\xbfdata:", EVENTS),
        (b"<!doctype html>", OTHER),
        (b"Bad Gateway", OTHER),
        (b"database error", OTHER),
        (b'"text"', OTHER),
        (b"null", OTHER),
        (b"d", None),
        (b"data", None),
        (b"retr", None),
        (b"", None),
        (b" \r\n", None),
    ],
)
def test_first_bytes(start: bytes, kind: BodyKind | None) -> None:
    """JSON, events, or neither; None while more must be seen."""
    assert body_kind(start) is kind


@given(st.sampled_from([b'{"a":1}', b"data: {}\n\n", b": c\n\n", b"<html>", b"event: a\n"]), st.binary(max_size=9))
def test_more_bytes_never_change_what_a_body_is(body: bytes, more: bytes) -> None:
    """Whatever is decided early holds for the whole."""
    body += more
    decided = [kind for end in range(1, len(body) + 1) if (kind := body_kind(body[:end])) is not None]
    assert set(decided) == {body_kind(body)}


class Pieces:
    """An answer that comes in pieces."""

    status = 200

    def __init__(self, *pieces: bytes, label: str = "") -> None:
        self.headers: Mapping[str, str] = {"content-type": label}
        self.closed = False
        self._pieces = list(pieces)

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        self.closed = True


class Plain:
    """An exchange whose stream says one text and ends, and whose answer is the body itself."""

    request = None
    progress = 0

    def answer(self, body: bytes) -> ChatResponse:
        return ChatResponse(orjson.loads(body))

    def decoder(self) -> Any:
        return self

    def feed(self, data: bytes) -> list[Any]:
        return [Chunk(True, frame=data)]

    def close(self) -> list[Any]:
        return [End()]


def first_content(*pieces: bytes, label: str = "", limit: int = 1000, json_lines: bool = False) -> Any:
    response = Pieces(*pieces, label=label)
    reading = read_first_content(cast("Any", response), cast("Exchange", Plain()), limit, json_lines=json_lines)
    return asyncio.run(reading).head


WHOLE = {"choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("label", ["application/json", "text/event-stream", "text/plain", ""])
def test_labels_decide_nothing(label: str) -> None:
    """F24: events are read as events and JSON as JSON under any label."""
    assert first_content(b"da", b"ta: x\n\n", label=label) == [Chunk(True, frame=b"data: x\n\n")]
    *chunks, end = first_content(orjson.dumps(WHOLE), label=label)
    assert isinstance(end, End)
    assert any(choice["delta"].get("content") == "Hi" for chunk in chunks for choice in chunk.data["choices"])


def test_lines_of_json_are_a_stream_where_the_provider_sends_such() -> None:
    """Ollama."""
    assert first_content(b'{"a":1}\n', json_lines=True) == [Chunk(True, frame=b'{"a":1}\n')]


@pytest.mark.parametrize(("label", "code"), [("text/html", "bad_content_type"), ("application/json", "bad_payload")])
def test_a_page_is_a_failure(label: str, code: str) -> None:
    """F20, F24: named by what it was called."""
    with pytest.raises(UpstreamError) as caught:
        first_content(b"<html>", label=label)
    assert caught.value.code == code


@pytest.mark.parametrize("pieces", [[b" " * 400] * 3, [b"\n" * 2000]])
def test_blanks_without_end_are_too_large(pieces: list[bytes]) -> None:
    """F26: what is held is bounded."""
    with pytest.raises(UpstreamError) as caught:
        first_content(*pieces)
    assert caught.value.code == "too_large"


def test_the_start_counts_and_is_kept() -> None:
    """F26."""
    response: Any = Pieces(b"bc", b"d")
    assert asyncio.run(read_all(response, 4, b"a")) == b"abcd"
    with pytest.raises(UpstreamError):
        asyncio.run(read_all(cast("Any", Pieces(b"bc", b"d")), 3, b"a"))
