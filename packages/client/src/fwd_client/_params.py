"""The arguments of a chat call, typed once for both clients and all four methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from fwd_client._options import Timeout


class CallOptions(TypedDict, total=False):
    """How one call is made; none of it is part of its body.

    `timeout`: seconds for the whole call, or a `Timeout`. `max_retries`: how often it is repeated. `strict=True`:
    refuse what the provider cannot take instead of dropping it. `fallback=False`: keep to the given model.
    """

    timeout: float | Timeout | None
    max_retries: int | None
    strict: bool
    fallback: bool
    extra_headers: Mapping[str, str] | None


class TalkParams(CallOptions, total=False):
    """Fields of an OpenAI chat completion, without `messages`, `stream` and `tools`; all may be left out.

    Without `model` the gateway takes the first provider of its priority list that can answer. What a provider
    cannot take is dropped and listed in the answer's `dropped`, or refused with `strict=True`. `extra_body` is
    merged last into the request to the selected provider, whatever its language.
    https://platform.openai.com/docs/api-reference/chat/create
    """

    model: str | None
    max_completion_tokens: int | None
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    n: int | None
    stop: str | Sequence[str] | None
    seed: int | None
    logprobs: bool | None
    top_logprobs: int | None
    logit_bias: Mapping[str, float] | None
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: Mapping[str, Any] | None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    verbosity: Literal["low", "medium", "high"] | None
    modalities: Sequence[Literal["text", "audio"]] | None
    audio: Mapping[str, Any] | None
    prediction: Mapping[str, Any] | None
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None
    store: bool | None
    metadata: Mapping[str, str] | None
    user: str | None
    safety_identifier: str | None
    prompt_cache_key: str | None
    prompt_cache_options: Mapping[str, Any] | None
    prompt_cache_retention: Literal["in_memory", "24h"] | None
    moderation: Mapping[str, Any] | None
    web_search_options: Mapping[str, Any] | None
    functions: Sequence[Mapping[str, Any]] | None
    function_call: str | Mapping[str, Any] | None
    stream_options: Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None


class EmbeddingParams(CallOptions, total=False):
    """Fields of an OpenAI embedding call, without `input`; all but `model` may be left out.

    `encoding_format="base64"` makes the answer smaller on its way; the vectors are floats in any case.
    https://platform.openai.com/docs/api-reference/embeddings/create
    """

    model: str | None
    dimensions: int | None
    encoding_format: Literal["float", "base64"] | None
    user: str | None
    extra_body: Mapping[str, Any] | None


class ChatParams(TalkParams, total=False):
    """`TalkParams` and `tools`, as JSON schemas in OpenAI's form."""

    tools: Sequence[Mapping[str, Any]] | None
