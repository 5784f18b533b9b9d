"""Google's own language for Gemini: ``generateContent`` and ``streamGenerateContent``.

The way there is ``request`` (with ``turns``, ``parts`` and ``schema``), the way back ``answer`` and ``failure``.
https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from attrs import evolve, frozen

from fwd_server.providers import json_stream, lenient
from fwd_server.providers.base import AmendedRequest, NewId, UpstreamRequest, merge_body
from fwd_server.providers.error_words import read_error_body
from fwd_server.providers.google.answer import AnswerReader, FrameSplitter, ReadContext
from fwd_server.providers.google.failure import error_object, read_failure
from fwd_server.providers.google.request import build_request, upstream_request
from fwd_server.values.chat import ChatRequest, ChatResponse, Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.wire.redact import redact_text

_BAD_SIGNATURE: Final = re.compile(r"(?:corrupted|invalid) thought.?signature", re.IGNORECASE)
_NO_LOGPROBS: Final = re.compile(r"logprobs", re.IGNORECASE)


class GoogleChat:
    """Chat completions by Gemini's ``generateContent``."""

    def open(self, request: ChatRequest, deployment: Deployment, now: int, new_id: NewId) -> GoogleExchange:
        """Translate a call. Raises Refused for what Gemini, or this model, has no word for."""
        return GoogleExchange.create(request, deployment, now, new_id)


@frozen
class GoogleExchange:
    """One attempt at one model. The key goes into a header and never into the URL (contract S13)."""

    body: Json
    dropped: tuple[str, ...]
    _call: ChatRequest
    _deployment: Deployment
    _context: ReadContext
    _signatures: bool = True

    @classmethod
    def create(
        cls, call: ChatRequest, deployment: Deployment, now: int, new_id: NewId, *, signatures: bool = True
    ) -> GoogleExchange:
        """The exchange for a call; without ``signatures`` those of its history are replaced."""
        built = build_request(call.body, deployment.model, signatures=signatures)
        context = ReadContext(
            deployment.model,
            now,
            new_id,
            built.names,
            lambda value: read_failure(error_object(value), deployment),
            lambda words: redact_text(words, deployment.endpoint.key),
        )
        return cls(merge_body(built.body, call.extra_body), built.lost, call, deployment, context, signatures)

    @cached_property
    def request(self) -> UpstreamRequest:
        """The call as Gemini takes it."""
        stream = self._call.stream
        # Without alt=sse the stream is one JSON array, which is whole only at its end.
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return upstream_request(self._deployment, method, self.body, stream=stream)

    def answer(self, body: bytes) -> ChatResponse:
        """Read a whole answer. Raises UpstreamError."""
        # Halves of characters are joined later, across parts: a text may be cut between two of them.
        response = lenient.load(body, keep_halves=True)
        if not isinstance(response, dict):
            raise upstream_failure("bad_payload")
        return AnswerReader(self._context).read_whole(response)

    def decoder(self) -> json_stream.JsonStream:
        """A decoder for the frames of a streamed answer."""
        return json_stream.JsonStream(FrameSplitter(), AnswerReader(self._context))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | AmendedRequest:
        """Read a failure. Two kinds are worth one more try: a signature from elsewhere, and unknown logprobs."""
        error = read_failure({**error_object(read_error_body(body)), "code": status}, self._deployment, headers)
        if status != 400:
            return error
        # A conversation that began at another provider, or at another model, has signatures that this one cannot read.
        if self._signatures and _BAD_SIGNATURE.search(error.message):
            context = self._context
            replaced = GoogleExchange.create(
                self._call, self._deployment, context.now, context.new_id, signatures=False
            )
            return AmendedRequest(replaced, error)
        if "responseLogprobs" in self._config and _NO_LOGPROBS.search(error.message):
            return AmendedRequest(self._without_logprobs(), error)
        return error

    @property
    def _config(self) -> Json:
        return lenient.obj(self.body.get("generationConfig"))

    def _without_logprobs(self) -> GoogleExchange:
        config = {name: value for name, value in self._config.items() if name not in ("responseLogprobs", "logprobs")}
        lost = tuple(name for name in ("logprobs", "top_logprobs") if self._call.body.get(name) is not None)
        return evolve(self, body={**self.body, "generationConfig": config}, dropped=(*self.dropped, *lost))
