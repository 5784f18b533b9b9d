"""Which tools a model may or must call, whichever shape the caller wrote it in.

OpenAI has two APIs, and others have theirs; clients mix them up. A choice is read as it is meant, or refused by its
name: it never becomes a function that nobody named, and never vanishes.
https://platform.openai.com/docs/api-reference/chat/create#chat-create-tool_choice
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from fwd_server.providers.lenient import obj, text
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused

_MODES: Final = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
_FUNCTIONS: Final = ("function", "tool", "")


@frozen
class ToolChoice:
    """``mode`` is "auto", "none" or "required"; ``names`` are the functions that may be called, () for all of them."""

    mode: str
    names: tuple[str, ...] = ()


def read_tool_choice(body: Json, provider: str) -> ToolChoice | None:
    """The choice of a call that has tools; None where it says nothing about it. Raises Refused."""
    choice = body.get("tool_choice")
    if choice is None or not body.get("tools"):
        return None
    if isinstance(choice, str):
        return ToolChoice(_mode(choice, provider, repr(choice[:64])))
    kind = text(choice.get("type"))
    if kind == "allowed_tools":
        return _allowed_tools(choice, provider)
    if kind in _FUNCTIONS and (kind or _function_name(choice)):
        return ToolChoice("required", (_needed_name(choice),))
    return ToolChoice(_mode(kind, provider, f"type {choice.get('type')!r}"))


def _allowed_tools(choice: Json, provider: str) -> ToolChoice:
    # The Responses API writes mode and tools beside the type, Chat Completions into an object.
    allowed = obj(choice.get("allowed_tools")) or choice
    tools = allowed.get("tools")
    if not isinstance(tools, list) or not tools:
        raise _without_name("'allowed_tools' needs a list of functions in 'tools'")
    mode = _mode(allowed.get("mode") or "auto", provider, f"mode {allowed.get('mode')!r}")
    return ToolChoice(mode, tuple(_allowed_name(tool, provider) for tool in tools))


def _allowed_name(tool: Any, provider: str) -> str:
    if isinstance(tool, str) and tool:
        return tool
    if text(obj(tool).get("type")) not in _FUNCTIONS:
        raise _not_taken(f"a tool of type {obj(tool).get('type')!r}", provider)
    return _needed_name(obj(tool))


def _needed_name(choice: Json) -> str:
    name = _function_name(choice)
    if not name:
        raise _without_name("it does not name a function")
    return name


def _function_name(choice: Json) -> str:
    return text(obj(choice.get("function")).get("name")) or text(choice.get("name"))


def _mode(word: Any, provider: str, shown: str) -> str:
    if not isinstance(word, str) or word not in _MODES:
        raise _not_taken(shown, provider)
    return _MODES[word]


def _without_name(problem: str) -> Refused:
    return Refused(f"Invalid value for 'tool_choice': {problem}.", code=None, param="tool_choice")


def _not_taken(shown: str, provider: str) -> Refused:
    return Refused(
        f"{provider} does not take 'tool_choice' {shown}; it takes 'auto', 'none', 'required', a function, or "
        "'allowed_tools' of functions.",
        param="tool_choice",
    )
