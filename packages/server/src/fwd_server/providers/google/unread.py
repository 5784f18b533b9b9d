"""What Gemini is not sent of a call, below its top level: every field is named by its path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fwd_server.providers.google.schema import KEYWORDS
from fwd_server.providers.google.traits import Traits
from fwd_server.providers.lenient import obj, objects
from fwd_server.providers.unread_fields import (
    ASSISTANT_FIELDS,
    CALL_FIELDS,
    MESSAGE_FIELDS,
    PART_FIELDS,
    REQUEST_FIELDS,
    RESULT_FIELDS,
    KnownFields,
    unread_fields,
)
from fwd_server.values.chat import Json

_SIGNED: Final[KnownFields] = {"extra_content": {"google": {"thought_signature": None, "thought_signatures": None}}}
_ANSWER: Final[KnownFields] = {**ASSISTANT_FIELDS, **_SIGNED, "tool_calls": {**CALL_FIELDS, **_SIGNED}}
# Gemini never accepts its thoughts back: the signatures represent them.
_OWN_ANSWER: Final[KnownFields] = {**_ANSWER, "reasoning_content": None, "reasoning": None}
# Older models have no resolution of a picture, and no model has one within a function's response.
_WITHOUT_DETAIL: Final[KnownFields] = {"content": {**PART_FIELDS, "image_url": {"url": None}}}


def parts_of_fields(body: Json, traits: Traits) -> Iterator[str]:
    """The paths of what is left out of messages, tools and formats whose other fields are sent."""
    for index, message in enumerate(objects(body.get("messages"))):
        yield from unread_fields(message, _known_fields(message, traits), f"messages[{index}]")
        if message.get("role") in ("system", "developer"):
            yield from _media_of_system(message, f"messages[{index}].content")
    for name, known in REQUEST_FIELDS.items():
        yield from unread_fields(body.get(name), known, name)
    for index, tool in enumerate(objects(body.get("tools"))):
        parameters = obj(tool.get("function")).get("parameters")
        yield from _unread_keywords(parameters, f"tools[{index}].function.parameters")
    wanted = obj(obj(body.get("response_format")).get("json_schema")).get("schema")
    yield from _unread_keywords(wanted, "response_format.json_schema.schema")


def _unread_keywords(schema: object, where: str) -> Iterator[str]:
    """The paths of the keywords of a JSON Schema that are neither kept nor described in words (``schema``)."""
    if isinstance(schema, list):
        for index, arm in enumerate(schema):
            yield from _unread_keywords(arm, f"{where}[{index}]")
    for name, value in obj(schema).items():
        at = f"{where}.{name[:64]}"
        if name not in KEYWORDS:
            yield at
        elif name in ("properties", "$defs", "definitions"):
            for key, inner in obj(value).items():
                yield from _unread_keywords(inner, f"{at}.{key[:64]}")
        elif name in ("items", "prefixItems", "additionalProperties", "anyOf", "oneOf", "allOf"):
            yield from _unread_keywords(value, at)


def _known_fields(message: Json, traits: Traits) -> KnownFields:
    role = message.get("role")
    if role == "assistant":
        known = _OWN_ANSWER if _is_signed(message) else _ANSWER
    else:
        known = RESULT_FIELDS if role == "tool" else MESSAGE_FIELDS
    return {**known, **_WITHOUT_DETAIL} if role == "tool" or not traits.newer else known


def _is_signed(message: Json) -> bool:
    """Whether an earlier answer is Gemini's own: it, or one of its calls, has a signature."""
    return any(
        obj(obj(signed.get("extra_content")).get("google")).get("thought_signature")
        for signed in (message, *objects(message.get("tool_calls")))
    )


def _media_of_system(message: Json, where: str) -> Iterator[str]:
    """Instructions are texts."""
    for index, part in enumerate(objects(message.get("content"))):
        if part.get("type") not in ("text", "refusal"):
            yield f"{where}[{index}]"
