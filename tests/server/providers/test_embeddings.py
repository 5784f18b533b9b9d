"""Embeddings of every provider that has them."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from tests.server.providers import golden

from fwd_server.providers.base import EmbeddingsCodec, EmbeddingsExchange, UpstreamRequest
from fwd_server.providers.compatible.embeddings import CompatibleEmbeddings
from fwd_server.providers.compatible.profiles import profile_of
from fwd_server.providers.google.embeddings import GoogleEmbeddings
from fwd_server.providers.ollama.embeddings import OllamaEmbeddings
from fwd_server.values.embeddings import EmbeddingsBody, EmbeddingsRequest
from fwd_server.values.errors import Refused, UpstreamError

CODECS: dict[str, EmbeddingsCodec] = {
    "google": GoogleEmbeddings(),
    "ollama": OllamaEmbeddings(),
    "openai": CompatibleEmbeddings(profile_of("openai")),
}
MODEL = "gemini-embedding-2"


def call(given: Any = "a", **body: Any) -> EmbeddingsRequest:
    extra = body.pop("extra_body", None)
    whole = {"model": "x", "input": given, **body}
    return EmbeddingsRequest(whole, msgspec.convert(whole, EmbeddingsBody), extra)


def opened(provider: str, given: Any = "a", **body: Any) -> EmbeddingsExchange:
    return CODECS[provider].open(call(given, **body), golden.deployment(provider, MODEL))


def sent(provider: str, given: Any = "a", **body: Any) -> Any:
    request = opened(provider, given, **body).request
    assert isinstance(request, UpstreamRequest)
    return orjson.loads(request.body)


def test_an_extra_field_reaches_an_openai_server_and_a_name_changes() -> None:
    assert sent("openai", [1, 2], user="u", own=1) == {"model": MODEL, "input": [1, 2], "user": "u", "own": 1}
    assert opened("openai", user="u").dropped == ()


@pytest.mark.parametrize("provider", ["google", "ollama"])
def test_what_a_native_provider_does_not_take_is_named(provider: str) -> None:
    assert opened(provider, user="u", encoding_format="base64", dimensions=2).dropped == ("user",)


def test_the_providers_own_words_go_along() -> None:
    google = sent("google", ["a", "b"], google={"taskType": "RETRIEVAL_QUERY"}, extra_body={"x": 1})
    assert [one["taskType"] for one in google["requests"]] == ["RETRIEVAL_QUERY"] * 2
    assert google["x"] == 1
    assert sent("ollama", dimensions=3, ollama={"truncate": False}, extra_body={"x": 1}) == {
        "model": MODEL,
        "input": "a",
        "dimensions": 3,
        "truncate": False,
        "x": 1,
    }


@pytest.mark.parametrize("provider", ["google", "ollama"])
@pytest.mark.parametrize(("given", "more"), [([1, 2], {}), ("a", {"google": 5, "ollama": 5})])
def test_what_cannot_be_sent_is_refused(provider: str, given: Any, more: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        opened(provider, given, **more)


ANSWERS = {
    "google": {"embeddings": [{"values": [0.5]}], "usageMetadata": {"promptTokenCount": 4}},
    "ollama": {"embeddings": [[0.5]], "prompt_eval_count": 4},
    "openai": {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "model": MODEL,
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    },
}


@pytest.mark.parametrize("provider", CODECS)
@pytest.mark.parametrize(("form", "vector"), [("float", [0.5]), ("base64", "AAAAPw==")])
def test_a_vector_comes_in_the_form_asked_for(provider: str, form: str, vector: Any) -> None:
    answer = opened(provider, encoding_format=form).answer(orjson.dumps(ANSWERS[provider]))
    assert answer.data["data"] == [{"object": "embedding", "index": 0, "embedding": vector}]
    assert answer.data["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert answer.usage is not None
    assert answer.usage.prompt == 4
    assert answer.model == MODEL


def test_an_answer_that_fits_goes_on_as_it_came() -> None:
    body = orjson.dumps(ANSWERS["openai"])
    assert opened("openai").answer(body).raw == body
    assert opened("openai", encoding_format="base64").answer(body).raw is None


@pytest.mark.parametrize("provider", CODECS)
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"embeddings": 5, "data": 5}', b'{"error": {"message": "no"}}'])
def test_an_answer_without_vectors_is_a_failure(provider: str, body: bytes) -> None:
    """Contract F20, F21."""
    with pytest.raises(UpstreamError) as caught:
        opened(provider).answer(body)
    assert caught.value.status == 502


@pytest.mark.parametrize("provider", CODECS)
def test_a_failure_is_read_as_that_of_a_chat(provider: str) -> None:
    error = opened(provider).error(404, {}, b'{"error": {"message": "gone"}}')
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
