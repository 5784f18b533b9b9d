"""Embeddings as values: what callers may send, and the two forms of a vector."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec
import pytest

from fwd_server.values import embeddings
from fwd_server.values.embeddings import EmbeddingsBody, EmbeddingsRequest, EmbeddingsResponse
from fwd_server.values.errors import Refused, UpstreamError
from fwd_server.values.usage import Usage

PACKED = base64.b64encode(struct.pack("<2f", 0.5, -0.25)).decode()


def call(given: Any = "a", **body: Any) -> EmbeddingsRequest:
    whole = {"input": given, **body}
    return EmbeddingsRequest(whole, msgspec.convert(whole, EmbeddingsBody))


def test_what_openais_python_sdk_asks_for_is_little_endian_float32() -> None:
    assert embeddings.convert_vector([0.5, -0.25], call(encoding_format="base64")) == PACKED
    assert embeddings.convert_vector(PACKED, call(encoding_format="float")) == [0.5, -0.25]


def test_a_vector_in_the_form_asked_for_stays_as_it_is() -> None:
    assert embeddings.convert_vector(PACKED, call(encoding_format="base64")) == PACKED
    assert embeddings.convert_vector([1, 0.5], call()) == [1, 0.5]


@pytest.mark.parametrize("vector", [None, {}, ["x"], [True], [[1.0]], "?", "QUJD", "é", 5])
def test_what_is_no_vector_is_a_bad_payload(vector: object) -> None:
    """Contract F20."""
    with pytest.raises(UpstreamError) as caught:
        embeddings.convert_vector(vector, call())
    assert caught.value.code == "bad_payload"


def test_a_number_too_large_for_float32_is_a_bad_payload() -> None:
    with pytest.raises(UpstreamError):
        embeddings.convert_vector([1e300], call(encoding_format="base64"))


def test_vectors_are_listed_in_the_order_of_the_texts() -> None:
    answer = embeddings.build_response([[1.0], [2.0]], call(["a", "b"]), "m", Usage(prompt=3))
    assert [(entry["index"], entry["embedding"]) for entry in answer.data["data"]] == [(0, [1.0]), (1, [2.0])]
    assert answer.data["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert answer.model == "m"


@pytest.mark.parametrize(("given", "vectors"), [("a", []), ("a", [[1.0], [1.0]]), (["a", "b"], [[1.0]])])
def test_every_text_has_its_vector(given: Any, vectors: list[Any]) -> None:
    with pytest.raises(UpstreamError):
        embeddings.build_response(vectors, call(given), "m", None)


def test_texts_are_a_list_whichever_way_they_were_written() -> None:
    assert call("a").texts_for("google") == ["a"]
    assert call(["a", "b"]).texts_for("google") == ["a", "b"]


@pytest.mark.parametrize("given", [[], [1, 2], [[1, 2]], ["a", 1]])
def test_token_ids_mean_something_to_one_vendor_only(given: list[Any]) -> None:
    with pytest.raises(Refused) as caught:
        call(given).texts_for("google")
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    "body", [{"input": 5}, {"input": "a", "dimensions": 0}, {"input": "a", "encoding_format": "x"}]
)
def test_a_call_is_validated_by_its_fields(body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, EmbeddingsBody)


def test_extra_body_is_meant_for_one_provider() -> None:
    asked = EmbeddingsRequest({"input": "a", "model": "m"}, EmbeddingsBody("a", "m"), {"x": 1})
    assert asked.without_extra_body().extra_body is None
    assert asked.model == "m"
    assert EmbeddingsResponse({}).model == ""
