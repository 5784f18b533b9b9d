"""Calls that came in Claude's own language: the caller's bytes go there, and Claude's bytes come back.

Three edits are made, and only where they are needed: the model's name, capsules of other providers (and thinking
without any signature), which Claude refuses, and all thinking when the conversation comes from another model.
https://platform.claude.com/docs/en/build-with-claude/extended-thinking
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from attrs import evolve, frozen

from fwd_server.providers import lenient, request_headers
from fwd_server.providers.anthropic import failure
from fwd_server.providers.anthropic.answer import read_message
from fwd_server.providers.anthropic.context import AnswerContext
from fwd_server.providers.anthropic.native_stream import MessageRelay
from fwd_server.providers.anthropic.stream import StreamReader, shows_progress
from fwd_server.providers.anthropic.tools import names_of
from fwd_server.providers.anthropic.usage import read_usage
from fwd_server.providers.base import AmendedRequest, Header, NewId, StreamDecoder, UpstreamRequest
from fwd_server.providers.json_stream import EventData, JsonStream
from fwd_server.values.chat import ChatResponse, Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import CALLERS_FAULT, MODELS_FAULT, UpstreamError
from fwd_server.values.foreign import ForeignRequest, NativeResponse
from fwd_server.wire import jsontext
from fwd_server.wire.capsule import is_capsule
from fwd_server.wire.redact import LONGEST

_OWN_NAMES: Final = names_of({})  # nothing is renamed
DEFAULT_VERSION: Final = "2023-06-01"
_VERSION: Final = "anthropic-version"
_FOREIGN_THINKING: Final = re.compile("invalid `?signature|bound to a different conversation", re.IGNORECASE)
_THINKING: Final = {"thinking": "signature", "redacted_thinking": "data"}


class NativeMessages:
    """``/messages`` for callers who speak it."""

    def open(
        self, request: ForeignRequest, deployment: Deployment, now: int, new_id: NewId, *, moved: bool
    ) -> NativeExchange:
        """Pass a call on."""
        context = AnswerContext(deployment, now, new_id, _OWN_NAMES)
        return NativeExchange(native_body(request, deployment.model, moved=moved), request, context)


def native_body(request: ForeignRequest, model: str, *, moved: bool = False) -> bytes:
    """The body to send: the caller's own bytes, or written anew where something had to be changed."""
    own = request.own
    edited = own if own["model"] == model else {**own, "model": model}
    messages = [_without_thinking(turn, all_of_it=moved) for turn in own["messages"]]
    if any(new is not old for new, old in zip(messages, own["messages"], strict=True)):
        # A turn that held nothing else is left out: an empty one is refused.
        edited = {**edited, "messages": [turn for turn in messages if turn.get("content") != []]}
    return (request.raw or b"") if edited is own else jsontext.dumps(edited)


@frozen
class NativeExchange:
    """One attempt at ``/messages`` with the caller's own body."""

    body: bytes
    _call: ForeignRequest
    _context: AnswerContext
    path: str = "/messages"
    dropped: tuple[str, ...] = ()

    @property
    def request(self) -> UpstreamRequest:
        """The call, with the caller's version and betas."""
        endpoint = self._context.deployment.endpoint
        passed = dict(self._call.headers)
        headers: tuple[Header, ...] = (
            *request_headers.key_header(endpoint),
            (_VERSION, passed.pop(_VERSION, DEFAULT_VERSION)),
            ("content-type", "application/json"),
            *passed.items(),
            *endpoint.headers,
        )
        thinks = self._call.own.get("thinking") is not None
        return UpstreamRequest(self.path, headers, self.body, stream=self._call.stream, thinks=thinks)

    def answer(self, body: bytes) -> ChatResponse:
        """A whole answer, passed on as it came. Raises UpstreamError if it is not an answer."""
        try:
            seen = _DECODER.decode(jsontext.skip_byte_order_mark(body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            seen = _Seen()
        usage = seen.usage if isinstance(seen.usage, dict) else {}
        if seen.type != "message" or not isinstance(seen.content, list):
            return self._translated(body)  # raises what is wrong with it
        return NativeResponse(None, read_usage(usage), body, self._read_data)

    def decoder(self) -> StreamDecoder:
        """A decoder for the streamed answer; a stream that nobody asked for is translated."""
        if self._call.stream:
            return MessageRelay(self._context)
        return JsonStream(EventData(), StreamReader(self._context), shows_progress)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | AmendedRequest:
        """Read a failure. A refusal of the call itself goes back unchanged: clients act on its words.

        Thinking that another model or another conversation signed leads to one more try without any.
        """
        context, answer = self._context, failure.load_error(body)
        error = failure.read_failure(status, headers, answer, context.deployment.endpoint, context.now)
        own_fault = error.kind in CALLERS_FAULT or error.kind in MODELS_FAULT
        # Not where something in it had to be hidden, or where it is no error of Claude's.
        if own_fault and error.message == failure.message_of(answer) and len(body) <= 2 * LONGEST:
            error.native = body if answer.get("type") == "error" else None
        if status == 400 and _FOREIGN_THINKING.search(error.message):
            without = native_body(self._call, context.deployment.model, moved=True)
            if without != self.body:
                return AmendedRequest(evolve(self, body=without), error)
        return error

    def _translated(self, body: bytes) -> ChatResponse:
        return read_message(lenient.obj(lenient.load(body)), self._context)

    def _read_data(self, body: bytes) -> Json:
        return self._translated(body).data


def _without_thinking(turn: Json, *, all_of_it: bool) -> Json:
    """A turn without the thinking that Claude cannot read; the very same one where all of it can stay."""
    content = turn.get("content")
    if turn.get("role") != "assistant" or not isinstance(content, list):
        return turn
    kept = [block for block in content if not _is_unreadable(block, all_of_it=all_of_it)]
    return turn if len(kept) == len(content) else {**turn, "content": kept}


def _is_unreadable(block: Any, *, all_of_it: bool) -> bool:
    place = _THINKING.get(str(block.get("type"))) if isinstance(block, dict) else None
    if place is None:
        return False
    signature = block.get(place)
    return all_of_it or not signature or is_capsule(signature)


class _Seen(msgspec.Struct):
    """The facts needed about an answer that is passed on as it came."""

    type: Any = None
    content: Any = None
    usage: Any = None


_DECODER: Final = msgspec.json.Decoder(_Seen)
