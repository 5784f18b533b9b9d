"""Embeddings of OpenAI-compatible providers: the caller's own object, and whichever form of vector comes back.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen
from msgspec import structs

from fwd_server.providers import lenient, request_headers
from fwd_server.providers.base import AmendedRequest, UpstreamRequest, merge_body
from fwd_server.providers.compatible.error_text import is_failure
from fwd_server.providers.compatible.failure import read_failure, read_failure_inside
from fwd_server.providers.compatible.profile import ProviderProfile
from fwd_server.values import embeddings, usage
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsRequest, EmbeddingsResponse
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.wire import jsontext

_FORM: Final = "encoding_format"


@frozen
class CompatibleEmbeddings:
    """Embeddings for one row."""

    profile: ProviderProfile

    def open(self, request: EmbeddingsRequest, deployment: Deployment) -> CompatibleEmbeddingsExchange:
        """Send the caller's object on; only the model's name is another."""
        body = merge_body({**request.body, "model": deployment.model}, request.extra_body)
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
        """Read an answer; its own bytes where nothing in it has to change. Raises UpstreamError.

        There is one vector for each input, or the answer is no answer. ``object`` and ``index`` are filled in where a
        server leaves them out.
        """
        data = lenient.obj(lenient.load(body))
        if is_failure(data):
            raise read_failure_inside(self.profile, self._deployment.endpoint, data)
        entries = lenient.objects(data.get("data"))
        if not entries:
            raise upstream_failure("bad_payload", "The provider's answer has no vectors.")
        # With one vector too few or too many, texts would silently get the vectors of others.
        embeddings.check_count(len(entries), self._call)
        tidy = {
            "object": "list",
            "model": self._deployment.model,
            "usage": {"prompt_tokens": 0, "total_tokens": 0},
            **{name: value for name, value in data.items() if value is not None},
            "data": _tidy_entries(entries, self._call),
        }
        # The bytes travel unchanged where they can: floats keep the digits that the server wrote.
        raw = body if tidy == data and jsontext.is_plain(body) else None
        return EmbeddingsResponse(tidy, usage.parse_usage(data.get("usage")), raw)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | AmendedRequest:
        """Read a failure; a server that refuses base64, the default of the SDKs, gets the request once more without it.

        The gateway then packs the numbers itself, so nothing is lost.
        """
        failure = read_failure(self.profile, self._deployment.endpoint, status, headers, body)
        # Servers word it differently, but all of them name the field.
        if status in (400, 422) and _FORM in f"{failure.param} {failure.message}":
            sent = jsontext.loads(self.request.body)
            if sent.pop(_FORM, None) is not None:
                plain = evolve(self, request=structs.replace(self.request, body=jsontext.dumps(sent)))
                return AmendedRequest(plain, failure)
        return failure


def _tidy_entries(entries: list[Json], call: EmbeddingsRequest) -> list[Json]:
    """The vectors in the requested form, numbered by place unless the server numbered each of them once."""
    indexes = [entry.get("index", place) for place, entry in enumerate(entries)]
    places = list(range(len(entries)))
    # An index that is missing, repeated or counted from 1 says nothing; the order of the entries then does.
    if not all(type(index) is int for index in indexes) or sorted(indexes) != places:
        indexes = places
    return [
        {
            **entry,
            "object": "embedding",
            "index": index,
            "embedding": embeddings.convert_vector(entry.get("embedding"), call),
        }
        for index, entry in zip(indexes, entries, strict=True)
    ]
