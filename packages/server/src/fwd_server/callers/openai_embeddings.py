"""OpenAI's embeddings, as callers speak it.

https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

from typing import Final

from fwd_server.callers.base import NO_HEAD, CallHead, Dialect
from fwd_server.callers.openai_errors import render_error
from fwd_server.callers.validation import convert_body, take_extra_body
from fwd_server.values.embeddings import EmbeddingsBody, EmbeddingsRequest, EmbeddingsResponse
from fwd_server.values.errors import BadRequest
from fwd_server.values.record import CallRecord
from fwd_server.wire import jsontext


def parse_request(body: bytes, head: CallHead = NO_HEAD) -> EmbeddingsRequest:
    """Read and validate a call. Raises BadRequest that names the field."""
    travelling = jsontext.parse_object(body)
    extra_body = take_extra_body(travelling)
    seen = convert_body(travelling, EmbeddingsBody)
    if not seen.input:
        raise BadRequest("'input' is empty: send a text, a list of texts, or token ids.", param="input")
    if seen.model is None:
        raise BadRequest(
            "Embeddings need a 'model': vectors of different models cannot be compared.",
            code="model_required",
            param="model",
        )
    return EmbeddingsRequest(travelling, seen, extra_body)


def render_response(
    response: EmbeddingsResponse, request: EmbeddingsRequest, record: CallRecord | None = None
) -> bytes:
    """An answer: the provider's own bytes where nothing had to change."""
    return response.raw if response.raw is not None else jsontext.dumps(response.data)


OPENAI_EMBEDDINGS: Final = Dialect("openai-embeddings", parse_request, render_response, render_error)
