"""Everything of a Messages call but its conversation and tools: limits, sampling, thinking, the form of the answer."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from fwd_server.callers.messages.fields import (
    invalid,
    one_of,
    optional_list,
    optional_number,
    optional_object,
    optional_text,
    read_object,
    read_text,
)
from fwd_server.values.chat import Json
from fwd_server.values.errors import Refused
from fwd_server.values.foreign import TargetTraits

MOST_STOPS: Final = 4
SAMPLING: Final = ("temperature", "top_p", "top_k")
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
_LONGEST_USER: Final = 128
_THINKING: Final = ("enabled", "adaptive", "disabled", "between_tools")
# A budget in tokens as the effort that thinks about as much.
_BUDGETS: Final = ((2048, "low"), (8192, "medium"), (24576, "high"))
# Read elsewhere, or of no meaning for the answer: hints for caches and displays, and what SDKs and clients count.
_SILENT: Final = frozenset(
    {
        *("model", "messages", "max_tokens", "system", "stream", "tools", "tool_choice", "thinking", "output_config"),
        *("stop_sequences", "metadata", "context_management", "service_tier", "cache_control", "diagnostics", "betas"),
        *SAMPLING,
    }
)


def write_options(call: Json, target: TargetTraits, dropped: set[str]) -> Json:
    """The fields of the chat shape. Raises BadRequest or Refused."""
    if optional_list(call, "mcp_servers"):
        raise Refused(
            "mcp_servers: only Anthropic connects to MCP servers by itself. Connect to them in the client, and send "
            "their tools.",
            param="mcp_servers",
        )
    dropped.update(name for name, value in call.items() if name not in _SILENT and not _asks_nothing(value))
    most = call.get("max_tokens")
    chat: Json = {} if most is None else {target.cap: min(most, target.max_output or most)}
    effort = _write_effort(call, target, dropped, chat)
    _write_sampling(call, target, dropped, chat, effort)
    _write_stops(call, dropped, chat)
    _write_format(call, chat)
    _write_tier(call, target, dropped, chat)
    _write_user(call, target, chat)
    edits = optional_list(optional_object(call, "context_management"), "edits", "context_management")
    # Thinking of earlier turns is not sent at all, so clearing it is done already.
    if any(not str(edit.get("type", "")).startswith("clear_thinking_") for edit in edits if isinstance(edit, dict)):
        dropped.add("context_management")
    return chat


def check_options(call: Json) -> None:
    """Check what is required by every provider. Raises BadRequest."""
    optional_number(call, "temperature", 0, 1)
    optional_number(call, "top_p", 0, 1)
    optional_number(call, "top_k", 0, 2**31)


# -- thinking


def _write_effort(call: Json, target: TargetTraits, dropped: set[str], chat: Json) -> str | None:
    asked, name = _asked_effort(call)
    if asked is None:
        return None
    if not target.reasons:
        if asked != "none":
            dropped.add(name)
        return None
    chat["reasoning_effort"] = asked
    return asked


def _asked_effort(call: Json) -> tuple[str | None, str]:
    """The effort in OpenAI's words, and the field that asks for it."""
    thinking = optional_object(call, "thinking")
    kind = optional_text(thinking, "type", "thinking")
    if thinking and kind not in _THINKING:
        raise invalid("thinking.type", f"Input should be {one_of(_THINKING)}")
    if kind in ("disabled", "between_tools"):
        return "none", "thinking"
    effort = _effort_of(call, "")
    for at, turn in enumerate(optional_list(call, "messages")):
        # A message of the system may set it for what follows, and the last one counts.
        if isinstance(turn, dict) and turn.get("role") == "system":
            effort = _effort_of(turn, f"messages.{at}.") or effort
    if effort:
        return effort, "output_config.effort"
    if kind == "adaptive":
        return "medium", "thinking"
    if kind == "enabled":
        return _effort_of_budget(thinking.get("budget_tokens")), "thinking"
    return None, ""


def _effort_of(owner: Json, where: str) -> str:
    config = optional_object(owner, "output_config", where.rstrip("."))
    effort = optional_text(config, "effort", f"{where}output_config")
    if effort and effort not in EFFORTS:
        raise invalid(f"{where}output_config.effort", f"Input should be {one_of(EFFORTS)}")
    return effort


def _effort_of_budget(budget: object) -> str:
    if isinstance(budget, bool) or not isinstance(budget, int):
        raise invalid("thinking.budget_tokens", "Input should be a valid integer")
    return next((effort for below, effort in _BUDGETS if budget < below), "xhigh")


# -- the rest


def _write_sampling(call: Json, target: TargetTraits, dropped: set[str], chat: Json, effort: str | None) -> None:
    for name in SAMPLING:
        value = call.get(name)
        if value is None:
            continue
        # OpenAI's reasoning models answer 400 to these fields.
        thinks = target.reasons and not target.samples and effort != "none"
        if (name == "top_k" and "top_k" not in target.takes) or thinks:
            dropped.add(name)
        else:
            chat[name] = value


def _write_stops(call: Json, dropped: set[str], chat: Json) -> None:
    stops = optional_list(call, "stop_sequences")
    if not all(isinstance(stop, str) for stop in stops):
        raise invalid("stop_sequences", "Input should be a valid list of strings")
    if stops:
        # OpenAI takes at most four: https://platform.openai.com/docs/api-reference/chat/create
        chat["stop"] = stops[:MOST_STOPS]
    if len(stops) > MOST_STOPS:
        dropped.add("stop_sequences")


def _write_format(call: Json, chat: Json) -> None:
    wanted = optional_object(optional_object(call, "output_config"), "format", "output_config")
    if not wanted:
        return
    if read_text(wanted, "type", "output_config.format") != "json_schema":
        raise invalid("output_config.format.type", "Input should be 'json_schema'")
    schema = read_object(wanted, "schema", "output_config.format")
    described = {"name": "output", "schema": schema, "strict": _is_closed(schema)}
    chat["response_format"] = {"type": "json_schema", "json_schema": described}


def _is_closed(schema: Any) -> bool:
    """Whether every object in a schema is closed and needs all its keys, which OpenAI's strict mode demands."""
    nodes = [schema]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        if not isinstance(node, dict):
            continue
        properties = node.get("properties")
        if node.get("type") == "object" or isinstance(properties, dict):
            keys = set(properties) if isinstance(properties, dict) else set()
            required = node.get("required")
            if node.get("additionalProperties") is not False or keys != set(
                required if isinstance(required, list) else ()
            ):
                return False
        nodes += node.values()
    return True


def _write_tier(call: Json, target: TargetTraits, dropped: set[str], chat: Json) -> None:
    tier = optional_text(call, "service_tier", "")
    if "service_tier" in target.takes and tier in ("auto", "standard_only"):
        chat["service_tier"] = "auto" if tier == "auto" else "default"
    elif tier not in ("", "auto"):
        dropped.add("service_tier")


def _write_user(call: Json, target: TargetTraits, chat: Json) -> None:
    user = optional_text(optional_object(call, "metadata"), "user_id", "metadata")
    if user and "safety_identifier" in target.takes:
        # Long ids (Claude Code's is JSON) are refused by OpenAI; a digest still tells one user from another.
        digest = hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()
        chat["safety_identifier"] = user if len(user) <= _LONGEST_USER else digest


def _asks_nothing(value: object) -> bool:
    return value is None or value is False or value == "auto" or (isinstance(value, (str, list, dict)) and not value)
