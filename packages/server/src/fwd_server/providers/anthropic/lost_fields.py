"""What of a call has no counterpart at Claude: nothing is left out in silence, at any depth.

The names are paths in the caller's body, as ``messages[2].name``. A field without a value, or with an empty one, says
nothing, so nothing is lost with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from fwd_server.providers import lenient
from fwd_server.providers.anthropic import parts, thoughts
from fwd_server.providers.unread_fields import KnownFields, unread_fields
from fwd_server.values.chat import Json

_MARK: Final[KnownFields] = {"type": None, "mode": None, "ttl": None}
_MARKS: Final[KnownFields] = {"cache_control": _MARK, "prompt_cache_breakpoint": _MARK}
_PART_FIELDS: Final[Mapping[str, KnownFields]] = {
    "text": {"text": None},
    "refusal": {"refusal": None},
    "image_url": {"image_url": {"url": None}},
    "file": {"file": {"file_data": None, "file_id": None, "filename": None}},
}
_CALL: Final[KnownFields] = {"id": None, "type": None, "index": None, "function": {"name": None, "arguments": None}}
_MESSAGE: Final[KnownFields] = {"role": None, "content": None, **_MARKS}
_BY_ROLE: Final[Mapping[str, KnownFields]] = {
    "assistant": {**_MESSAGE, "refusal": None, "tool_calls": _CALL, "reasoning_details": None},
    "tool": {**_MESSAGE, "tool_call_id": None, "name": None},
}
_FUNCTION: Final[KnownFields] = {"name": None, "description": None, "parameters": None, "strict": None, **_MARKS}
_TOOL: Final[KnownFields] = {"type": None, "function": _FUNCTION, **_MARKS}
_NAMED: Final[KnownFields] = {"type": None, "function": {"name": None}}
_BODY: Final[KnownFields] = {
    "tools": _TOOL,
    "tool_choice": {**_NAMED, "allowed_tools": {"mode": None, "tools": _NAMED}},
    # The schema's name is a label for logs: neither OpenAI's models nor anybody else's answer differently for it.
    "response_format": {
        "type": None,
        "json_schema": {"name": None, "description": None, "schema": None, "strict": None},
    },
    "stream_options": {"include_usage": None},
}


def lost_fields(body: Json) -> Iterator[str]:
    """The paths of what the translation does not read, below the fields that it does."""
    yield from unread_fields({name: body[name] for name in _BODY if name in body}, _BODY)
    functions: dict[str, str] = {}  # the name of every function called so far, by the id of the call
    for index, message in enumerate(body["messages"]):
        where = f"messages[{index}]"
        for call in lenient.objects(message.get("tool_calls")):
            functions[lenient.text(call.get("id"))] = lenient.text(lenient.obj(call.get("function")).get("name"))
        yield from unread_fields(message, _BY_ROLE.get(message["role"], _MESSAGE), where, _is_said_twice)
        yield from _lost_name(message, functions, where)
        yield from _lost_parts(message, where)
        yield from _lost_thinking(message, where)
    for where, mark in _marks(body):
        if mark.get("ttl") is not None and parts.cache_ttl(mark) is None:
            yield f"{where}.ttl"


def _is_said_twice(message: Json, name: str) -> bool:
    """Whether a field of a message says what another one says too: readable thinking beside its signed form."""
    if name not in ("reasoning_content", "reasoning"):
        return False
    return any(
        thoughts.block_of(entry) is not None for _, entry in thoughts.whole_entries(message.get("reasoning_details"))
    )


def _lost_name(message: Json, functions: Mapping[str, str], where: str) -> Iterator[str]:
    """The name on a result, unless it is that of the function that was called."""
    name = message.get("name")
    if message["role"] == "tool" and name and functions.get(lenient.text(message.get("tool_call_id"))) != name:
        yield f"{where}.name"


def _lost_parts(message: Json, where: str) -> Iterator[str]:
    for index, part in enumerate(lenient.objects(message.get("content"))):
        at, file = f"{where}.content[{index}]", lenient.obj(part.get("file"))
        shape = {"type": None, **_PART_FIELDS.get(lenient.text(part.get("type")), {}), **_MARKS}
        yield from unread_fields(part, shape, at)
        if part.get("type") == "file" and file.get("file_data") and file.get("file_id"):
            yield f"{at}.file.file_id"
        if part.get("type") == "file" and file.get("filename") and not parts.has_title(file):
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
