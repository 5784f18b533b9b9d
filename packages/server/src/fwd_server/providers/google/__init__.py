"""Google's own language for Gemini: ``generateContent`` and ``streamGenerateContent``.

The way there is ``request`` (with ``turns``, ``parts`` and ``schema``), the way back ``answer``; here is what goes
out, and what failed.
https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

import orjson
from attrs import evolve, frozen

from fwd_server.chat import ChatRequest, ChatResponse, Json
from fwd_server.errors import UpstreamError, broken, from_status
from fwd_server.providers import native
from fwd_server.providers.base import Amend, Header, NewId, UpstreamRequest, merge
from fwd_server.providers.google.answer import Context, Frames, Reader
from fwd_server.providers.google.request import build
from fwd_server.providers.google.traits import PROVIDER
from fwd_server.redact import clean
from fwd_server.routing import Deployment

_TOO_LONG: Final = re.compile(r"input token count.{0,40} exceeds", re.IGNORECASE)
_BAD_SIGNATURE: Final = re.compile(r"corrupted thought.?signature", re.IGNORECASE)
_NO_LOGPROBS: Final = re.compile(r"logprobs", re.IGNORECASE)

# Errors inside an answer that give no number. https://cloud.google.com/apis/design/errors#handling_errors
_BY_WORD: Final = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class GoogleChat:
    """Chat completions by Gemini's ``generateContent``."""

    def open(self, request: ChatRequest, deployment: Deployment, now: int, new_id: NewId) -> GoogleExchange:
        """Translate a call. Raises Refused for what Gemini, or this model, has no word for."""
        return GoogleExchange.of(request, deployment, now, new_id)


@frozen
class GoogleExchange:
    """One attempt at one model. The key goes into a header and never into the URL (contract S13)."""

    body: Json
    dropped: tuple[str, ...]
    _call: ChatRequest
    _deployment: Deployment
    _context: Context
    _signatures: bool = True

    @classmethod
    def of(
        cls, call: ChatRequest, deployment: Deployment, now: int, new_id: NewId, *, signatures: bool = True
    ) -> GoogleExchange:
        """The exchange for a call; without ``signatures`` those of its history are replaced."""
        built = build(call.body, deployment.model, signatures=signatures)
        context = Context(deployment.model, now, new_id, built.names, lambda error: _failure(error, deployment))
        return cls(merge(built.body, call.extra_body), built.lost, call, deployment, context, signatures)

    @property
    def request(self) -> UpstreamRequest:
        """The call as Gemini takes it."""
        headers: list[Header] = [("content-type", "application/json"), *self._deployment.endpoint.headers]
        if self._deployment.endpoint.key:
            headers.append(("x-goog-api-key", self._deployment.endpoint.key))
        stream = self._call.stream
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        name = quote(self._deployment.model.removeprefix("models/"), safe="")
        return UpstreamRequest(f"/models/{name}:{method}", tuple(headers), orjson.dumps(self.body), stream=stream)

    def answer(self, body: bytes) -> ChatResponse:
        """Read a whole answer. Raises UpstreamError."""
        said = native.load(body)
        if not isinstance(said, dict):
            raise broken("bad_payload")
        return Reader(self._context).whole(said)

    def decoder(self) -> native.JsonStream:
        """A decoder for the frames of a streamed answer."""
        return native.JsonStream(Frames(), Reader(self._context))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | Amend:
        """Read a failure. Two kinds are worth one more try: a signature from elsewhere, and unknown logprobs."""
        error = _failure({**_error_object(body), "code": status}, self._deployment)
        if status != 400:
            return error
        if self._signatures and _BAD_SIGNATURE.search(error.message):
            context = self._context
            replaced = GoogleExchange.of(self._call, self._deployment, context.now, context.new_id, signatures=False)
            return Amend(replaced, error)
        if "responseLogprobs" in self._config and _NO_LOGPROBS.search(error.message):
            return Amend(self._without_logprobs(), error)
        return error

    @property
    def _config(self) -> Json:
        return native.obj(self.body.get("generationConfig"))

    def _without_logprobs(self) -> GoogleExchange:
        config = {name: value for name, value in self._config.items() if name not in ("responseLogprobs", "logprobs")}
        lost = tuple(name for name in ("logprobs", "top_logprobs") if self._call.body.get(name) is not None)
        return evolve(self, body={**self.body, "generationConfig": config}, dropped=(*self.dropped, *lost))


# -- failures


def _error_object(body: bytes) -> Json:
    """The ``error`` of a body; some come in an array of one."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return native.obj(native.obj(said[0] if isinstance(said, list) and said else said).get("error"))


def _failure(error: Json, deployment: Deployment) -> UpstreamError:
    """Read an ``error`` object. https://ai.google.dev/gemini-api/docs/troubleshooting"""
    details = native.objects(error.get("details"))
    refused_key = any(detail.get("reason") == "API_KEY_INVALID" for detail in details)
    failure = from_status(
        401 if refused_key else _status(error),
        clean(native.text(error.get("message")), deployment.endpoint.key),
        provider=PROVIDER,
        key_name=deployment.endpoint.key_name,
        retry_after_s=next(_delays(details), None),
    )
    failure.upstream_status = _status(error)
    if failure.status == 400 and _TOO_LONG.search(failure.message):
        native.too_long(failure)
    return failure


def _status(error: Json) -> int:
    status = error.get("code")
    if not isinstance(status, int) or not 400 <= status <= 599:
        return _BY_WORD.get(native.text(error.get("status")), 500)
    return 500 if status == 499 else status  # 499 is the caller's own leaving, and this caller is still here


def _delays(details: list[Json]) -> Iterator[float]:
    """``RetryInfo.retryDelay``, as "34.2s"."""
    for detail in details:
        match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,9})?)s", native.text(detail.get("retryDelay")))
        if match:
            yield float(match[1])
