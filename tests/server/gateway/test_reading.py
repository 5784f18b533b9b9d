"""What a body is, its first bytes decide, whatever its label says (contract F24)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.calls import make_deployment

from fwd_server.callers.openai_chat import parse_exactly
from fwd_server.gateway.reading import BodyKind, body_kind, read_all, read_first_content, read_whole
from fwd_server.providers.base import ChatExchange
from fwd_server.providers.compatible import provider
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

    def whole_body(self) -> bytes | None:
        return None

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
    reading = read_first_content(cast("Any", response), cast("ChatExchange", Plain()), limit, json_lines=json_lines)
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


def test_a_stream_in_the_place_of_a_whole_answer_is_folded() -> None:
    """F24: it says everything; cut off, or with a failure in it, it is that failure."""
    request = parse_exactly(b'{"model":"m","messages":[{"role":"user","content":"x"}]}')
    codec: Any = provider("some-server").chat
    exchange = codec.open(request, make_deployment("http://x/v1", "some-server"), 1, lambda prefix: prefix + "1")
    deltas = [{"role": "assistant", "content": "Hel"}, {"content": "lo"}]
    chunks = [{"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    end = {"id": "1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = [b"data: %b\n\n" % orjson.dumps(chunk) for chunk in (*chunks, end)]

    def read(*pieces: bytes) -> Any:
        return asyncio.run(read_whole(cast("Any", Pieces(*pieces, label="application/json")), exchange, 10_000))

    (choice,) = read(*events, b"data: [DONE]\n\n").data["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello", "stop")
    for bad, code in ((events[:2], "upstream_truncated"), ([events[0], b'data: {"error":{"message":"no"}}\n\n'], None)):
        with pytest.raises(UpstreamError) as caught:
            read(*bad)
        assert code in (caught.value.code, None)
