"""The arguments of a chat call, typed and documented once for both clients and all their methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from fwd_client._options import Timeout


class CallOptions(TypedDict, total=False):
    """How one call is made; none of it is part of its body."""

    timeout: float | Timeout | None
    """Seconds for the whole call with its retries, or a `Timeout`. Default: the client's."""
    max_retries: int | None
    """Maximum number of retries of a failed call. Default: the client's."""
    strict: bool
    """True: refuse what the provider does not support, instead of dropping it and listing it in `dropped`."""
    fallback: bool
    """False: use the named model only. Default: after a failure the gateway may ask another provider."""
    extra_headers: Mapping[str, str] | None
    """Further headers of this request, in addition to the client's."""


class TalkParams(CallOptions, total=False):
    """Fields of an OpenAI chat completion, without `messages`, `stream` and `tools`; all may be left out.

    What a provider does not support is dropped and listed in the answer's `dropped`, or refused with `strict=True`.
    None counts as not given. https://platform.openai.com/docs/api-reference/chat/create
    """

    model: str | None
    """Name of the model, as `openai:gpt-5-mini`. Default: the first provider of the gateway's list that can answer."""
    max_completion_tokens: int | None
    """Limit of the answer in tokens, thinking included."""
    max_tokens: int | None
    """Limit of the answer in tokens; the older name of `max_completion_tokens`."""
    temperature: float | None
    """Randomness, 0 to 2; 0 is the most predictable."""
    top_p: float | None
    """Only the most likely tokens with this total probability, 0 to 1, are considered."""
    frequency_penalty: float | None
    """-2 to 2; above 0, tokens become less likely the more often they occurred."""
    presence_penalty: float | None
    """-2 to 2; above 0, tokens that occurred become less likely."""
    n: int | None
    """Number of answers; they are in `choices`."""
    stop: str | Sequence[str] | None
    """Texts that end the answer."""
    seed: int | None
    """The same seed makes the same answer more likely, where the provider supports it."""
    logprobs: bool | None
    """True: return the log probability of every token, in `choices[0].logprobs`."""
    top_logprobs: int | None
    """How many alternatives to return for every token, 0 to 20; needs `logprobs`."""
    logit_bias: Mapping[str, float] | None
    """Token ids with -100 (never) to 100 (always)."""
    tool_choice: str | Mapping[str, Any] | None
    """`auto`, `none`, `required`, or the one function to call."""
    parallel_tool_calls: bool | None
    """False: at most one tool call per answer."""
    response_format: Mapping[str, Any] | None
    """JSON object or JSON Schema that the answer has to be; `parse(into=...)` makes it from a class."""
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    """How much a reasoning model thinks before it answers."""
    verbosity: Literal["low", "medium", "high"] | None
    """How long the answer is."""
    modalities: Sequence[Literal["text", "audio"]] | None
    """Kinds of output."""
    audio: Mapping[str, Any] | None
    """Voice and format of audio output."""
    prediction: Mapping[str, Any] | None
    """Text that the answer is expected to repeat for the most part, which makes it faster."""
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None
    """Latency and price class at the provider."""
    store: bool | None
    """True: let the provider keep the answer."""
    metadata: Mapping[str, str] | None
    """Up to 16 names and values to find a stored answer by."""
    user: str | None
    """Your own user, for the provider's abuse detection; the older name of `safety_identifier`."""
    safety_identifier: str | None
    """Your own user, for the provider's abuse detection; send a hash instead of a name."""
    prompt_cache_key: str | None
    """Requests with the same key are likely to share a cached prompt."""
    prompt_cache_options: Mapping[str, Any] | None
    """How the provider caches the prompt."""
    prompt_cache_retention: Literal["in_memory", "24h"] | None
    """How long the provider keeps the cached prompt."""
    moderation: Mapping[str, Any] | None
    """How the provider moderates the request."""
    web_search_options: Mapping[str, Any] | None
    """Search the web before answering, where the model can."""
    functions: Sequence[Mapping[str, Any]] | None
    """Deprecated: use `tools`."""
    function_call: str | Mapping[str, Any] | None
    """Deprecated: use `tool_choice`."""
    stream_options: Mapping[str, Any] | None
    """`{"include_usage": True}` adds the tokens to the end of a stream; `stream()` does that by itself."""
    extra_body: Mapping[str, Any] | None
    """Merged last into the request to the selected provider, in that provider's own language."""


class EmbeddingParams(CallOptions, total=False):
    """Fields of an OpenAI embedding call, without `input`; all but `model` may be left out.

    https://platform.openai.com/docs/api-reference/embeddings/create
    """

    model: str | None
    """Name of the model, as `openai:text-embedding-3-small`."""
    dimensions: int | None
    """Length of the vectors, where the model lets you choose."""
    encoding_format: Literal["float", "base64"] | None
    """`base64` makes the answer smaller in transit; the vectors are floats in any case."""
    user: str | None
    """Your own user, for the provider's abuse detection."""
    extra_body: Mapping[str, Any] | None
    """Merged last into the request to the provider."""


class ChatParams(TalkParams, total=False):
    """`TalkParams` and `tools`."""

    tools: Sequence[Mapping[str, Any]] | None
    """Tools the model may call, as JSON schemas in OpenAI's form; `run_tools()` makes them from functions."""
