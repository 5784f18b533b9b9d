"""Claude's message as a chat completion. https://platform.claude.com/docs/en/api/messages"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from attrs import define, field

from fwd_server.providers import answer_shape, lenient
from fwd_server.providers.anthropic.blocks import BlockReader
from fwd_server.providers.anthropic.context import AnswerContext
from fwd_server.providers.anthropic.usage import latest_fields, read_usage
from fwd_server.values.chat import ChatResponse, Json
from fwd_server.values.errors import upstream_failure
from fwd_server.values.usage import Usage
from fwd_server.wire import jsontext

_FINISH: Final = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


@define
class MessageReader:
    """One message as deltas, from the events of a stream; a whole message is read as all of them at once."""

    context: AnswerContext
    head: Json | None = None
    counts: Json = field(factory=dict)
    is_over: bool = False
    _stop: Json = field(factory=dict)
    _blocks: BlockReader = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._blocks = BlockReader(self.context)

    @property
    def usage(self) -> Usage | None:
        """The tokens counted so far; None before the first count."""
        return read_usage(self.counts) if self.counts else None

    @property
    def finish_reason(self) -> str:
        """OpenAI's word for the reason; with tool calls it is never simply "stop"."""
        reason = _FINISH.get(lenient.text(self._stop.get("stop_reason")), "stop")
        return "tool_calls" if self._blocks.calls and reason == "stop" else reason

    def read_event(self, event: Json) -> Iterator[Json]:
        """The deltas of one event; pings and unknown events give none.

        Raises UpstreamError (``bad_payload``) for an event that belongs to a message before one began.
        """
        read = _EVENTS.get(lenient.text(event.get("type")))
        if read is None:
            return
        if self.head is None and event["type"] != "message_start":
            raise upstream_failure("bad_payload")
        yield from read(self, event)

    def read_whole(self, message: Json) -> Iterator[Json]:
        """The deltas of a whole message."""
        yield from self._begin_message({"message": message})
        yield from self._blocks.read_whole(message["content"])
        yield from self._change_message({"delta": message})
        yield from self._end_message({})

    def _begin_message(self, event: Json) -> Iterator[Json]:
        message = lenient.obj(event.get("message"))
        # A second beginning must not change id and model: clients expect the same ones in all chunks.
        if self.head is None:
            self.head = self.context.head(message)
        self.counts = latest_fields(self.counts, message.get("usage"))
        yield from ()

    def _start_block(self, event: Json) -> Iterator[Json]:
        return self._blocks.start_block(_block_number(event), lenient.obj(event.get("content_block")))

    def _add_to_block(self, event: Json) -> Iterator[Json]:
        return self._blocks.add_delta(_block_number(event), lenient.obj(event.get("delta")))

    def _stop_block(self, event: Json) -> Iterator[Json]:
        return self._blocks.stop_block(_block_number(event))

    def _change_message(self, event: Json) -> Iterator[Json]:
        self._stop = latest_fields(self._stop, event.get("delta"))
        self.counts = latest_fields(self.counts, event.get("usage"))
        yield from ()

    def _end_message(self, event: Json) -> Iterator[Json]:
        # Only message_stop ends a message: a stream without it was cut (contract F22).
        self.is_over = True
        yield from self._blocks.close_message()
        declined = _refusal_text(self._stop)
        if declined:
            yield {"refusal": declined}


_EVENTS: Final[dict[str, Callable[[MessageReader, Json], Iterator[Json]]]] = {
    "message_start": MessageReader._begin_message,
    "content_block_start": MessageReader._start_block,
    "content_block_delta": MessageReader._add_to_block,
    "content_block_stop": MessageReader._stop_block,
    "message_delta": MessageReader._change_message,
    "message_stop": MessageReader._end_message,
}


def _block_number(event: Json) -> int | None:
    """Which block an event is about; None where it does not say."""
    number = event.get("index")
    return number if isinstance(number, int) else None


def _refusal_text(stop: Json) -> str:
    """Why the provider declined, in its own words if it has some; "" when it did not decline."""
    if stop.get("stop_reason") != "refusal":
        return ""
    details = lenient.obj(stop.get("stop_details"))
    category = lenient.text(details.get("category"))
    ours = f"The provider declined to continue{f' ({category})' if category else ''}."
    return lenient.text(details.get("explanation")) or ours


def is_error(event: Json) -> bool:
    """Whether an event, or a whole answer, reports a failure: by its type, or because it has an ``error``.

    The documented form is ``{"type": "error", "error": {...}}``; proxies in front of the API also send the inner
    object alone, or one without a type.
    """
    kind = lenient.text(event.get("type"))
    return kind == "error" or kind.endswith("_error") or bool(event.get("error"))


def read_message(message: Json, context: AnswerContext) -> ChatResponse:
    """A whole answer. Raises UpstreamError: an error inside a 200 (F21), or no message at all (F20)."""
    if is_error(message):
        raise context.failure(message)
    # A page of a proxy, or another API's answer, may be JSON too; a message always has a list of blocks.
    if not isinstance(message.get("content"), list):
        raise upstream_failure("bad_payload")
    reader = MessageReader(context)
    return _build_completion(reader, reader.read_whole(message))


def fold_events(events: Iterable[Json], context: AnswerContext) -> ChatResponse:
    """A whole answer that was asked for as a stream, because it may be long. Raises UpstreamError unless it ends."""
    reader = MessageReader(context)
    return _build_completion(reader, _until_end(events, reader))


def _until_end(events: Iterable[Json], reader: MessageReader) -> Iterator[Json]:
    for event in events:
        if is_error(event):
            raise reader.context.failure(jsontext.replace_halves(event))
        yield from reader.read_event(event)
        if reader.is_over:
            return
    raise upstream_failure("upstream_truncated")


def _build_completion(reader: MessageReader, deltas: Iterator[Json]) -> ChatResponse:
    message = answer_shape.merge_deltas(deltas)
    usage = reader.usage
    written = None if usage is None else answer_shape.usage_object(usage)
    choice = answer_shape.choice_object(0, message, reader.finish_reason)
    data = answer_shape.completion_object(reader.head or {}, [choice], written)
    return ChatResponse({**data, **reader.context.tier_field(reader.counts)}, usage)
