"""Embeddings of every provider that has them."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest
from tests.server.providers import golden

from fwd_server.providers.base import AmendedRequest, EmbeddingsCodec, EmbeddingsExchange, UpstreamRequest
from fwd_server.providers.compatible.embeddings import CompatibleEmbeddings
from fwd_server.providers.compatible.profiles import find_profile
from fwd_server.providers.google.embeddings import GoogleEmbeddings
from fwd_server.providers.ollama.embeddings import OllamaEmbeddings
from fwd_server.values.embeddings import EmbeddingsBody, EmbeddingsRequest
from fwd_server.values.errors import Refused, UpstreamError

CODECS: dict[str, EmbeddingsCodec] = {
    "google": GoogleEmbeddings(),
    "ollama": OllamaEmbeddings(),
    "openai": CompatibleEmbeddings(find_profile("openai")),
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
    assert isinstance(error, UpstreamError)
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")


def entries(*vectors: Any, **more: Any) -> bytes:
    listed = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    return orjson.dumps({"object": "list", "data": listed, "model": "m", **more})


@pytest.mark.parametrize("name", ["openai", "local", "mistral", "together"])
@pytest.mark.parametrize(
    ("given", "count"),
    [("a", 1), (["a"], 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), ([[1]], 1)],
)
def test_there_is_one_vector_for_each_input(name: str, given: Any, count: int) -> None:
    """A single list of token ids is one input; more or fewer vectors would be those of other texts."""
    exchange = CompatibleEmbeddings(find_profile(name)).open(call(given), golden.deployment(name, MODEL))
    assert len(exchange.answer(entries(*[[1.0]] * count)).data["data"]) == count
    for wrong in {count - 1, count + 1, 7} - {0}:
        with pytest.raises(UpstreamError) as caught:
            exchange.answer(entries(*[[1.0]] * wrong))
        assert caught.value.code == "bad_payload"


@pytest.mark.parametrize(
    ("indexes", "tidy"),
    [
        ([0, 1], [0, 1]),
        ([1, 0], [1, 0]),
        ([None, 1], [0, 1]),
        ([None, None], [0, 1]),
        ([0, 0], [0, 1]),
        ([1, 2], [0, 1]),
    ],
)
def test_what_an_entry_lacks_is_filled_in(indexes: list[Any], tidy: list[int]) -> None:
    """Clients read object, index and usage of every answer; an order of its own is the server's to say."""
    listed = [{"embedding": [1.0], **({} if index is None else {"index": index})} for index in indexes]
    answer = opened("openai", ["a", "b"]).answer(orjson.dumps({"data": listed})).data
    assert [(entry["object"], entry["index"]) for entry in answer["data"]] == [("embedding", index) for index in tidy]
    assert (answer["object"], answer["model"], answer["usage"]) == (
        "list",
        MODEL,
        {"prompt_tokens": 0, "total_tokens": 0},
    )


NO_BASE64: list[tuple[int, Any]] = [
    (400, {"error": {"message": "no", "param": "encoding_format"}}),
    (400, {"error": {"message": "encoding_format base64 is not supported"}}),
    (422, {"detail": [{"loc": ["body", "encoding_format"], "msg": "Extra inputs are not permitted"}]}),
    (422, {"object": "error", "message": {"detail": [{"loc": ["body", "encoding_format"], "msg": "no"}]}}),
    (400, {"detail": "Unsupported encoding_format"}),
]


@pytest.mark.parametrize(("status", "body"), NO_BASE64)
@pytest.mark.parametrize("form", ["base64", "float"])
def test_a_server_that_refuses_the_form_is_asked_without(status: int, body: Any, form: str) -> None:
    """Once; the gateway packs the numbers itself."""
    amended = opened("openai", encoding_format=form).error(status, {}, orjson.dumps(body))
    assert isinstance(amended, AmendedRequest)
    assert isinstance(amended.exchange.request, UpstreamRequest)
    assert orjson.loads(amended.exchange.request.body) == {"model": MODEL, "input": "a"}
    vector = {"base64": "AAAAPwAAgD4=", "float": [0.5, 0.25]}[form]
    assert amended.exchange.answer(entries([0.5, 0.25])).data["data"][0]["embedding"] == vector
    assert isinstance(amended.exchange.error(status, {}, orjson.dumps(body)), UpstreamError)


@pytest.mark.parametrize(
    ("status", "body", "form"),
    [
        (400, {"error": {"message": "input is too long", "param": "input"}}, {"encoding_format": "base64"}),
        (500, {"error": {"message": "encoding_format"}}, {"encoding_format": "base64"}),
        (400, {"error": {"message": "encoding_format"}}, {}),
    ],
)
def test_another_refusal_is_the_callers_to_read(status: int, body: Any, form: dict[str, str]) -> None:
    assert isinstance(opened("openai", **form).error(status, {}, orjson.dumps(body)), UpstreamError)
