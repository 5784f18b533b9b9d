"""Embeddings by Ollama's ``/api/embed``, which takes all texts at once.

https://github.com/ollama/ollama/blob/main/docs/api.md#generate-embeddings
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from fwd_server.providers import lenient, request_fields
from fwd_server.providers.base import UpstreamRequest, merge_body
from fwd_server.providers.error_words import read_error_body
from fwd_server.providers.ollama.answer import usage_of
from fwd_server.providers.ollama.failure import is_failure, read_failure
from fwd_server.providers.ollama.messages import PROVIDER
from fwd_server.providers.ollama.request import own_fields, upstream_request
from fwd_server.values import embeddings
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsRequest, EmbeddingsResponse
from fwd_server.values.errors import UpstreamError
from fwd_server.wire.backoff import parse_retry_after

_EMBEDDINGS_TAKEN: Final = ("model", "input", "dimensions", "encoding_format", "ollama")


class OllamaEmbeddings:
    """Embeddings in Ollama's language."""

    def open(self, request: EmbeddingsRequest, deployment: Deployment) -> OllamaEmbeddingsExchange:
        """Translate a call. Raises Refused for token ids."""
        request.texts_for(PROVIDER)
        body: Json = {"model": deployment.model, "input": request.view.input}
        if request.view.dimensions:
            body["dimensions"] = request.view.dimensions
        sent = upstream_request(
            "/api/embed", deployment, merge_body(merge_body(body, own_fields(request.body)), request.extra_body)
        )
        dropped = request_fields.left_out(request.body, _EMBEDDINGS_TAKEN, ())
        return OllamaEmbeddingsExchange(sent, dropped, request, deployment)


@frozen
class OllamaEmbeddingsExchange:
    """One attempt at ``/api/embed``."""

    request: UpstreamRequest
    dropped: tuple[str, ...]
    _call: EmbeddingsRequest
    _deployment: Deployment

    def answer(self, body: bytes) -> EmbeddingsResponse:
        """Read an answer. Raises UpstreamError."""
        response = lenient.obj(lenient.load(body))
        if is_failure(response):
            raise read_failure(self._deployment.endpoint, None, response)
        vectors = response.get("embeddings")
        model = lenient.text(response.get("model")) or self._deployment.model
        return embeddings.build_response(
            vectors if isinstance(vectors, list) else [], self._call, model, usage_of(response)
        )

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read a failure."""
        return read_failure(self._deployment.endpoint, status, read_error_body(body), parse_retry_after(headers))
