"""A chat completion as a call of Claude's Messages API. https://platform.claude.com/docs/en/api/messages/create

The body is the same, byte for byte, for the same call: a prefix that changes is a prefix the provider's cache misses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from attrs import define, field

from fwd_server.providers import lenient, request_fields
from fwd_server.providers.anthropic import parts, schema, tools, traits, turns
from fwd_server.providers.anthropic.amend import lacks_thinking
from fwd_server.providers.anthropic.schema import Load
from fwd_server.providers.anthropic.traits import Traits
from fwd_server.providers.anthropic.turns import CallNames
from fwd_server.providers.base import merge
from fwd_server.values.chat import ChatRequest, Json
from fwd_server.values.errors import Refused

SAMPLING: Final = ("temperature", "top_p", "top_k")
# A whole answer longer than this is asked for as a stream: quiet connections are cut before it is done.
MOST_WHOLE_TOKENS: Final = 16_000
JSON_ONLY: Final = "Answer with one JSON object only."

_VERBATIM: Final = ("thinking", "cache_control", "speed")
_TAKEN: Final = (
    *SAMPLING,
    *_VERBATIM,
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "service_tier",
    "user",
    "safety_identifier",
    "anthropic",
)
_NOT_EXTRA: Final = ("model", "stream", "messages")  # these decide where the call goes and how it comes back
_MOST_MARKS: Final = 4

_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32000}
_LEAST_BUDGET: Final = 1024
_TIERS: Final = {
    "auto": "auto",
    "priority": "auto",
    "fast": "auto",
    "default": "standard_only",
    "flex": "standard_only",
}
_PHONE: Final = re.compile(r"[+\d\s()./-]{7,24}")
_MOST_USER_ID: Final = 256


@define
class Translation:
    """A call in Claude's words as it is built, and what the way back needs."""

    given: Json
    traits: Traits
    body: Json
    names: CallNames
    dropped: set[str] = field(factory=set)
    json_only: bool = False

    def lost(self) -> tuple[str, ...]:
        """The names of what was left out, in the caller's order."""
        names = request_fields.left_out(self.given, (*request_fields.taken_always(self.given), *_TAKEN), self.dropped)
        return (*names, *sorted(self.dropped - set(self.given)))


def translate(request: ChatRequest, model: str) -> Translation:
    """Build the body. Raises Refused for what Claude cannot do."""
    given = request.body
    _refuse(given)
    new = Translation(given, traits.of(model), {"model": model}, tools.names_of(given))
    _tokens(new)
    _turns(new)
    load = _output(new)
    _tools(new, load)
    _thinking(new)
    _sampling(new)
    _rest(new)
    _limit_marks(new)
    new.body = merge(merge(new.body, _extras(given)), request.extra_body)
    if request.stream or _long(new.body):
        new.body["stream"] = True
    return new


def _refuse(given: Json) -> None:
    if (given.get("n") or 1) > 1:
        raise Refused("anthropic gives one answer: 'n' must be 1.", param="n")
    if given.get("audio") is not None:
        raise Refused("anthropic cannot answer with sound: leave 'audio' out.", param="audio")
    request_fields.refuse_output(given, parts.PROVIDER)
    request_fields.refuse_hosted_search(given, parts.PROVIDER)


def _tokens(new: Translation) -> None:
    asked, most = request_fields.most_tokens(new.given), new.traits.max_output
    wanted = asked if asked is not None else most or traits.UNKNOWN_MAX_OUTPUT
    new.body["max_tokens"] = min(wanted, most) if most else wanted


def _turns(new: Translation) -> None:
    system, messages = turns.build(new.given["messages"], new.names, mid_system=new.traits.mid_system)
    if lenient.obj(new.given.get("response_format")).get("type") == "json_object":
        system = [*system, {"type": "text", "text": JSON_ONLY}]
        new.json_only = True
    if system:
        new.body["system"] = system
    new.body["messages"] = messages


def _output(new: Translation) -> Load:
    """The form of the answer; gives what its schema takes of the budget for strict schemas."""
    wanted = lenient.obj(new.given.get("response_format"))
    if wanted.get("type") != "json_schema":
        return Load()
    param = "response_format.json_schema"
    told = request_fields.needed(wanted, "json_schema", "response_format")
    given = request_fields.needed(told, "schema", param)
    written = schema.rewrite(given, f"{param}.schema", exact=told.get("strict") is True)
    new.dropped.update(written.closed)
    new.body["output_config"] = {"format": {"type": "json_schema", "schema": written.schema}}
    return schema.load(written.schema)


def _tools(new: Translation, load: Load) -> None:
    found = tools.build(new.given, new.names, new.dropped, load)
    chosen = tools.choice(new.given, new.names.tools) if found else None
    if not found:
        new.dropped.update(name for name in ("tool_choice", "parallel_tool_calls") if new.given.get(name) is not None)
        found = tools.from_history(new.body["messages"])
        chosen = {"type": "none"} if found else None
    if tools.forces(chosen) and not new.traits.forced_choice:
        new.dropped.add("tool_choice")
        chosen = {**(chosen or {}), "type": "auto"}
        chosen.pop("name", None)
    if found:
        new.body["tools"] = found
    if chosen:
        new.body["tool_choice"] = chosen


# -- thinking: https://platform.claude.com/docs/en/build-with-claude/thinking


def _thinking(new: Translation) -> None:
    effort = request_fields.effort_of(new.given)
    if effort == "none":
        _no_thinking(new)
    elif effort is not None:
        _THINK[new.traits.thinking](new, effort)
    asked = new.given.get("thinking")
    if asked is not None:
        new.body["thinking"] = asked
    if lenient.obj(new.body.get("thinking")).get("type") == "enabled" and (
        tools.forces(new.body.get("tool_choice")) or lacks_thinking(new.body["messages"])
    ):
        del new.body["thinking"]
        new.dropped.add("reasoning_effort" if asked is None else "thinking")


def _no_thinking(new: Translation) -> None:
    if new.traits.off is None:
        _set_effort(new, "low")
    elif new.traits.off:
        new.body["thinking"] = {"type": new.traits.off}


def _set_effort(new: Translation, effort: str) -> None:
    new.body["output_config"] = {**new.body.get("output_config", {}), "effort": effort}


def _adaptive(new: Translation, effort: str) -> None:
    wanted = _EFFORTS[effort]
    # The newest models leave the text of their thinking empty unless they are asked for a summary.
    new.body["thinking"] = {"type": "adaptive", "display": "summarized"}
    _set_effort(new, wanted if wanted in new.traits.efforts else "high")


def _budget(new: Translation, effort: str) -> None:
    budget = min(_BUDGETS[effort], new.body["max_tokens"] * 4 // 5)
    if budget < _LEAST_BUDGET:
        new.dropped.add("reasoning_effort")
    else:
        new.body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _cannot(new: Translation, effort: str) -> None:
    new.dropped.add("reasoning_effort")


_THINK: Final = {"adaptive": _adaptive, "enabled": _budget, "none": _cannot}


# -- the rest


def _sampling(new: Translation) -> None:
    """Older models only, and not beside thinking; of temperature and top_p the API takes one."""
    asked = {name: new.given[name] for name in SAMPLING if new.given.get(name) is not None}
    thinks = lenient.obj(new.body.get("thinking")).get("type") in ("enabled", "adaptive")
    if thinks or not new.traits.sampling:
        new.dropped.update(asked)
        return
    if "temperature" in asked:
        asked["temperature"] = max(0, min(1, asked["temperature"]))
        if asked.pop("top_p", None) is not None:
            new.dropped.add("top_p")
    new.body.update(asked)


def _rest(new: Translation) -> None:
    given, body = new.given, new.body
    stops = [stop for stop in request_fields.stops(given) if stop.strip()]
    if stops:
        body["stop_sequences"] = stops
    elif given.get("stop"):
        new.dropped.add("stop")
    user = _user_id(new)
    if user is not None:
        body["metadata"] = {"user_id": user}
    tier = _TIERS.get(given.get("service_tier") or "")
    if tier:
        body["service_tier"] = tier
    elif given.get("service_tier") is not None:
        new.dropped.add("service_tier")
    body.update({name: given[name] for name in _VERBATIM[1:] if given.get(name) is not None})


def _user_id(new: Translation) -> str | None:
    """Who asks: an opaque id. What looks like a person's address or number is not passed on."""
    for name in ("safety_identifier", "user"):
        value = new.given.get(name)
        if value and _is_opaque(value):
            return str(value)
        if value:
            new.dropped.add(name)
    return None


def _is_opaque(value: str) -> bool:
    person = "@" in value or _PHONE.fullmatch(value)
    return not person and len(value) <= _MOST_USER_ID and value.isprintable()


def _limit_marks(new: Translation) -> None:
    """The API takes four cache marks; the last ones reach furthest."""
    most = _MOST_MARKS - ("cache_control" in new.body)
    for block in list(_marked(new.body))[:-most]:
        del block["cache_control"]
        new.dropped.add("cache_control")


def _marked(body: Json) -> Iterator[Json]:
    """Every block with a mark, in the order of the prompt."""
    for item in (*body.get("tools", ()), *body.get("system", ()), *body["messages"]):
        for block in lenient.objects(item.get("content")):
            yield from (inner for inner in lenient.objects(block.get("content")) if "cache_control" in inner)
            if "cache_control" in block:
                yield block
        if "cache_control" in item:
            yield item


def _extras(given: Json) -> Json | None:
    extras = given.get("anthropic")
    if extras is None:
        return None
    if not isinstance(extras, dict):
        raise Refused("Invalid type for 'anthropic': expected an object.", code=None, param="anthropic")
    for name in _NOT_EXTRA:
        if name in extras:
            at = f"anthropic.{name}"
            raise Refused(f"'anthropic' must not have '{name}'; give it at the top level.", code=None, param=at)
    return extras


def _long(body: Json) -> bool:
    most: Any = body["max_tokens"]
    return isinstance(most, int) and most > MOST_WHOLE_TOKENS
