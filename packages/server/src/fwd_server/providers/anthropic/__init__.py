"""Claude's own language, the Messages API. https://platform.claude.com/docs/en/api/messages

traits     what each model takes
request    a chat completion as a call; parts, turns, tools and schema are what it is made of
answer     a whole message as a chat completion
stream     the same in pieces
failure    errors
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from attrs import evolve, frozen

from fwd_server.providers import json_stream, lenient, request_headers
from fwd_server.providers.anthropic import answer, failure, request
from fwd_server.providers.anthropic.answer import Memory
from fwd_server.providers.anthropic.stream import Reader
from fwd_server.providers.anthropic.tools import STRICT
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
        new = request.translate(call, deployment.model)
        asked_tier = call.body.get("service_tier") is not None
        memory = Memory(deployment, now, new_id, new.names, new.json_only, asked_tier)
        return AnthropicExchange(new.body, new.lost(), memory)


@frozen
class AnthropicExchange:
    """One attempt at ``/messages``."""

    body: Json
    dropped: tuple[str, ...]
    _memory: Memory
    _amended: bool = False

    @property
    def request(self) -> UpstreamRequest:
        """The call as Claude takes it."""
        endpoint = self._memory.deployment.endpoint
        samples = any(name in self.body for name in request.SAMPLING)
        headers: tuple[Header, ...] = (
            *request_headers.key_header(endpoint),
            ("anthropic-version", SAMPLING_VERSION if samples else VERSION),
            ("content-type", "application/json"),
            *endpoint.headers,
        )
        return UpstreamRequest("/messages", headers, jsontext.dumps(self.body), stream=self._streams)

    def answer(self, body: bytes) -> ChatResponse:
        """Read a whole answer, which may have been asked for as a stream. Raises UpstreamError."""
        if self._streams and body.lstrip().startswith(_STREAM_BEGINS):
            return answer.completion(answer.fold(_events(body)), self._memory)
        return answer.completion(lenient.obj(lenient.load(body)), self._memory)

    def decoder(self) -> json_stream.JsonStream:
        """A decoder for the streamed answer."""
        return json_stream.JsonStream(json_stream.EventData(), Reader(self._memory))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | AmendedRequest:
        """Read a failure. What the API takes without, it is asked once more without."""
        memory = self._memory
        error = failure.read(status, headers, failure.said(body), memory.deployment.endpoint, memory.now)
        amended = None if self._amended or status != 400 else self._amend(error.message)
        return error if amended is None else AmendedRequest(amended, error)

    @property
    def _streams(self) -> bool:
        return self.body.get("stream") is True

    def _amend(self, message: str) -> AnthropicExchange | None:
        for words, change, dropped in _AMENDS:
            if words.search(message):
                body = change(self.body)
                if body != self.body:
                    return evolve(self, body=body, dropped=(*self.dropped, dropped), amended=True)
        return None


def _events(body: bytes) -> list[bytes]:
    framing = json_stream.EventData()
    try:
        return [*framing.feed(body), *framing.close()]
    except LineTooLong:
        raise upstream_failure("too_large") from None


# -- a call that the API refuses for something it can be asked without


def _without_strict(body: Json) -> Json:
    tools = [_without(tool, "strict") for tool in lenient.objects(body.get("tools"))]
    return {**body, "tools": tools} if tools else body


def _without_thoughts(body: Json) -> Json:
    """Without earlier thinking, which is bound to the model and the conversation it came from."""
    messages = [_thoughtless(turn) for turn in body["messages"]]
    stripped = {**body, "messages": messages}
    return _without_thinking(stripped) if request.lacks_thinking(messages) else stripped


def _thoughtless(turn: Json) -> Json:
    if isinstance(turn["content"], str):
        return turn
    kept = [block for block in turn["content"] if block["type"] not in ("thinking", "redacted_thinking")]
    return {**turn, "content": kept}


def _without_thinking(body: Json) -> Json:
    if lenient.obj(body.get("thinking")).get("type") != "enabled":
        return body
    return _without(body, "thinking")


def _without(item: Json, name: str) -> Json:
    return {key: value for key, value in item.items() if key != name}


_AMENDS: Final[tuple[tuple[re.Pattern[str], Callable[[Json], Json], str], ...]] = (
    (
        re.compile("too many strict tools|too many optional parameters|compiled grammar is too large", re.IGNORECASE),
        _without_strict,
        STRICT,
    ),
    (
        re.compile("invalid `?signature`? in `?thinking`? block|bound to a different conversation", re.IGNORECASE),
        _without_thoughts,
        "reasoning_details",
    ),
    (re.compile("expected `?thinking`?.* but found", re.IGNORECASE), _without_thinking, "reasoning_effort"),
)
