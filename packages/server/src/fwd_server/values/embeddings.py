"""Embeddings as values: the call, and its answer in the form the caller asked for.

https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from attrs import evolve, field, frozen

from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused, UpstreamError, upstream_failure
from fwd_server.values.usage import Usage


def _field_doc(text: str, **limits: Any) -> Any:
    return msgspec.Meta(description=text, **limits)


@frozen
class EmbeddingsBody:
    """The body of ``POST /v1/embeddings``. Fields that are not listed travel on as they are."""

    input: Annotated[str | list[Any], _field_doc("A text, a list of texts, token ids, or a list of lists of them")]
    model: Annotated[str | None, _field_doc("`provider:model`, or a bare name of a known family")] = None
    dimensions: Annotated[Annotated[int, msgspec.Meta(ge=1)] | None, _field_doc("Length of each vector")] = None
    encoding_format: Annotated[
        Literal["float", "base64"] | None,
        _field_doc("`base64`: little-endian float32, as OpenAI's Python SDK asks for"),
    ] = None
    user: str | None = None
    extra_body: Annotated[Json | None, _field_doc("Merged last into the body sent to the selected provider")] = None


@frozen
class EmbeddingsRequest:
    """A validated call: the caller's own object without ``extra_body``, and the view on it."""

    body: Json
    view: EmbeddingsBody
    extra_body: Json | None = None

    @property
    def model(self) -> str | None:
        """The model as the caller named it."""
        return self.view.model

    @property
    def base64(self) -> bool:
        """Whether the vectors are wanted as base64."""
        return self.view.encoding_format == "base64"

    @property
    def input_count(self) -> int:
        """How many vectors the answer has: a text is one input, and so is a single list of token ids."""
        given = self.view.input
        return 1 if isinstance(given, str) or all(type(item) is int for item in given) else len(given)

    def without_extra_body(self) -> EmbeddingsRequest:
        """The same call for a provider that ``extra_body`` was not meant for."""
        return evolve(self, extra_body=None)

    @property
    def stream(self) -> bool:
        """Vectors come whole."""
        return False

    def texts(self) -> Iterator[str]:
        """Every text to embed, for estimates; token ids do not count."""
        given = [self.view.input] if isinstance(self.view.input, str) else self.view.input
        return (one for one in given if isinstance(one, str))

    def texts_for(self, provider: str) -> list[str]:
        """The input as a list of texts. Raises Refused for token ids, which mean something to one vendor only."""
        given = [self.view.input] if isinstance(self.view.input, str) else self.view.input
        if given and all(isinstance(one, str) for one in given):
            return given
        raise Refused(f"{provider} accepts 'input' as a text or a list of texts, not as token ids.", param="input")


@frozen
class EmbeddingsResponse:
    """An answer: OpenAI's list object, its vectors in the form the caller asked for.

    ``raw`` is its bytes as they came, if none had to change.
    """

    data: Json
    usage: Usage | None = None
    raw: bytes | None = field(default=None, repr=False)

    @property
    def model(self) -> str:
        """The model that answered, as the provider names it."""
        return str(self.data.get("model") or "")


def build_response(vectors: list[Any], call: EmbeddingsRequest, model: str, usage: Usage | None) -> EmbeddingsResponse:
    """Vectors, one for each text in its order, as an answer; tokens that nobody counted are 0.

    Raises UpstreamError when there are not as many as texts, or one is no vector.
    """
    check_count(len(vectors), call)
    asked = [convert_vector(vector, call) for vector in vectors]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(asked)]
    tokens = usage.prompt if usage else 0
    counted = {"prompt_tokens": tokens, "total_tokens": tokens}
    return EmbeddingsResponse({"object": "list", "data": data, "model": model, "usage": counted}, usage)


def check_count(vectors: int, call: EmbeddingsRequest) -> None:
    """Raise UpstreamError unless there is one vector for each input: others would be taken for those of other texts."""
    if vectors != call.input_count:
        raise upstream_failure(
            "bad_payload", f"The provider returned {vectors} embeddings for {call.input_count} inputs."
        )


def convert_vector(vector: object, call: EmbeddingsRequest) -> list[float] | str:
    """One vector, numbers or base64, in the form the caller asked for. Raises UpstreamError for anything else."""
    if isinstance(vector, str):
        return vector if call.base64 else _decode_vector(vector)
    # type() instead of isinstance: a bool is an int in Python, but not a coordinate.
    if not isinstance(vector, list) or not all(type(one) in (int, float) for one in vector):
        raise _invalid_embedding()
    return _encode_vector(vector) if call.base64 else vector


def _encode_vector(vector: list[float]) -> str:
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    # A number beyond float32: base64 cannot hold it, and infinity would be a wrong vector.
    except OverflowError:
        raise _invalid_embedding() from None


def _decode_vector(written: str) -> list[float]:
    try:
        packed = base64.b64decode(written, validate=True)
        return list(struct.unpack(f"<{len(packed) // 4}f", packed))
    except (binascii.Error, struct.error, ValueError):
        raise _invalid_embedding() from None


def _invalid_embedding() -> UpstreamError:
    return upstream_failure("bad_payload", "The provider returned an invalid embedding.")
