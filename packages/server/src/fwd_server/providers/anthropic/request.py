"""A chat completion as a call of Claude's Messages API. https://platform.claude.com/docs/en/api/messages/create

The body is the same, byte for byte, for the same call: a prefix that changes is a prefix the provider's cache misses.
"""

from __future__ import annotations

import re
from typing import Any, Final

from fwd_server.providers import lenient, request_fields
from fwd_server.providers.anthropic import parts, schema, tools, traits, turns
from fwd_server.providers.anthropic.cache_marks import settle_marks
from fwd_server.providers.anthropic.lost_fields import lost_fields
from fwd_server.providers.anthropic.schema import Load
from fwd_server.providers.anthropic.thinking import set_thinking
from fwd_server.providers.anthropic.translation import Translation
from fwd_server.providers.base import merge_body
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

_TIERS: Final = {
    "auto": "auto",
    "priority": "auto",
    "fast": "auto",
    "default": "standard_only",
    "flex": "standard_only",
}
_PHONE: Final = re.compile(r"[+\d\s()./-]{7,24}")
_MOST_USER_ID: Final = 256


def translate_call(request: ChatRequest, model: str) -> Translation:
    """Build the body. Raises Refused for what Claude cannot do."""
    given = request.body
    _refuse_impossible(given)
    new = Translation(given, traits.traits_of(model), {"model": model}, tools.names_of(given))
    _set_max_tokens(new)
    _set_turns(new)
    load = _set_output_format(new)
    extras = _read_extras(given)
    _set_tools(new, load, lenient.objects(extras.get("tools")))
    set_thinking(new)
    _set_sampling(new)
    _set_other_fields(new)
    if "tools" in new.body:  # they are in there already, beside the caller's functions
        extras = {name: value for name, value in extras.items() if name != "tools"}
    body, lost_marks = settle_marks(merge_body(new.body, extras))
    if lost_marks:
        new.dropped.add("cache_control")
    new.body = merge_body(body, request.extra_body)
    # https://platform.claude.com/docs/en/api/errors#long-requests asks for streams where an answer takes long.
    if request.stream or _is_long(new.body):
        new.body["stream"] = True
    return new


def lost_names(new: Translation) -> tuple[str, ...]:
    """The names of what was left out, in the caller's order, and then the paths of what was left out further down."""
    taken = (*request_fields.taken_always(new.given), *_TAKEN)
    names = request_fields.left_out(new.given, taken, new.dropped)
    return lost_fields(new.given, [*names, *sorted(new.dropped - set(new.given))])


def _refuse_impossible(given: Json) -> None:
    if (given.get("n") or 1) > 1:
        raise Refused("anthropic returns one choice: 'n' must be 1.", param="n")
    if given.get("audio") is not None:
        raise Refused("anthropic cannot return audio: omit 'audio'.", param="audio")
    request_fields.refuse_output(given, parts.PROVIDER)
    request_fields.refuse_hosted_search(given, parts.PROVIDER)


def _set_max_tokens(new: Translation) -> None:
    requested, most = request_fields.most_tokens(new.given), new.traits.max_output
    limit = requested if requested is not None else most or traits.UNKNOWN_MAX_OUTPUT
    new.body["max_tokens"] = min(limit, most) if most else limit
    # A larger number than the model's own limit is a 400 there, so it is capped and not refused.
    if requested is not None and new.given.get("max_tokens") not in (None, requested):
        new.dropped.add("max_tokens")  # the newer of its two names wins


def _set_turns(new: Translation) -> None:
    system, messages = turns.build_turns(new.given["messages"], new.names, mid_system=new.traits.mid_system)
    if lenient.obj(new.given.get("response_format")).get("type") == "json_object":
        # Claude has no mode for JSON without a schema, so it is told in words.
        system = [*system, {"type": "text", "text": JSON_ONLY}]
        new.json_only = True
    if system:
        new.body["system"] = system
    new.body["messages"] = messages


def _set_output_format(new: Translation) -> Load:
    """The form of the answer; gives what its schema takes of the budget for strict schemas.

    An object with free keys is closed and reported as dropped, or refused where it is strict.
    """
    _, wanted = request_fields.answer_schema(new.given, parts.PROVIDER)
    form = lenient.obj(new.given.get("response_format"))
    if form.get("type") != "json_schema":
        return Load()
    param = "response_format.json_schema"
    described = request_fields.require_field(form, "json_schema", "response_format")
    given = wanted or request_fields.require_field(described, "schema", param)
    if described.get("description") and described["description"] != given.get("description"):
        given = {**given, "description": f"{described['description']} {given['description']}"}
    written = schema.rewrite_schema(given, f"{param}.schema", exact=described.get("strict") is True)
    new.dropped.update(written.closed)
    new.body["output_config"] = {"format": {"type": "json_schema", "schema": written.schema}}
    return schema.load_of(written.schema)


def _set_tools(new: Translation, load: Load, hosted: list[Json]) -> None:
    """The caller's functions, and beside them the ``hosted`` tools, requested in Anthropic's own words."""
    available = [*tools.build_tools(new.given, new.names, new.dropped, load), *hosted]
    chosen = tools.build_choice({**new.given, "tools": available}, new.names.tools)
    if not available:
        new.dropped.update(name for name in ("tool_choice", "parallel_tool_calls") if new.given.get(name) is not None)
        # The API refuses a conversation with calls but without tools, so it gets tools that must not be called.
        available = tools.from_history(new.body["messages"])
        chosen = {"type": "none"} if available else None
    if tools.forces_call(chosen) and not new.traits.forced_choice:
        # The newest models answer 400 to a forced choice (traits.forced_choice).
        new.dropped.add("tool_choice")
        chosen = {**(chosen or {}), "type": "auto"}
        chosen.pop("name", None)
    if available:
        new.body["tools"] = available
    if chosen:
        new.body["tool_choice"] = chosen


# -- the rest


def _set_sampling(new: Translation) -> None:
    """Sampling parameters: only for older models, and not beside thinking.

    The API refuses ``temperature`` together with ``top_p``; the first is what most callers tune. Its range ends at 1.
    """
    sampling = {name: new.given[name] for name in SAMPLING if new.given.get(name) is not None}
    thinks = lenient.obj(new.body.get("thinking")).get("type") in ("enabled", "adaptive")
    if thinks or not new.traits.sampling:
        new.dropped.update(sampling)
        return
    if "temperature" in sampling:
        sampling["temperature"] = max(0, min(1, sampling["temperature"]))
        if sampling.pop("top_p", None) is not None:
            new.dropped.add("top_p")
    new.body.update(sampling)


def _set_other_fields(new: Translation) -> None:
    given, body = new.given, new.body
    _set_stops(new)
    user = _user_id(new)
    if user is not None:
        body["metadata"] = {"user_id": user}
    tier = _TIERS.get(given.get("service_tier") or "")
    if tier:
        body["service_tier"] = tier
    elif given.get("service_tier") is not None:
        new.dropped.add("service_tier")
    body.update({name: given[name] for name in _VERBATIM[1:] if given.get(name) is not None})


def _set_stops(new: Translation) -> None:
    """The stop sequences, less those of white space only, which the API refuses."""
    stops = request_fields.stop_sequences(new.given)
    kept = [stop for stop in stops if stop.strip()]
    if kept:
        new.body["stop_sequences"] = kept
        new.dropped.update(f"stop[{i}]" for i, stop in enumerate(stops) if not stop.strip())
    elif new.given.get("stop"):
        new.dropped.add("stop")


def _user_id(new: Translation) -> str | None:
    """The caller's opaque id for an end user. Whatever looks like an e-mail address or phone number is not passed on.

    https://platform.claude.com/docs/en/api/messages/create#body-metadata
    """
    user_id = None
    for name in ("safety_identifier", "user"):
        value = new.given.get(name)
        if value and user_id is None and _is_opaque(value):
            user_id = str(value)
        elif value and value != user_id:
            new.dropped.add(name)
    return user_id


def _is_opaque(value: str) -> bool:
    person = "@" in value or _PHONE.fullmatch(value)
    return not person and len(value) <= _MOST_USER_ID and value.isprintable()


def _read_extras(given: Json) -> Json:
    extras = request_fields.provider_extras(given, parts.PROVIDER)
    for name in _NOT_EXTRA:
        if name in extras:
            at = f"anthropic.{name}"
            raise Refused(f"'anthropic' must not contain '{name}'; send it at the top level.", code=None, param=at)
    return extras


def _is_long(body: Json) -> bool:
    most: Any = body["max_tokens"]
    return isinstance(most, int) and most > MOST_WHOLE_TOKENS
