"""Bytes of a stream to chunks, and chunks to a whole answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

from attrs import define, evolve, field

from fwd_client import _decode
from fwd_client._errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APITimeoutError,
    StreamInterruptedError,
)
from fwd_client._events import StreamEvent, chunk_events
from fwd_client._operations import Reply
from fwd_client._receipt import Receipt, Receipted, Usage
from fwd_client._sse import Comment, Decoder
from fwd_client._values import (
    Chat,
    Choice,
    Chunk,
    ChunkChoice,
    FunctionCall,
    FunctionDelta,
    Message,
    ToolCall,
    ToolCallDelta,
    clip_text,
)

E = TypeVar("E", bound=APIError)
_DONE: Final = b"[DONE]"


@define
class Reader:
    """Turns the bytes of a stream into chunks, knows whether it is done, and keeps its receipt."""

    receipt: Receipt
    done: bool = False
    _decoder: Decoder = field(factory=Decoder, init=False)

    @classmethod
    def of(cls, reply: Reply) -> Reader:
        """A reader that starts with the headers of the answer."""
        return cls(_decode.read_receipt(reply.status, reply.headers, reply.retries))

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """The chunks these bytes complete, one by one: those before an error are given before it is raised."""
        for item in self._decoder.feed(data):
            if self.done:
                return
            if isinstance(item, Comment):
                self.receipt = _decode.amend_receipt(self.receipt, item.text)
            elif item.data == _DONE:
                self.done = True
            else:
                yield self._read_chunk(item.data)

    def close(self, cause: APIConnectionError | None = None) -> None:
        """To be called where the bytes end, with what ended them: an error unless `[DONE]` was seen before."""
        if self.done:
            return
        error: APIConnectionError
        if isinstance(cause, APITimeoutError):
            error = APITimeoutError(f"{cause.message} The stream had begun.", code="stream_timeout")
        else:
            # Without [DONE] an answer that looks whole may be cut: nobody should store it.
            reason = f": {cause.message}" if cause else "."
            error = StreamInterruptedError(f"The stream ended without [DONE]{reason}", code="stream_interrupted")
        raise self._name_call(error) from cause

    def _read_chunk(self, text: bytes) -> Chunk:
        try:
            chunk = self._read_event(_decode.parse_json(text))
        except APIResponseError as error:
            self._name_call(error)
            raise
        if chunk.usage is not None:
            # The provider's own count comes in a chunk, before the receipt.
            self.receipt = evolve(self.receipt, usage=chunk.usage)
        return chunk

    def _read_event(self, data: Any) -> Chunk:
        # The status was 200 by then, so a failure comes as an event.
        if isinstance(data, dict) and data.get("error"):
            raise _decode.error_of(data, self.receipt)
        return _decode.read_value(Chunk, data)

    def _name_call(self, error: E) -> E:
        error.request_id = self.receipt.request_id
        error.provider = self.receipt.provider
        error.attempts = self.receipt.attempts
        return error


@define
class _CallDraft:
    """A tool call while it grows."""

    id: str = ""
    type: str = "function"
    name: list[str] = field(factory=list)
    arguments: list[str] = field(factory=list)
    extra: dict[str, Any] = field(factory=dict)

    def add(self, delta: ToolCallDelta) -> None:
        function = delta.function or FunctionDelta()
        self.id = delta.id or self.id
        self.type = delta.type or self.type
        # Pieces are joined once, at the end: adding to one text is quadratic for long arguments.
        self.name.append(function.name or "")
        self.arguments.append(function.arguments or "")
        self.extra |= delta.extra

    def value(self) -> ToolCall:
        function = FunctionCall("".join(self.name), "".join(self.arguments))
        return ToolCall(self.id, self.type, function, extra=dict(self.extra))


@define
class _ChoiceDraft:
    """A choice while it grows: pieces are kept apart and joined once."""

    index: int
    role: str = "assistant"
    content: list[str] | None = None
    refusal: list[str] | None = None
    reasoning: list[str] | None = None
    calls: dict[int, _CallDraft] = field(factory=dict)
    logprobs: Any = None
    finish_reason: str | None = None
    extra: dict[str, Any] = field(factory=dict)

    def add(self, choice: ChunkChoice) -> None:
        delta = choice.delta
        self.role = delta.role or self.role
        self.content = _append_piece(self.content, delta.content)
        self.refusal = _append_piece(self.refusal, delta.refusal)
        self.reasoning = _append_piece(self.reasoning, delta.reasoning_content)
        self.finish_reason = choice.finish_reason or self.finish_reason
        # Each chunk has the probabilities of its own tokens only.
        self.logprobs = merge_fields(self.logprobs, choice.logprobs)
        self.extra = merge_fields(self.extra, dict(delta.extra))
        for call in delta.tool_calls or ():
            # Calls may come interleaved; the index says whose piece it is.
            self.calls.setdefault(call.index, _CallDraft()).add(call)

    def value(self) -> Choice:
        message = Message(
            role=self.role,
            content=_join_pieces(self.content),
            refusal=_join_pieces(self.refusal),
            reasoning_content=_join_pieces(self.reasoning),
            tool_calls=tuple(self.calls[index].value() for index in sorted(self.calls)) or None,
            extra=dict(self.extra),
        )
        return Choice(self.index, message, self.finish_reason, self.logprobs)


@define
class Folder:
    """Adds up chunks; `chat()` is the answer so far."""

    _first: Chunk | None = field(default=None, init=False)
    _choices: dict[int, _ChoiceDraft] = field(factory=dict, init=False)
    _usage: Usage | None = field(default=None, init=False)

    def add(self, chunk: Chunk) -> list[StreamEvent]:
        """Take one chunk in; the events are what it changed."""
        self._first = self._first or chunk
        self._usage = chunk.usage or self._usage
        return [event for choice in chunk.choices for event in self._add_choice(choice)]

    def _add_choice(self, choice: ChunkChoice) -> list[StreamEvent]:
        draft = self._choices.setdefault(choice.index, _ChoiceDraft(choice.index))
        draft.add(choice)
        return chunk_events(choice, draft.value) if choice.finish_reason else chunk_events(choice)

    def chat(self, receipt: Receipt) -> Chat:
        """The answer so far, with a receipt."""
        first = self._first or Chunk()
        return Chat(
            id=first.id,
            created=first.created,
            model=first.model,
            choices=tuple(self._choices[index].value() for index in sorted(self._choices)),
            usage=self._usage or receipt.usage,
            service_tier=first.service_tier,
            system_fingerprint=first.system_fingerprint,
            receipt=receipt,
            extra=first.extra,
        )


class StreamFacts(Receipted):
    """What both kinds of stream know in addition to their chunks; it grows while they are read."""

    def __init__(self, reply: Reply) -> None:
        self._reader = Reader.of(reply)
        self._folder = Folder()
        self._happened: list[StreamEvent] = []

    def _take_chunk(self, chunk: Chunk) -> Chunk:
        self._happened = self._folder.add(chunk)
        return chunk

    @property
    def receipt(self) -> Receipt:
        """The receipt of the call; complete when the stream is."""
        return self._reader.receipt

    @property
    def snapshot(self) -> Chat:
        """The answer so far."""
        return self._folder.chat(self.receipt)

    def _whole_answer(self) -> Chat:
        """The answer, which must be complete: a stream that was closed before its end has none."""
        # Raises for a stream that was left early: half an answer is no answer.
        self._reader.close()
        return self.snapshot

    @property
    def usage(self) -> Usage | None:
        """The tokens, known at the end."""
        return self.snapshot.usage

    @property
    def is_done(self) -> bool:
        """Whether the gateway marked the answer as complete."""
        return self._reader.done

    def __repr__(self) -> str:
        state = "done" if self.is_done else "open"
        return f"{type(self).__name__}({state}, text={clip_text(self.snapshot.text)!r}, request_id={self.request_id!r})"


def _append_piece(pieces: list[str] | None, piece: str | None) -> list[str] | None:
    if piece is None:
        return pieces
    pieces = [] if pieces is None else pieces
    pieces.append(piece)
    return pieces


def _join_pieces(pieces: list[str] | None) -> str | None:
    return None if pieces is None else "".join(pieces)


def merge_fields(known: Any, new: Any) -> Any:
    """Unknown fields of many deltas as one: lists and texts grow, objects merge, the rest is replaced."""
    if new is None or known is None:
        return new if known is None else known
    if isinstance(known, dict) and isinstance(new, dict):
        return {**known, **{name: merge_fields(known.get(name), value) for name, value in new.items()}}
    if isinstance(known, list) and isinstance(new, list):
        return known + new
    return new
