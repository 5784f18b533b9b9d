"""Claude's own language, the Messages API. https://platform.claude.com/docs/en/api/messages

traits     what each model takes
request    a chat completion as a call; parts, turns, tools and schema are what it is made of
blocks     what Claude says, block by block; thoughts are its thinking, there and back
answer     a message as a chat completion
stream     the same in pieces
failure    errors
amend      what to change about a call that was refused
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from attrs import evolve, frozen

from fwd_server.providers import json_stream, lenient, request_headers
from fwd_server.providers.anthropic import amend, answer, failure, request
from fwd_server.providers.anthropic.context import AnswerContext
from fwd_server.providers.anthropic.stream import StreamReader, shows_progress
from fwd_server.providers.anthropic.thinking import thinks
from fwd_server.providers.base import AmendedRequest, Header, NewId, UpstreamRequest
from fwd_server.values.chat import ChatRequest, ChatResponse, Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.wire import jsontext
from fwd_server.wire.sse import LineTooLong

# The newer version answers 400 to sampling parameters, even to their defaults: the older one is for calls that have
# some. https://platform.claude.com/docs/en/api/versioning
VERSION: Final = "2026-10-21"
SAMPLING_VERSION: Final = "2023-06-01"
_STREAM_BEGINS: Final = (b"event:", b"data:", b":")


class AnthropicChat:
    """Chat completions by ``/messages``."""

    def open(self, call: ChatRequest, deployment: Deployment, now: int, new_id: NewId) -> AnthropicExchange:
        """Translate a call. Raises Refused for what Claude cannot do."""
        new = request.translate_call(call, deployment.model)
        asked_tier = call.body.get("service_tier") is not None
        context = AnswerContext(deployment, now, new_id, new.names, new.json_only, asked_tier)
        return AnthropicExchange(new.body, request.lost_names(new), context, thinks(new.body, new.traits))


@frozen
class AnthropicExchange:
    """One attempt at ``/messages``."""

    body: Json
    dropped: tuple[str, ...]
    _context: AnswerContext
    _thinks: bool = False
    _is_amended: bool = False

    @property
    def request(self) -> UpstreamRequest:
        """The call as Claude takes it."""
        endpoint = self._context.deployment.endpoint
        samples = any(name in self.body for name in request.SAMPLING)
        headers: tuple[Header, ...] = (
            *request_headers.key_header(endpoint),
            ("anthropic-version", SAMPLING_VERSION if samples else VERSION),
            ("content-type", "application/json"),
            *endpoint.headers,
        )
        body = jsontext.dumps(self.body)
        return UpstreamRequest("/messages", headers, body, stream=self._is_stream, thinks=self._thinks)

    def answer(self, body: bytes) -> ChatResponse:
        """Read a whole answer. A long one was requested as a stream and is folded. Raises UpstreamError."""
        if self._is_stream and jsontext.skip_byte_order_mark(body).lstrip().startswith(_STREAM_BEGINS):
            return answer.fold_events(_events(body), self._context)
        return answer.read_message(lenient.obj(lenient.load(body)), self._context)

    def decoder(self) -> json_stream.JsonStream:
        """A decoder for the streamed answer."""
        reader = StreamReader(self._context)
        return json_stream.JsonStream(json_stream.EventData(), reader, shows_progress)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | AmendedRequest:
        """Read a failure. A 400 about something optional leads to one more try without it."""
        context, answer = self._context, failure.load_error(body)
        error = failure.read_failure(status, headers, answer, context.deployment.endpoint, context.now)
        amended = self._amend(failure.message_of(answer)) if status == 400 else None
        return error if amended is None else AmendedRequest(amended, error)

    @property
    def _is_stream(self) -> bool:
        return self.body.get("stream") is True

    def _amend(self, message: str) -> AnthropicExchange | None:
        """The changed call for one more try after a 400; None where no change is known to help."""
        changed = None if self._is_amended else amend.amend_call(self.body, message)
        if changed is None:
            return None
        return evolve(self, body=changed.body, dropped=(*self.dropped, *changed.dropped), is_amended=True)


def _events(body: bytes) -> Iterator[Json]:
    framing = json_stream.EventData()
    try:
        texts = [*framing.feed(body), *framing.close()]
    except LineTooLong:
        raise upstream_failure("too_large") from None
    return (lenient.obj(lenient.load(text, keep_halves=True)) for text in texts if text.strip())
