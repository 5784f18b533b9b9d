"""Tools and the choice among them.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview
"""

from __future__ import annotations

from typing import Final

from fwd_server.providers import lenient, request_fields
from fwd_server.providers.anthropic import parts, schema
from fwd_server.providers.anthropic.property_names import rename_schema, renaming_of
from fwd_server.providers.anthropic.schema import Load
from fwd_server.providers.anthropic.tool_input import EMPTY, as_object
from fwd_server.providers.anthropic.turns import CallNames
from fwd_server.providers.tool_choice import ToolChoice, read_tool_choice
from fwd_server.providers.tool_names import NameTranslator
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused

STRICT: Final = "tools.strict"  # as what a tool's lost ``strict`` is reported

# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#schema-complexity-limits
_MOST_STRICT: Final = 20
_MOST: Final = Load(optional=24, unions=16)

_MODES: Final = {"auto": "auto", "none": "none", "required": "any"}


def names_of(body: Json) -> CallNames:
    """The names of the tools and of their properties. Raises Refused for tools that are no functions."""
    functions = request_fields.function_definitions(body, parts.PROVIDER)
    names = NameTranslator()
    # Before anything else uses a name: a bad name in the conversation must not take a good one of the tools.
    names.reserve_names(function["name"] for function in functions)
    renamings = {
        names.provider_name(function["name"]): renaming_of(function.get("parameters")) for function in functions
    }
    return CallNames(names, {name: renaming for name, renaming in renamings.items() if renaming is not None})


def build_tools(body: Json, names: CallNames, dropped: set[str], other_load: Load) -> list[Json]:
    """The tools, those the choice allows; ``other_load`` is what the answer's own schema takes of the budget."""
    functions = request_fields.function_definitions(body, parts.PROVIDER)
    wanted = read_tool_choice(body, parts.PROVIDER)
    allowed = wanted.names if wanted is not None and _is_list(body) else None
    chosen = [
        (tool, function)
        for tool, function in zip(lenient.objects(body.get("tools")), functions, strict=True)
        if allowed is None or function["name"] in allowed
    ]
    if functions and not chosen:
        raise Refused("'tool_choice' allows none of the 'tools'.", code=None, param="tool_choice")
    keep = _strict_places(chosen, other_load)
    if any(function.get("strict") and i not in keep for i, (_, function) in enumerate(chosen)):
        dropped.add(STRICT)
    return [_build_tool(tool, function, names, strict=i in keep) for i, (tool, function) in enumerate(chosen)]


def from_history(turns: list[Json]) -> list[Json]:
    """Tools with the names seen in the conversation: the API wants some wherever tool blocks are."""
    used = (block for turn in turns for block in lenient.objects(turn["content"]) if block["type"] == "tool_use")
    return [{"name": name, "input_schema": dict(EMPTY)} for name in dict.fromkeys(block["name"] for block in used)]


def build_choice(body: Json, names: NameTranslator) -> Json | None:
    """The choice among the tools; None is the API's default, which is to leave it to the model."""
    wanted = read_tool_choice(body, parts.PROVIDER)
    found = None if wanted is None else _choice_type(wanted, body, names)
    if body.get("parallel_tool_calls") is False and body.get("tools") and found != {"type": "none"}:
        return {**(found or {"type": "auto"}), "disable_parallel_tool_use": True}
    return found


def _choice_type(wanted: ToolChoice, body: Json, names: NameTranslator) -> Json:
    if wanted.mode == "required" and len(wanted.names) == 1 and not _is_list(body):
        return {"type": "tool", "name": names.provider_name(wanted.names[0])}
    return {"type": _MODES[wanted.mode]}


def _is_list(body: Json) -> bool:
    """Whether the choice lists the tools that are allowed; the others are not sent then."""
    return lenient.obj(body.get("tool_choice")).get("type") == "allowed_tools"


def forces_call(chosen: Json | None) -> bool:
    """Whether a choice makes the model call a tool."""
    return chosen is not None and chosen["type"] in ("any", "tool")


def _build_tool(tool: Json, function: Json, names: CallNames, *, strict: bool) -> Json:
    built: Json = {"name": names.tools.provider_name(function["name"])}
    if function.get("description"):
        built["description"] = function["description"]
    built["input_schema"] = _input_schema(function, names, strict=strict)
    if strict:
        built["strict"] = True
    return parts.with_mark(built, tool if parts.cache_mark(tool) else function)


def _input_schema(function: Json, names: CallNames, *, strict: bool) -> Json:
    """A function's parameters; a strict one without any is closed."""
    parameters = function.get("parameters")
    if not parameters:
        return {**EMPTY, "additionalProperties": False} if strict else dict(EMPTY)
    whole, _ = as_object(parameters)
    renaming = names.properties.get(names.tools.provider_name(function["name"]))
    return whole if renaming is None else rename_schema(whole, renaming)


def _can_be_strict(function: Json) -> bool:
    """Whether the subset can say exactly what the parameters say."""
    whole, is_exact = as_object(function.get("parameters") or {**EMPTY, "additionalProperties": False})
    return is_exact and schema.fits_subset(whole)


def _strict_places(chosen: list[tuple[Json, Json]], load: Load) -> set[int]:
    """Which tools stay strict: those the subset can say, less the widest ones while the budget is exceeded."""
    loads = {
        i: schema.load_of(function.get("parameters"))
        for i, (_, function) in enumerate(chosen)
        if function.get("strict") and _can_be_strict(function)
    }
    # The widest tools cost most of the budget, so dropping their strict keeps the most tools strict.
    while loads and not _fits_budget(len(loads), sum(loads.values(), load)):
        del loads[max(loads, key=lambda i: (loads[i].optional, loads[i].unions, i))]
    return set(loads)


def _fits_budget(count: int, load: Load) -> bool:
    return count <= _MOST_STRICT and load.optional <= _MOST.optional and load.unions <= _MOST.unions
