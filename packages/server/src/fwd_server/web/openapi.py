"""The description of the API, OpenAPI 3.1, made from the classes that the gateway itself reads calls with.

Specification: https://spec.openapis.org/oas/v3.1.1. Two things are written by hand. A content part is one flat class
in ``chat.py`` (msgspec takes no union of attrs classes) and a ``oneOf`` here; and a stream is text whose frames have
a schema, for OpenAPI 3.1 has no words for server-sent events.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fwd_server.callers.openai_errors import error_object
from fwd_server.values.chat import ChatBody, Json
from fwd_server.values.embeddings import EmbeddingsBody
from fwd_server.values.errors import GatewayError
from fwd_server.web import examples, schemas, usage_description
from fwd_server.web.example_failures import failure_examples
from fwd_server.web.messages_openapi import describe_messages
from fwd_server.web.usage_description import describe_usage

# The form msgspec expects for its ref_template.
_REF: Final = "#/components/schemas/{name}"
_SOURCES: Final = (
    ChatBody,
    schemas.ChatCompletion,
    schemas.ChatCompletionChunk,
    schemas.Error,
    EmbeddingsBody,
    schemas.EmbeddingList,
    schemas.ModelList,
    schemas.Health,
    schemas.Ready,
)

_ABOUT: Final = """\
One address for every model. Send an OpenAI chat completion with a `fwd_...` key; the gateway picks the provider from
the model's name, falls back when a provider fails, and reports what happened in the response headers.

Models are named `provider:model` (`openai:`, `anthropic:`, `google:`, `groq:`, `openrouter:`, `ollama:`, `echo:`).
`echo:` is built in and needs no provider key: the examples here use it, so they work as they stand.

A field that is not listed travels on to the provider; a field that a provider cannot take is named in
`x-fwd-dropped`, or refused with 400 when `x-fwd-strict: true` is sent.
"""

_STREAM: Final = """\
With `stream: true`: server-sent events, one `ChatCompletionChunk` in each `data:` line, a `: fwd {json}` comment with
the facts of the headers, then `data: [DONE]`. Lines that begin with `:` are comments. A stream that fails ends with
one `data: {"error": ...}` frame and **no** `[DONE]`.
"""

_SECONDS: Final[Json] = {"type": "number", "exclusiveMinimum": 0}
# name -> schema, what it says
_HEADERS_IN: Final[dict[str, tuple[Json, str]]] = {
    "x-fwd-fallback": ({"type": "string", "enum": ["none"]}, "Use the given model only: no other provider is tried."),
    "x-fwd-strict": ({"type": "boolean"}, "Answer 400 instead of dropping unsupported parameters."),
    "x-fwd-timeout": (_SECONDS, "Seconds for the whole call; at most the gateway's own setting, as for all of these."),
    "x-fwd-connect-timeout": (_SECONDS, "Seconds for a connection to a provider."),
    "x-fwd-first-byte-timeout": (_SECONDS, "Seconds for the head of a provider's answer, once the request is sent."),
    "x-fwd-first-event-timeout": (_SECONDS, "Seconds to a provider's first event of a stream."),
    "x-fwd-idle-timeout": (_SECONDS, "Seconds of silence in the middle of a provider's answer."),
    "x-fwd-dry-run": (
        {"type": "boolean"},
        "Answer with the exact upstream request (keys as `$NAME`), the plan and what would be dropped; send nothing.",
    ),
    "x-fwd-user": (
        {"type": "string", "maxLength": 128},
        "Your user; else `safety_identifier` or `user` of the body.",
    ),
    "x-fwd-tags": ({"type": "string"}, "Up to 8 `name=value` pairs for reports, comma-separated."),
    "x-fwd-session": (
        {"type": "string"},
        "What your conversation is known by, for models that keep a conversation at one deployment; never sent on.",
    ),
    "x-request-id": (
        {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "Your own id for the call; kept if it has this form.",
    ),
}
_HEADERS_OUT: Final[dict[str, tuple[Json, str]]] = {
    "x-request-id": ({"type": "string"}, "The call's id, also in the log. Include it when you report a problem."),
    "x-fwd-provider": ({"type": "string"}, "Who answered."),
    "x-fwd-model": ({"type": "string"}, "The model that answered, as its provider names it."),
    "x-fwd-attempts": ({"type": "integer", "minimum": 0}, "Number of attempts."),
    "x-fwd-dropped": (
        {"type": "string"},
        "Fields that the provider does not support and that were left out, comma-separated.",
    ),
    "x-fwd-changed": ({"type": "string"}, "Parameters that the gateway's own file set, comma-separated."),
    "x-fwd-skipped": (
        {"type": "string"},
        "Providers that were passed over, comma-separated, each with the reason: `anthropic=provider_not_configured`.",
    ),
    "deprecation": ({"type": "string"}, "The model will go (RFC 9745)."),
    "sunset": ({"type": "string"}, "The day it goes (RFC 8594)."),
    "x-fwd-replacement": ({"type": "string"}, "The model to use instead."),
    "x-fwd-upstream-request-id": ({"type": "string"}, "The provider's own id of the call."),
    "x-fwd-cost": ({"type": "string", "pattern": r"^\d+\.\d{9}$"}, "US dollars; absent if unknown."),
    "x-fwd-cost-kind": ({"type": "string", "enum": ["exact", "estimated", "unknown"]}, "How certain the cost is."),
    "server-timing": ({"type": "string"}, "Milliseconds: `queue`, `attempt`, `first`, `total`."),
    "retry-after": ({"type": "integer", "minimum": 0}, "Seconds to wait before trying again."),
    "retry-after-ms": ({"type": "integer", "minimum": 0}, "The same in milliseconds, where seconds are too coarse."),
    "x-should-retry": ({"type": "string", "enum": ["true", "false"]}, "Whether trying again makes sense."),
}
_RATE_LIMITS: Final = tuple(
    f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")
)
_ANSWER_HEADERS: Final = (
    "x-request-id",
    "x-fwd-provider",
    "x-fwd-model",
    "x-fwd-attempts",
    "x-fwd-dropped",
    "x-fwd-changed",
    "x-fwd-skipped",
    "deprecation",
    "sunset",
    "x-fwd-replacement",
    "x-fwd-upstream-request-id",
    "x-fwd-cost",
    "x-fwd-cost-kind",
    "server-timing",
    *_RATE_LIMITS,
)
_FAILURE_HEADERS: Final = (
    "x-request-id",
    "x-fwd-provider",
    "x-fwd-model",
    "x-fwd-attempts",
    "x-fwd-dropped",
    "x-fwd-changed",
    "x-fwd-skipped",
    "deprecation",
    "sunset",
    "x-fwd-replacement",
    "x-fwd-upstream-request-id",
    "x-fwd-cost",
    "x-fwd-cost-kind",
    "server-timing",
    *_RATE_LIMITS,
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
)
_GUARD_STATUSES: Final = (401, 421, 429, 431, 500)  # what every endpoint that asks for a key may answer


def build_document(version: str) -> Json:
    """The whole description, for the ``version`` of the gateway that serves it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fwd",
            "version": version,
            "summary": "A self-hosted gateway for large language models.",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This gateway"}],
        "tags": [
            {"name": "chat", "description": "Chat completions, whole or streamed"},
            {"name": "embeddings", "description": "Vectors of texts"},
            {"name": "messages", "description": "Anthropic's Messages API, for every provider"},
            {"name": "models", "description": "The models that can be called"},
            {"name": "usage", "description": "What this key may use, has used, and paid"},
            {"name": "operations", "description": "Whether the gateway is alive and can serve"},
            {"name": "pages", "description": "For people"},
        ],
        "security": [{"bearer": []}, {"apiKey": []}],
        "paths": _build_paths(),
        "components": _build_components(),
    }


def _build_components() -> Json:
    return {
        "schemas": _build_schemas(),
        "headers": _header_components(),
        "parameters": {name: _header_parameter(name, *row) for name, row in _HEADERS_IN.items()},
        "responses": {
            _failure_name(status): _failure_response(errors) for status, errors in failure_examples().items()
        },
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer fwd_...`"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "`x-api-key: fwd_...`"},
        },
    }


def _build_paths() -> Json:
    return {
        "/v1/chat/completions": {"post": _chat_operation()},
        "/v1/embeddings": {"post": _embeddings_operation()},
        **describe_messages(({"$ref": f"#/components/parameters/{name}"} for name in _HEADERS_IN), _header_refs),
        "/v1/models": {"get": _list_models()},
        "/v1/models/{id}": {"get": _get_model()},
        **describe_usage(_failure_refs(400, 404, 503, *_GUARD_STATUSES)),
        "/health": {"get": _health_operation()},
        "/ready": {"get": _ready_operation()},
        "/": {"get": _page_operation("statusPage", "Status page")},
        "/docs": {"get": _page_operation("swaggerPage", "This description in Swagger UI")},
        "/redoc": {"get": _page_operation("redocPage", "This description in ReDoc")},
        "/openapi.json": {"get": _document_operation()},
    }


# --- operations


def _chat_operation() -> Json:
    body = {"schema": _schema_ref("ChatBody"), "examples": examples.chat_requests()}
    return {
        "operationId": "createChatCompletion",
        "tags": ["chat"],
        "summary": "Create a chat completion",
        "description": "OpenAI's chat completion, answered by the provider that the model's name picks.",
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in _HEADERS_IN],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": _chat_answer(), **_failure_refs(*failure_examples())},
    }


def _chat_answer() -> Json:
    frames = {"anyOf": [_schema_ref("ChatCompletionChunk"), _schema_ref("Error")]}
    stream = {"type": "string", "description": _STREAM, "contentMediaType": "application/json", "contentSchema": frames}
    return {
        "description": f"The answer. {_STREAM}",
        "headers": _header_refs(_ANSWER_HEADERS),
        "content": {
            "application/json": {"schema": _schema_ref("ChatCompletion"), "examples": examples.chat_answers()},
            "text/event-stream": {"schema": stream, "example": examples.chat_stream()},
        },
    }


def _embeddings_operation() -> Json:
    body = {"schema": _schema_ref("EmbeddingsBody"), "examples": examples.embedding_requests()}
    answer = _json_answer("The vectors, in the order of the inputs.", "EmbeddingList", examples.embedding_answer())
    return {
        "operationId": "createEmbedding",
        "tags": ["embeddings"],
        "summary": "Create embeddings",
        "description": "Vectors of texts, by the named model only.",
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in _HEADERS_IN],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {**answer, "headers": _header_refs(_ANSWER_HEADERS)},
            **_failure_refs(*failure_examples()),
        },
    }


def _list_models() -> Json:
    return {
        "operationId": "listModels",
        "tags": ["models"],
        "summary": "List models",
        "description": "The models this caller can use; each `id` can be sent as `model`.",
        "responses": {
            "200": _json_answer("The models.", "ModelList", examples.model_list()),
            **_failure_refs(*_GUARD_STATUSES),
        },
    }


def _get_model() -> Json:
    id_ = {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The model's id. It may contain slashes and colons, plain or percent-encoded.",
        "schema": {"type": "string"},
        "example": "echo:",
    }
    return {
        "operationId": "getModel",
        "tags": ["models"],
        "summary": "Get a model",
        "parameters": [id_],
        "responses": {
            "200": _json_answer("The model.", "Model", examples.one_model()),
            **_failure_refs(404, *_GUARD_STATUSES),
        },
    }


def _health_operation() -> Json:
    return {
        "operationId": "getHealth",
        "tags": ["operations"],
        "summary": "The process is alive",
        "security": [],
        "responses": {"200": _json_answer("It lives.", "Health", {"status": "ok"})},
    }


def _ready_operation() -> Json:
    unready = _json_answer("It cannot serve: it is stopping, or no provider is on.", "Ready", {"status": "unready"})
    return {
        "operationId": "getReady",
        "tags": ["operations"],
        "summary": "The gateway can serve",
        "description": "Details are shown to loopback and to callers with a key; the status to everyone.",
        "security": [{}, {"bearer": []}, {"apiKey": []}],
        "responses": {
            "200": _json_answer("It can, perhaps degraded.", "Ready", examples.ready_answer()),
            "503": unready,
        },
    }


def _page_operation(operation: str, summary: str) -> Json:
    page = {
        "description": "A page.",
        "headers": _header_refs(["x-request-id"]),
        "content": {"text/html": {"schema": {"type": "string"}}},
    }
    return {
        "operationId": operation,
        "tags": ["pages"],
        "summary": summary,
        "security": [],
        "responses": {"200": page},
    }


def _document_operation() -> Json:
    answer = {
        "description": "This document.",
        "headers": _header_refs(["x-request-id"]),
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    return {
        "operationId": "getOpenapi",
        "tags": ["operations"],
        "summary": "This description",
        "security": [],
        "responses": {"200": answer},
    }


# --- answers


def _json_answer(text: str, schema: str, example: Json) -> Json:
    return {
        "description": text,
        "headers": _header_refs(["x-request-id"]),
        "content": {"application/json": {"schema": _schema_ref(schema), "example": example}},
    }


def _failure_refs(*statuses: int) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{_failure_name(status)}"} for status in sorted(statuses)}


def _failure_name(status: int) -> str:
    return f"Error{status}"


def _failure_response(errors: list[GatewayError]) -> Json:
    named: Json = {}
    for error in errors:
        name = error.code or error.type
        # One code may have several messages, and each is worth showing.
        name = f"{name}_{len(named)}" if name in named else name
        named[name] = {"summary": error.message, "value": error_object(error)}
    codes = ", ".join(f"`{code}`" for code in dict.fromkeys(e.code for e in errors) if code)
    return {
        "description": codes or errors[0].message,
        "headers": _header_refs(_FAILURE_HEADERS),
        "content": {"application/json": {"schema": _schema_ref("Error"), "examples": named}},
    }


# --- headers


def _header_components() -> Json:
    limits: dict[str, tuple[Json, str]] = {
        name: ({"type": "string"}, "The provider's own limit, if it reports one.") for name in _RATE_LIMITS
    }
    rows = {**_HEADERS_OUT, **limits}
    return {name: {"schema": schema, "description": text} for name, (schema, text) in rows.items()}


def _header_refs(names: tuple[str, ...] | list[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _header_parameter(name: str, schema: Json, text: str) -> Json:
    return {"name": name, "in": "header", "required": False, "description": text, "schema": schema}


# --- schemas


def _schema_ref(name: str) -> Json:
    return {"$ref": _REF.format(name=name)}


def _build_schemas() -> Json:
    # Generated from the classes that validate calls, so the document cannot promise another shape.
    _, found = msgspec.json.schema_components(_SOURCES, ref_template=_REF)
    components = {name: _tidy_schema(schema) for name, schema in found.items()}
    return {**components, **_part_schemas(), **usage_description.SCHEMAS}


def _tidy_schema(schema: Any) -> Any:
    """``schema`` without what only makes it longer (``"default": null``), and with Markdown for code."""
    if isinstance(schema, list):
        return [_tidy_schema(item) for item in schema]
    if isinstance(schema, str):
        return schema.replace("``", "`")
    if not isinstance(schema, dict):
        return schema
    return {key: _tidy_schema(value) for key, value in schema.items() if not (key == "default" and value is None)}


def _part_schemas() -> Json:
    """The schemas of a content part: one for each type, and one for the types that nobody here knows."""
    known = {
        "TextPart": _part_schema("TextPart", "text", {"type": "string"}, "Text."),
        "ImagePart": _part_schema("ImagePart", "image_url", _schema_ref("ImageUrl"), "An image."),
        "AudioPart": _part_schema("AudioPart", "input_audio", _schema_ref("InputAudio"), "Sound."),
        "FilePart": _part_schema("FilePart", "file", _schema_ref("FileInput"), "A file."),
        "RefusalPart": _part_schema(
            "RefusalPart", "refusal", {"type": "string"}, "A refusal, in an assistant message only."
        ),
    }
    types = [part["properties"]["type"]["const"] for part in known.values()]
    other = {
        "title": "OtherPart",
        "description": "Any other part: passed on to OpenAI-compatible providers, 400 for the others.",
        "type": "object",
        "properties": {"type": {"type": "string", "not": {"enum": types}}},
        "required": ["type"],
    }
    either = {
        "title": "Part",
        "description": "One part of a message's content; `type` says what it is.",
        "oneOf": [_schema_ref(name) for name in (*known, "OtherPart")],
    }
    return {"Part": either, **known, "OtherPart": other}


def _part_schema(name: str, type_: str, schema: Json, text: str) -> Json:
    marks = {
        "cache_control": {"type": "object", "description": "`ephemeral`, for providers with explicit prompt caches"},
        "prompt_cache_breakpoint": {"type": "object", "description": "OpenAI's name for the same"},
    }
    return {
        "title": name,
        "description": text,
        "type": "object",
        "properties": {"type": {"type": "string", "const": type_}, type_: schema, **marks},
        "required": ["type", type_],
    }
