"""Embeddings of OpenAI-compatible providers: the caller's own object, and whichever form of vector comes back.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from fwd_server.providers import lenient, request_headers
from fwd_server.providers.base import UpstreamRequest, merge
from fwd_server.providers.compatible.error_text import is_failure
from fwd_server.providers.compatible.failure import read_failure, read_failure_inside
from fwd_server.providers.compatible.profile import ProviderProfile
from fwd_server.values import embeddings, usage
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsRequest, EmbeddingsResponse
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.wire import jsontext


@frozen
class CompatibleEmbeddings:
    """Embeddings for one row."""

    profile: ProviderProfile

    def open(self, request: EmbeddingsRequest, deployment: Deployment) -> CompatibleEmbeddingsExchange:
        """Send the caller's object on; only the model's name is another."""
        body = merge({**request.body, "model": deployment.model}, request.extra_body)
        headers = request_headers.request_headers(deployment.endpoint, *request_headers.key_header(deployment.endpoint))
        sent = UpstreamRequest("/embeddings", headers, jsontext.dumps(body))
        return CompatibleEmbeddingsExchange(self.profile, request, deployment, sent)


@frozen
class CompatibleEmbeddingsExchange:
    """One attempt at one OpenAI-compatible provider."""

    profile: ProviderProfile
    _call: EmbeddingsRequest
    _deployment: Deployment
    request: UpstreamRequest
    dropped: tuple[str, ...] = ()

    def answer(self, body: bytes) -> EmbeddingsResponse:
        """Read an answer; its own bytes where every vector has the form asked for. Raises UpstreamError."""
        data = lenient.obj(lenient.load(body))
        if is_failure(data):
            raise read_failure_inside(self.profile, self._deployment.endpoint, data)
        entries = lenient.objects(data.get("data"))
        if not entries:
            raise upstream_failure("bad_payload", "The provider's answer has no vectors.")
        asked = [{**entry, "embedding": embeddings.as_asked(entry.get("embedding"), self._call)} for entry in entries]
        counted = usage.read(data.get("usage"))
        if asked == data["data"] and jsontext.is_plain(body):
            return EmbeddingsResponse(data, counted, body)
        return EmbeddingsResponse({**data, "data": asked}, counted)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read a failure."""
        return read_failure(self.profile, self._deployment.endpoint, status, headers, body)
