"""The fields of a call that have no counterpart at Claude: none is dropped silently, at any depth.

The names are paths in the caller's body, as ``messages[2].name``. A field without a value, or with an empty one, says
nothing, so nothing is lost with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fwd_server.providers import lenient
from fwd_server.providers.anthropic import parts, thoughts
from fwd_server.providers.unread_fields import (
    CALL_FIELDS,
    CHOICE_FIELDS,
    FORMAT_FIELDS,
    OPTION_FIELDS,
    KnownFields,
    sum_up,
    unread_fields,
)
from fwd_server.values.chat import Json

_MARK: Final[KnownFields] = {"type": None, "mode": None, "ttl": None}
_MARKS: Final[KnownFields] = {"cache_control": _MARK, "prompt_cache_breakpoint": _MARK}
# By the type of a part: a field of another type is not read there. Claude has one resolution for images.
_PARTS: Final[Mapping[str, KnownFields]] = {
    "text": {"text": None},
    "refusal": {"refusal": None},
    "image_url": {"image_url": {"url": None}},
    "file": {"file": {"file_data": None, "file_id": None, "filename": None}},
}
_MESSAGE: Final[KnownFields] = {"role": None, "content": None, **_MARKS}
# Annotations only point at places in the text, which arrives whole.
_ASSISTANT: Final[KnownFields] = {
    **_MESSAGE,
    "refusal": None,
    "tool_calls": CALL_FIELDS,
    "reasoning_details": None,
    "annotations": None,
}
_RESULT: Final[KnownFields] = {**_MESSAGE, "tool_call_id": None, "name": None}
_BY_ROLE: Final[Mapping[str, KnownFields]] = {"assistant": _ASSISTANT, "tool": _RESULT}
_FUNCTION: Final[KnownFields] = {"name": None, "description": None, "parameters": None, "strict": None, **_MARKS}
_BODY: Final[Mapping[str, KnownFields]] = {
    "tools": {"type": None, "function": _FUNCTION, **_MARKS},
    "tool_choice": CHOICE_FIELDS,
    "response_format": FORMAT_FIELDS,
    "stream_options": OPTION_FIELDS,
}
# Thinking to be read, which says what signed thinking says; Claude takes only that back.
_READABLE: Final[KnownFields] = {"reasoning_content": None, "reasoning": None}


def lost_fields(body: Json, whole: Iterable[str]) -> tuple[str, ...]:
    """The paths of what the translation does not read, after the names of ``whole`` fields that it lost."""
    return sum_up([*whole, *_parts_of_fields(body)])


def _parts_of_fields(body: Json) -> Iterator[str]:
    for name, known in _BODY.items():
        yield from unread_fields(body.get(name), known, name)
    functions: dict[str, str] = {}  # the name of every function called so far, by the id of the call
    for index, message in enumerate(body["messages"]):
        where = f"messages[{index}]"
        for call in lenient.objects(message.get("tool_calls")):
            functions[lenient.text(call.get("id"))] = lenient.text(lenient.obj(call.get("function")).get("name"))
        yield from unread_fields(message, _known_fields(message), where)
        yield from _lost_name(message, functions, where)
        yield from _lost_parts(message, where)
        yield from _lost_thinking(message, where)
    # A time that nobody knows falls back to the API's default of five minutes.
    for where, mark in _marks(body):
        if mark.get("ttl") is not None and parts.cache_ttl(mark) is None:
            yield f"{where}.ttl"


def _known_fields(message: Json) -> KnownFields:
    known = _BY_ROLE.get(message["role"], _MESSAGE)
    entries = thoughts.whole_entries(message.get("reasoning_details"))
    return {**known, **_READABLE} if any(thoughts.block_of(entry) is not None for _, entry in entries) else known


def _lost_name(message: Json, functions: Mapping[str, str], where: str) -> Iterator[str]:
    """The name on a result, unless it is that of the function that was called."""
    name = message.get("name")
    if message["role"] == "tool" and name and functions.get(lenient.text(message.get("tool_call_id"))) != name:
        yield f"{where}.name"


def _lost_parts(message: Json, where: str) -> Iterator[str]:
    for index, part in enumerate(lenient.objects(message.get("content"))):
        at, kind, file = f"{where}.content[{index}]", lenient.text(part.get("type")), lenient.obj(part.get("file"))
        yield from unread_fields(part, {"type": None, **_PARTS.get(kind, {}), **_MARKS}, at)
        if kind == "file" and file.get("file_data") and file.get("file_id"):
            yield f"{at}.file.file_id"  # one file is sent, and the bytes are what is sure to be there
        if kind == "file" and file.get("filename") and not parts.has_title(file):
            yield f"{at}.file.filename"


def _lost_thinking(message: Json, where: str) -> Iterator[str]:
    """Thinking that Claude cannot read back, or that would stand alone in its turn."""
    details = message.get("reasoning_details")
    if message["role"] != "assistant" or not details:
        return
    if not (message.get("content") or message.get("tool_calls") or message.get("refusal")):
        yield f"{where}.reasoning_details"
        return
    for index, entry in thoughts.whole_entries(details):
        if thoughts.block_of(entry) is None:
            yield f"{where}.reasoning_details[{index}]"


def _marks(body: Json) -> Iterator[tuple[str, Json]]:
    """Every mark of the prompt cache, with its path."""
    items = [(f"tools[{i}]", tool) for i, tool in enumerate(lenient.objects(body.get("tools")))]
    items += [(f"{where}.function", lenient.obj(tool.get("function"))) for where, tool in items]
    for index, message in enumerate(body["messages"]):
        items.append((f"messages[{index}]", message))
        content = enumerate(lenient.objects(message.get("content")))
        items += [(f"messages[{index}].content[{i}]", part) for i, part in content]
    for where, item in items:
        yield from ((f"{where}.{name}", item[name]) for name in _MARKS if isinstance(item.get(name), dict))
