"""The Messages API in the API description: the fields that decide something here; all others pass or are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from fwd_server.values.chat import Json

_REFERENCE: Final = "https://platform.claude.com/docs/en/api/messages"
_BLOCKS: Final[Json] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}
_MESSAGE: Final[Json] = {
    "type": "object",
    "required": ["role"],
    "properties": {"role": {"enum": ["user", "assistant", "system"]}, "content": _BLOCKS},
}
_COUNTED: Final[Json] = {
    "model": {"type": "string", "minLength": 1, "description": "`provider:model`, a family's name, or an alias"},
    "messages": {"type": "array", "minItems": 1, "maxItems": 10_000, "items": _MESSAGE},
    "system": _BLOCKS,
    "tools": {"type": "array", "items": {"type": "object"}},
}
_ANSWERED: Final[Json] = {
    **_COUNTED,
    "max_tokens": {"type": "integer", "minimum": 0, "description": "Cap on the answer; 0 only warms a cache"},
    "stream": {"type": ["boolean", "null"]},
    "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
}
_HELLO: Final[Json] = {"model": "echo:", "messages": [{"role": "user", "content": "Hello"}]}
_USAGE: Final[Json] = {
    "input_tokens": 2,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 2,
}
_ANSWER: Final[Json] = {
    "id": "msg_01",
    "type": "message",
    "role": "assistant",
    "model": "echo:",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": _USAGE,
}
_FAILED: Final[Json] = {
    "type": "object",
    "required": ["type", "error", "request_id"],
    "properties": {
        "type": {"const": "error"},
        "error": {"type": "object", "required": ["type", "message"]},
        "request_id": {"type": "string"},
    },
}


def describe_messages(parameters: Iterable[Json], header_refs: Callable[[tuple[str, ...]], Json]) -> Json:
    """The paths of the Messages API. ``parameters`` are the headers of every call."""
    taken = list(parameters)
    return {
        "/v1/messages": {
            "post": _operation("createMessage", "Create a message", _ANSWERED, taken, _answer(header_refs))
        },
        "/v1/messages/count_tokens": {
            "post": _operation("countTokens", "Count the tokens of a message", _COUNTED, [], _count())
        },
    }


def _operation(name: str, summary: str, fields: Json, parameters: list[Json], answer: Json) -> Json:
    needed = [field for field in ("model", "max_tokens", "messages") if field in fields]
    schema = {"type": "object", "required": needed, "properties": fields}
    example = {**_HELLO, "max_tokens": 100} if "max_tokens" in fields else _HELLO
    failure = {"description": "A failure.", "content": {"application/json": {"schema": _FAILED}}}
    return {
        "operationId": name,
        "tags": ["messages"],
        "summary": summary,
        "description": f"Anthropic's API, for every provider: {_REFERENCE}. Calls for Anthropic pass as they are.",
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}},
        "responses": {"200": answer, "4XX": failure, "5XX": failure},
    }


def _answer(header_refs: Callable[[tuple[str, ...]], Json]) -> Json:
    schema: Any = {"type": "object", "required": [*_ANSWER]}
    return {
        "description": "The message, or with `stream` its events.",
        "headers": header_refs(("x-request-id", "x-fwd-provider", "x-fwd-model", "x-fwd-attempts", "x-fwd-dropped")),
        "content": {
            "application/json": {"schema": schema, "example": _ANSWER},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }


def _count() -> Json:
    counted = {"type": "object", "required": ["input_tokens"], "properties": {"input_tokens": {"type": "integer"}}}
    return {
        "description": "The count; with `x-fwd-estimated: true` it is the gateway's own estimate.",
        "content": {"application/json": {"schema": counted, "example": {"input_tokens": 6}}},
    }
