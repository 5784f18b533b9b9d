"""Read a provider's good answer: whole, or up to its first content. The first bytes decide what a body is.

Labels are often wrong: servers send events as ``text/plain`` and JSON as ``text/html``, answer a stream call in one
piece and a whole call with events. All of that can be used, so the content type is looked at only where the
bytes leave it open, and to name a failure (contract F24).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Final

from fwd_server.gateway.relay import CommittedStream
from fwd_server.gateway.translation import AnyExchange
from fwd_server.providers.answer_shape import fold_events
from fwd_server.providers.base import ChatExchange, StreamDecoder, UpstreamRequest
from fwd_server.upstream.send import UpstreamResponse
from fwd_server.values.chat import ChatResponse, End, StreamEvent, unfold_response
from fwd_server.values.embeddings import EmbeddingsResponse
from fwd_server.values.errors import UpstreamError, upstream_failure

_BLANK: Final = b" \t\r\n\xef\xbb\xbf"  # what may stand before a body: white space and a byte order mark
# A comment line (":") also begins a stream: OpenRouter sends ": OPENROUTER PROCESSING" before the first event,
# https://openrouter.ai/docs/api/reference/streaming.
_FIELD: Final = re.compile(rb"(?:data|event|id|retry)?:")
_STREAMS: Final = frozenset({"text/event-stream", "application/x-ndjson"})
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:")


class BodyKind(enum.Enum):
    """The kind of a body, judged by its first bytes."""

    JSON = "json"
    EVENTS = "events"
    OTHER = "other"  # a page of HTML, plain words


def body_kind(start: bytes) -> BodyKind | None:
    """What a body that begins with ``start`` is; None while more of it must be seen."""
    start = start.lstrip(_BLANK)
    if not start:
        return None
    # An array is JSON as well: Gemini sends one where a stream is asked for without alt=sse.
    if start[:1] in (b"{", b"["):
        return BodyKind.JSON
    if _FIELD.match(start):
        return BodyKind.EVENTS
    return None if any(name.startswith(start) for name in _FIELDS) else BodyKind.OTHER


async def read_whole(
    response: UpstreamResponse, exchange: AnyExchange, limit: int
) -> ChatResponse | EmbeddingsResponse:
    """A whole answer of at most ``limit`` bytes. Raises UpstreamError.

    Events in the place of an answer say the same in pieces, and are folded into one. A codec that asked for a stream
    by itself, where a provider wants that for long answers, folds it in its own ``answer``.
    """
    body = await read_all(response, limit)
    kind = body_kind(body)
    streams = isinstance(exchange.request, UpstreamRequest) and exchange.request.stream
    if kind is BodyKind.EVENTS and not streams and (decode := getattr(exchange, "decoder", None)) is not None:
        decoder: StreamDecoder = decode()
        return fold_events([*decoder.feed(body), *decoder.close()])
    if kind is not BodyKind.JSON and not streams:
        raise upstream_failure("bad_payload" if media_type(response) == "application/json" else "bad_content_type")
    return exchange.answer(body)


async def read_first_content(
    response: UpstreamResponse,
    exchange: ChatExchange,
    limit: int,
    note_progress: Callable[[], None] = lambda: None,
    *,
    json_lines: bool = False,
) -> CommittedStream:
    """A stream up to its first content; until then nothing is the caller's, so all events are held (contract 3a).

    A whole JSON answer in the place of a stream becomes the chunks it stands for. ``json_lines`` says that this
    provider's streams are lines of JSON: only the label tells those from a whole answer. Raises UpstreamError: also
    for more than ``limit`` bytes before any content (F26). ``note_progress`` is called while the provider is at work
    without showing anything.
    """
    start = b""
    while (kind := body_kind(start)) is None:
        piece = await response.read()
        if not piece:
            break
        start += piece
        if len(start) > limit:
            raise upstream_failure("too_large")
    label = media_type(response)
    if kind is BodyKind.JSON and (not json_lines or label == "application/json"):
        body = await read_all(response, limit, start)
        try:
            answer = exchange.answer(body)
        except UpstreamError as error:
            if not json_lines or error.code != "bad_payload" or b"\n" not in body.strip():
                raise
            start = body  # lines under the label of a whole answer
        else:
            response.close()
            return CommittedStream(response, None, [*unfold_response(answer), End(answer.usage)])
    elif kind is BodyKind.OTHER and (label not in _STREAMS or start.lstrip(_BLANK).startswith(b"<")):
        raise upstream_failure("bad_payload" if label == "application/json" else "bad_content_type")
    elif kind is None and label == "application/json":
        raise upstream_failure("bad_payload")
    decoder = exchange.decoder()
    return CommittedStream(response, decoder, await _read_head(response, decoder, start, limit, note_progress))


async def read_all(response: UpstreamResponse, limit: int, start: bytes = b"") -> bytes:
    """The whole body, ``start`` included. Raises UpstreamError: cut, or larger than ``limit`` bytes (F26)."""
    # A short answer often arrives together with its head. Then nothing has to be awaited.
    whole = None if start else response.whole_body()
    if whole is not None:
        if len(whole) > limit:
            raise upstream_failure("too_large")
        return whole
    pieces, size = [start], len(start)
    while piece := await response.read():
        size += len(piece)
        # Checked while reading, because a body without a stated length may have no end.
        if size > limit:
            raise upstream_failure("too_large")
        pieces.append(piece)
    return pieces[1] if len(pieces) == 2 and not start else b"".join(pieces)


async def _read_head(
    response: UpstreamResponse, decoder: StreamDecoder, data: bytes, limit: int, note_progress: Callable[[], None]
) -> list[StreamEvent]:
    """The events up to the first content.

    Every event of a block that has begun restarts the first-event time; pings and comments do not.
    """
    head: list[StreamEvent] = []
    size, progress = len(data), 0
    while True:
        events = decoder.feed(data) if data else (decoder.close() or [upstream_failure("upstream_truncated")])
        head += events
        # The rest of the batch stays in the list: what came in the same piece is not decoded twice.
        if _has_content(events):
            return head
        if decoder.progress > progress:  # it is at work, though nothing of it is shown: pings and comments do not count
            progress = decoder.progress
            note_progress()
        data = await response.read()
        size += len(data)
        if size > limit:
            raise upstream_failure("too_large")


def _has_content(events: list[StreamEvent]) -> bool:
    """Whether the answer has begun with these events; raises the failure that came before it (F8, F9, F21, F22)."""
    for event in events:
        if isinstance(event, UpstreamError):
            raise event
        if isinstance(event, End):
            raise upstream_failure("bad_payload", "The provider's stream ended without any content.")
        if event.commits:
            return True
    return False


def media_type(response: UpstreamResponse) -> str:
    """The content type without its parameters, in lower case."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()
