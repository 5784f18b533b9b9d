"""Ollama's own language: ``/api/chat``, answers in one object or in lines of JSON.

The way there is ``request`` (with ``messages``), the way back ``answer`` and ``failure``.
https://github.com/ollama/ollama/blob/main/docs/api.md#generate-a-chat-completion
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from attrs import evolve, frozen

from fwd_server.providers import json_stream, lenient
from fwd_server.providers.base import AmendedRequest, NewId, UpstreamRequest, merge_body
from fwd_server.providers.error_words import read_error_body
from fwd_server.providers.ollama.answer import AnswerReader
from fwd_server.providers.ollama.failure import is_failure, read_failure
from fwd_server.providers.ollama.request import build_chat, left_out, upstream_request
from fwd_server.values.chat import ChatRequest, ChatResponse, Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.wire.backoff import parse_retry_after
from fwd_server.wire.sse import LineDecoder


class OllamaChat:
    """Chat completions by ``/api/chat``."""

    def open(self, request: ChatRequest, deployment: Deployment, now: int, new_id: NewId) -> OllamaExchange:
        """Translate a call. Raises Refused for what Ollama has no word for."""
        body = merge_body(build_chat(request.body, deployment.model), request.extra_body)
        return OllamaExchange(body, left_out(request.body), request, deployment, now, new_id)


@frozen
class OllamaExchange:
    """One attempt at ``/api/chat``."""

    body: Json
    dropped: tuple[str, ...]
    _call: ChatRequest
    _deployment: Deployment
    _now: int
    _new_id: NewId

    @cached_property
    def request(self) -> UpstreamRequest:
        """The call as Ollama takes it."""
        stream = self.body["stream"] is True
        return upstream_request("/api/chat", self._deployment, self.body, stream=stream)

    def answer(self, body: bytes) -> ChatResponse:
        """Read a whole answer. Raises UpstreamError."""
        response = lenient.obj(lenient.load(body))
        if is_failure(response):
            raise self._failure(response)
        if not isinstance(response.get("message"), dict):
            raise upstream_failure("bad_payload")
        return AnswerReader(self._failure, self._now, self._new_id).read_whole(response)

    def decoder(self) -> json_stream.JsonStream:
        """A decoder for the lines of a streamed answer."""
        return json_stream.JsonStream(LineDecoder(), AnswerReader(self._failure, self._now, self._new_id))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | AmendedRequest:
        """Read a failure. A model that cannot think is asked again once, without ``think``."""
        value = read_error_body(body)
        error = read_failure(self._deployment.endpoint, status, value, parse_retry_after(headers))
        if status == 400 and "think" in self.body and "does not support thinking" in error.message:
            return AmendedRequest(self._without_thinking(), error)
        return error

    def _without_thinking(self) -> OllamaExchange:
        body = {name: value for name, value in self.body.items() if name != "think"}
        # Reported under the name that the caller used: it may have come in Ollama's own object.
        field = "ollama" if self._call.body.get("reasoning_effort") is None else "reasoning_effort"
        return evolve(self, body=body, dropped=(*self.dropped, field))

    def _failure(self, response: object) -> UpstreamError:
        return read_failure(self._deployment.endpoint, None, response)
