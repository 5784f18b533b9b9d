"""A typed client, sync and async, for the fwd gateway.

    from fwd_client import Client

    print(Client().ask("Why is the sky blue?", model="echo:"))

Importing this package loads nothing but itself: every name below is loaded when it is first used (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fwd_client._version import __version__

if TYPE_CHECKING:
    from fwd_client._async import AsyncClient, AsyncStream
    from fwd_client._errors import (
        APIConnectionError,
        APIError,
        APIResponseError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        ConfigurationError,
        ConflictError,
        ContextLengthError,
        DeadlineError,
        FailedAttempt,
        FwdError,
        ModelNotFoundError,
        NotFoundError,
        OverloadedError,
        ParseError,
        PermissionDeniedError,
        ProviderAuthError,
        ProviderNotConfiguredError,
        QuotaExceededError,
        RateLimitError,
        RequestTooLargeError,
        ServerError,
        StreamInterruptedError,
        ToolError,
        ToolStepsExceeded,
        UnsupportedParameterError,
        UpstreamError,
    )
    from fwd_client._events import (
        Finished,
        ReasoningDelta,
        RefusalDelta,
        RunEvent,
        StepStarted,
        StreamEvent,
        TextDelta,
        ToolCallArguments,
        ToolCallReady,
        ToolCallStarted,
        ToolFinished,
        ToolStarted,
    )
    from fwd_client._exchange import Retry
    from fwd_client._messages import (
        AssistantMessage,
        AudioPart,
        ContentPart,
        FilePart,
        ImagePart,
        MessageParam,
        Messages,
        SystemMessage,
        TextPart,
        ToolMessage,
        UserMessage,
    )
    from fwd_client._official import anthropic, async_anthropic, async_openai, openai
    from fwd_client._options import Secret, Timeout
    from fwd_client._params import CallOptions, ChatParams, EmbeddingParams, TalkParams
    from fwd_client._parse import AsyncParsedStream, Parsed, ParsedStream
    from fwd_client._receipt import Receipt, Usage
    from fwd_client._sync import Client, Stream
    from fwd_client._tools import ToolRun
    from fwd_client._values import (
        Chat,
        Choice,
        Chunk,
        Delta,
        Embedding,
        Embeddings,
        FunctionCall,
        Health,
        Message,
        Model,
        Models,
        Plan,
        PlannedCall,
        ToolCall,
    )

_HOMES = {
    "_async": "AsyncClient AsyncStream",
    "_errors": "APIConnectionError APIError APIResponseError APIStatusError APITimeoutError AuthenticationError "
    "BadRequestError BudgetExceededError ConfigurationError ConflictError ContextLengthError DeadlineError "
    "FailedAttempt FwdError "
    "ModelNotFoundError NotFoundError OverloadedError ParseError PermissionDeniedError ProviderAuthError "
    "ProviderNotConfiguredError QuotaExceededError RateLimitError RequestTooLargeError ServerError "
    "StreamInterruptedError ToolError ToolStepsExceeded UnsupportedParameterError UpstreamError",
    "_events": "Finished ReasoningDelta RefusalDelta RunEvent StepStarted StreamEvent TextDelta ToolCallArguments "
    "ToolCallReady ToolCallStarted ToolFinished ToolStarted",
    "_exchange": "Retry",
    "_messages": "AssistantMessage AudioPart ContentPart FilePart ImagePart MessageParam Messages "
    "SystemMessage TextPart ToolMessage UserMessage",
    "_official": "anthropic async_anthropic async_openai openai",
    "_options": "Secret Timeout",
    "_params": "CallOptions ChatParams EmbeddingParams TalkParams",
    "_parse": "AsyncParsedStream Parsed ParsedStream",
    "_receipt": "Receipt Usage",
    "_sync": "Client Stream",
    "_tools": "ToolRun",
    "_values": "Chat Choice Chunk Delta Embedding Embeddings FunctionCall Health Message Model Models Plan PlannedCall "
    "ToolCall",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIResponseError",
    "APIStatusError",
    "APITimeoutError",
    "AssistantMessage",
    "AsyncClient",
    "AsyncParsedStream",
    "AsyncStream",
    "AudioPart",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "CallOptions",
    "Chat",
    "ChatParams",
    "Choice",
    "Chunk",
    "Client",
    "ConfigurationError",
    "ConflictError",
    "ContentPart",
    "ContextLengthError",
    "DeadlineError",
    "Delta",
    "Embedding",
    "EmbeddingParams",
    "Embeddings",
    "FailedAttempt",
    "FilePart",
    "Finished",
    "FunctionCall",
    "FwdError",
    "Health",
    "ImagePart",
    "Message",
    "MessageParam",
    "Messages",
    "Model",
    "ModelNotFoundError",
    "Models",
    "NotFoundError",
    "OverloadedError",
    "ParseError",
    "Parsed",
    "ParsedStream",
    "PermissionDeniedError",
    "Plan",
    "PlannedCall",
    "ProviderAuthError",
    "ProviderNotConfiguredError",
    "QuotaExceededError",
    "RateLimitError",
    "ReasoningDelta",
    "Receipt",
    "RefusalDelta",
    "RequestTooLargeError",
    "Retry",
    "RunEvent",
    "Secret",
    "ServerError",
    "StepStarted",
    "Stream",
    "StreamEvent",
    "StreamInterruptedError",
    "SystemMessage",
    "TalkParams",
    "TextDelta",
    "TextPart",
    "Timeout",
    "ToolCall",
    "ToolCallArguments",
    "ToolCallReady",
    "ToolCallStarted",
    "ToolError",
    "ToolFinished",
    "ToolMessage",
    "ToolRun",
    "ToolStarted",
    "ToolStepsExceeded",
    "UnsupportedParameterError",
    "UpstreamError",
    "Usage",
    "UserMessage",
    "__version__",
    "anthropic",
    "async_anthropic",
    "async_openai",
    "openai",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
