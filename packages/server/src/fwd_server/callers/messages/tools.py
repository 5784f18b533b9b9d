"""Tools of a Messages call in the chat shape: functions, those that are loaded later, and Anthropic's own.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview
"""

from __future__ import annotations

from typing import Final

from fwd_server.callers.messages.fields import (
    invalid,
    optional_list,
    optional_object,
    optional_text,
    read_object,
    read_text,
)
from fwd_server.callers.messages.names import ToolNames
from fwd_server.callers.messages.turns import each_result_block
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused

# Tools without a schema that the caller runs: only a model that was trained for them knows how to call them.
_CLIENT_RUN: Final = ("bash_", "text_editor_", "computer_", "memory_")
_CHOICES: Final = ("auto", "any", "tool", "none")


def write_tools(call: Json, names: ToolNames, dropped: set[str]) -> Json:
    """``tools``, ``tool_choice`` and ``parallel_tool_calls``, as far as there are any. Raises BadRequest or Refused."""
    choice = _read_choice(call)
    chosen = choice.get("name") if choice.get("type") == "tool" else None
    loaded = _loaded_names(call)
    functions: list[Json] = []
    offered: set[str] = set()
    for at, tool in enumerate(optional_list(call, "tools")):
        where = f"tools.{at}"
        if not isinstance(tool, dict):
            raise invalid(where, "Input should be a valid dictionary")
        if not _is_function(tool):
            _refuse_client_run(tool, where)
            dropped.add(f"tools.{optional_text(tool, 'name', where) or optional_text(tool, 'mcp_server_name', where)}")
            continue
        name = read_text(tool, "name", where)
        # A tool that was put off is sent once the conversation names it, or the caller asks for it by name.
        if loaded.get(name, not tool.get("defer_loading")) or name == chosen:
            functions.append(_function(tool, name, where, names))
            offered.add(name)
    if chosen is not None and chosen not in offered:
        raise invalid("tool_choice.name", f"there is no tool {chosen[:64]!r} that this provider could be offered")
    if not functions:
        return {}
    return {"tools": functions, **_chat_choice(choice, names)}


def _is_function(tool: Json) -> bool:
    return tool.get("type") in (None, "custom", "function") or isinstance(tool.get("input_schema"), dict)


def _refuse_client_run(tool: Json, where: str) -> None:
    kind = optional_text(tool, "type", where)
    if kind.startswith(_CLIENT_RUN):
        raise Refused(
            f"{where}.type: {kind[:64]!r} is a tool that only Claude knows how to call. Leave it out, or name a model "
            "of Anthropic's.",
            param=f"{where}.type",
        )


def _function(tool: Json, name: str, where: str, names: ToolNames) -> Json:
    function: Json = {"name": names.there(name)}
    description = optional_text(tool, "description", where)
    if description:
        function["description"] = description
    function["parameters"] = read_object(tool, "input_schema", where)
    if isinstance(tool.get("strict"), bool):
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def _loaded_names(call: Json) -> dict[str, bool]:
    """The conversation's changes to the tools: named by a reference or an addition, or removed. The last one counts."""
    loaded: dict[str, bool] = {}

    def see(block: Json) -> None:
        kind, tool = block.get("type"), block.get("tool")
        if kind == "tool_reference" and isinstance(block.get("tool_name"), str):
            loaded[block["tool_name"]] = True
        elif kind in ("tool_addition", "tool_removal") and isinstance(tool, dict):
            name = tool.get("name") or tool.get("tool_name")
            if isinstance(name, str):
                loaded[name] = kind == "tool_addition"
        # The answer of Anthropic's own search for tools.
        for reference in block.get("tool_references") or ():
            if isinstance(reference, dict):
                see(reference)

    each_result_block(call, see)
    return loaded


def _read_choice(call: Json) -> Json:
    choice = optional_object(call, "tool_choice")
    if choice and read_text(choice, "type", "tool_choice") not in _CHOICES:
        raise invalid("tool_choice.type", "Input should be 'auto', 'any', 'tool' or 'none'")
    if choice.get("type") == "tool":
        read_text(choice, "name", "tool_choice")
    return choice


def _chat_choice(choice: Json, names: ToolNames) -> Json:
    kind = choice.get("type")
    if kind is None:
        return {}
    words = {"auto": "auto", "any": "required", "none": "none"}
    named = {"type": "function", "function": {"name": names.there(str(choice.get("name")))}}
    chat: Json = {"tool_choice": words.get(kind, named)}
    if choice.get("disable_parallel_tool_use") is True:
        chat["parallel_tool_calls"] = False
    return chat
