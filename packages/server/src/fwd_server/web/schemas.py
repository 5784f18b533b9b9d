"""What the gateway answers, as values: the source of the answers' schemas in ``/openapi.json``.

Nothing is converted into these classes on the way out: an answer travels as the object it came as, so it may hold
more than is listed here. Shapes: https://platform.openai.com/docs/api-reference/chat/object; the fields that the
gateway adds to them say so.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from attrs import frozen

from fwd_server.values.chat import Json


def _field_doc(text: str) -> Any:
    return msgspec.Meta(description=text)


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]
_Reasoning = Annotated[str | None, _field_doc("Readable reasoning text (an extension of fwd)")]
_ExtraContent = Annotated["ExtraContent | None", _field_doc("Opaque; send it back unchanged (an extension of fwd)")]


@frozen
class GoogleContent:
    """What Gemini wants to see again in the next turn."""

    thought_signature: Annotated[str | None, _field_doc("Gemini's signature of this part")] = None


@frozen
class ExtraContent:
    """What a provider wants to see again in the next turn, by provider."""

    google: GoogleContent | None = None


@frozen
class ReasoningDetail:
    """One piece of reasoning as the provider signed it. Opaque: send it back unchanged."""

    type: Annotated[str, _field_doc("`reasoning.text`, `reasoning.encrypted` or `reasoning.summary`")]
    text: str | None = None
    signature: str | None = None
    data: str | None = None
    summary: str | None = None
    format: Annotated[str | None, _field_doc("Whose format it is, for example `anthropic-claude-v1`")] = None
    index: int | None = None


_Details = Annotated[
    list[ReasoningDetail] | None,
    _field_doc("Signed reasoning, to be sent back unchanged on the assistant message (an extension of fwd)"),
]


@frozen
class CalledFunction:
    """The function that the model calls."""

    name: str
    arguments: Annotated[str, _field_doc("JSON in a string, as the model wrote it")]


@frozen
class AnswerToolCall:
    """One call of a tool; answer it with a message of role `tool` that has the same `tool_call_id`."""

    id: str
    type: Annotated[str, _field_doc("`function` or `custom`")] = "function"
    function: CalledFunction | None = None
    custom: Json | None = None
    extra_content: _ExtraContent = None


@frozen
class AnswerMessage:
    """The model's text."""

    role: Literal["assistant"]
    content: Annotated[str | None, _field_doc("Null only with tool calls, a refusal or audio")] = None
    refusal: str | None = None
    tool_calls: list[AnswerToolCall] | None = None
    function_call: Annotated[CalledFunction | None, _field_doc("Only for a call that used `functions`")] = None
    annotations: list[Json] | None = None
    audio: Json | None = None
    reasoning_content: _Reasoning = None
    reasoning_details: _Details = None
    extra_content: _ExtraContent = None


@frozen
class TopLogprob:
    """A token that the model might have taken, and its log probability."""

    token: str
    logprob: float
    bytes: list[int] | None = None


@frozen
class TokenLogprob:
    """A token of the answer, its log probability, and those of the likeliest others."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[TopLogprob] | None = None


@frozen
class Logprobs:
    """Log probabilities of an answer's tokens."""

    content: list[TokenLogprob] | None = None
    refusal: list[TokenLogprob] | None = None


@frozen
class Choice:
    """One answer of the model."""

    index: int
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: Logprobs | None = None


@frozen
class PromptTokensDetails:
    """Parts of `prompt_tokens`."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    text_tokens: int | None = None


@frozen
class CompletionTokensDetails:
    """Parts of `completion_tokens`."""

    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    text_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


@frozen
class TokenUsage:
    """Tokens of one answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    cost: Annotated[float | None, _field_doc("USD, only if the provider itself reports it (an extension of fwd)")] = (
        None
    )


@frozen
class ChatCompletion:
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: Annotated[int, _field_doc("Seconds since the epoch")]
    model: Annotated[str, _field_doc("The model that answered, as its provider names it")]
    choices: list[Choice]
    usage: TokenUsage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    metadata: Json | None = None
    moderation: Json | None = None


@frozen
class FunctionDelta:
    """A piece of a function call; `name` comes once, the pieces of `arguments` are to be joined."""

    name: str | None = None
    arguments: str | None = None


@frozen
class ToolCallDelta:
    """A piece of a tool call. Join the pieces by `index`; `id`, `type` and the name come exactly once."""

    index: int
    id: str | None = None
    type: str | None = None
    function: FunctionDelta | None = None
    custom: Json | None = None
    extra_content: _ExtraContent = None


@frozen
class Delta:
    """What a chunk adds to one choice. The first one of each choice has the role."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    function_call: FunctionDelta | None = None
    audio: Json | None = None
    reasoning_content: _Reasoning = None
    reasoning_details: _Details = None
    extra_content: _ExtraContent = None


@frozen
class ChunkChoice:
    """One choice in a chunk; exactly one chunk of each choice has a `finish_reason`."""

    index: int
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: FinishReason | None = None


@frozen
class ChatCompletionChunk:
    """One event of a streamed answer. `id`, `created` and `model` are the same in every chunk."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: Annotated[list[ChunkChoice], _field_doc("Empty in the chunk with the usage")]
    usage: Annotated[TokenUsage | None, _field_doc("Only with `stream_options.include_usage`, in the last chunk")] = (
        None
    )
    service_tier: str | None = None
    system_fingerprint: str | None = None
    obfuscation: str | None = None


@frozen
class FailedAttempt:
    """One try at one provider, as it ended."""

    provider: str
    model: str
    status: int | None
    code: str | None
    ms: float


@frozen
class ErrorDetail:
    """What went wrong: what was found, what is allowed, what to do."""

    message: str
    type: Annotated[
        str, _field_doc("`invalid_request_error`, `rate_limit_error`, `insufficient_quota`, `server_error`, ...")
    ]
    param: Annotated[str | None, _field_doc("The field of the request that is wrong")]
    code: Annotated[str | None, _field_doc("The code that programs should check, along with the status")]
    attempts: Annotated[list[FailedAttempt] | None, _field_doc("The attempts, if there was more than one")] = None


@frozen
class Error:
    """The body of every answer that is not a success, and the last frame of a stream that failed."""

    error: ErrorDetail


@frozen
class Embedding:
    """One vector, in the order of the inputs."""

    object: Literal["embedding"]
    index: int
    embedding: Annotated[list[float] | str, _field_doc("Numbers, or base64 of little-endian float32")]


@frozen
class EmbeddingUsage:
    """Tokens of the inputs."""

    prompt_tokens: int
    total_tokens: int


@frozen
class EmbeddingList:
    """The answer of `POST /v1/embeddings`."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


@frozen
class ModelDetails:
    """What the gateway knows about a model; null is unknown, never zero."""

    provider: str
    listed: Annotated[
        Literal["provider", "table", "configured"] | None,
        _field_doc("Where the model is known from: the provider's own list, the gateway's table, its settings"),
    ] = None
    kind: Annotated[str | None, _field_doc("`chat` or `embedding`")] = None
    context: Annotated[int | None, _field_doc("Tokens of the largest prompt")] = None
    output: Annotated[int | None, _field_doc("Tokens of the longest answer")] = None
    abilities: Annotated[list[str] | None, _field_doc("For example `tools`, `vision`, `json_schema`, `reasoning`")] = (
        None
    )
    prices: Annotated[dict[str, float | None] | None, _field_doc("USD per million tokens, by kind of token")] = None
    source: Annotated[str | None, _field_doc("The source of these figures")] = None


@frozen
class Model:
    """A model that this caller can reach."""

    id: Annotated[str, _field_doc("What to send as `model`, with the provider's prefix")]
    object: Literal["model"]
    created: int
    owned_by: str
    shutdown_date: str | None = None
    fwd: Annotated[ModelDetails | None, _field_doc("What the gateway knows (an extension of fwd)")] = None


@frozen
class ModelList:
    """Every model that this caller can reach."""

    object: Literal["list"]
    data: list[Model]


@frozen
class Health:
    """The process is alive."""

    status: Literal["ok"]


@frozen
class ProviderState:
    """A provider as the gateway sees it now; never a key."""

    name: str
    state: Annotated[str, _field_doc("`on`, `off`, `cooling_down` or `unavailable`")]
    enabled_by: Annotated[str | None, _field_doc("The variable that turns it on")] = None


@frozen
class CoolingDown:
    """A deployment that failed and is asked last for a while."""

    provider: str
    model: str
    seconds: Annotated[float, _field_doc("How much longer; 0: the next call tries it again again")]


@frozen
class Ready:
    """Whether the gateway can serve. Details are shown to loopback and to callers with a key only."""

    status: Literal["ready", "degraded", "unready"]
    degraded: Annotated[list[str] | None, _field_doc("What needs attention, in words")] = None
    providers: list[ProviderState] | None = None
    cooling_down: list[CoolingDown] | None = None
