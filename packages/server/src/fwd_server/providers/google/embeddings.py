"""Embeddings by Gemini's ``batchEmbedContents``: one request for every text.

https://ai.google.dev/api/embeddings#method:-models.batchembedcontents
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from fwd_server.providers import lenient, request_fields
from fwd_server.providers.base import UpstreamRequest, merge_body
from fwd_server.providers.error_words import read_error_body
from fwd_server.providers.google.answer import usage_of
from fwd_server.providers.google.failure import error_object, is_failure, read_failure
from fwd_server.providers.google.request import upstream_request
from fwd_server.providers.google.traits import PROVIDER
from fwd_server.values import embeddings
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsRequest, EmbeddingsResponse
from fwd_server.values.errors import UpstreamError

_TAKEN: Final = ("model", "input", "dimensions", "encoding_format", "google")


class GoogleEmbeddings:
    """Embeddings in Gemini's language."""

    def open(self, request: EmbeddingsRequest, deployment: Deployment) -> GoogleEmbeddingsExchange:
        """Translate a call. Raises Refused for token ids."""
        body = merge_body({"requests": _text_requests(request, deployment)}, request.extra_body)
        sent = upstream_request(deployment, "batchEmbedContents", body)
        return GoogleEmbeddingsExchange(sent, request_fields.left_out(request.body, _TAKEN, ()), request, deployment)


def _text_requests(call: EmbeddingsRequest, deployment: Deployment) -> list[Json]:
    """A request for every text; the caller's ``google`` object (``taskType``, say) goes into each."""
    # The batch wants the model in each of its requests, too, with its prefix.
    model = f"models/{deployment.model.removeprefix('models/')}"
    more: Json = {"outputDimensionality": call.view.dimensions} if call.view.dimensions else {}
    more = merge_body(more, request_fields.provider_extras(call.body, PROVIDER))
    return [{"model": model, "content": {"parts": [{"text": text}]}, **more} for text in call.texts_for(PROVIDER)]


@frozen
class GoogleEmbeddingsExchange:
    """One attempt at one model."""

    request: UpstreamRequest
    dropped: tuple[str, ...]
    _call: EmbeddingsRequest
    _deployment: Deployment

    def answer(self, body: bytes) -> EmbeddingsResponse:
        """Read an answer. Raises UpstreamError."""
        response = lenient.obj(lenient.load(body))
        if is_failure(response):
            raise read_failure(error_object(response), self._deployment)
        vectors = [embedding.get("values") for embedding in lenient.objects(response.get("embeddings"))]
        counted = lenient.obj(response.get("usageMetadata"))
        usage = usage_of(counted) if counted else None
        return embeddings.build_response(vectors, self._call, self._deployment.model, usage)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read a failure."""
        return read_failure({**error_object(read_error_body(body)), "code": status}, self._deployment, headers)
