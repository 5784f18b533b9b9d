"""From OpenAI's call to Gemini's: the conversation (``turns``), settings, tools, and the caller's own words.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from attrs import frozen

from fwd_server.providers import lenient, request_fields, request_headers, tool_choice, tool_names, unread_fields
from fwd_server.providers.base import UpstreamRequest, merge_body
from fwd_server.providers.google import schema, unread
from fwd_server.providers.google.traits import PROVIDER, Traits, traits_of
from fwd_server.providers.google.turns import Conversation
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import Refused
from fwd_server.wire import jsontext

_TAKEN: Final = (
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "logprobs",
    "top_logprobs",
    "tools",
    "tool_choice",
    "response_format",
    "reasoning_effort",
    "service_tier",
    "google",
)


def upstream_request(deployment: Deployment, method: str, body: Json, *, stream: bool = False) -> UpstreamRequest:
    """A call of one of the model's methods. The key is in a header and never in the URL (contract S13)."""
    endpoint = deployment.endpoint
    name = quote(deployment.model.removeprefix("models/"), safe="")
    # Quoted whole: a model is the caller's word, and must not lead to another path (contract T17).
    path = f"/models/{name}:{method}"
    return UpstreamRequest(
        path,
        request_headers.request_headers(endpoint, *request_headers.key_header(endpoint)),
        jsontext.dumps(body),
        stream=stream,
    )


@frozen
class BuiltRequest:
    """A call in Gemini's language, the paths of what was left out, and the function names that had to change."""

    body: Json
    lost: tuple[str, ...]
    names: tool_names.NameMap


def build_request(body: Json, model: str, *, signatures: bool = True) -> BuiltRequest:
    """Translate a call. Without ``signatures`` the caller's are replaced by the placeholder.

    Raises Refused for what Gemini, or this model, cannot take.
    """
    traits = traits_of(model)
    _refuse_others(body, traits)
    names = tool_names.NameMap(re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}"), 128)
    config, lost = _generation_config(body, traits)
    built: Json = {
        **Conversation(traits, names, signatures).read_messages(body["messages"]),
        "tools": _build_tools(body, names),
        "toolConfig": _tool_config(body, names),
        "generationConfig": config,
        "serviceTier": _TIERS.get(body.get("service_tier") or ""),
    }
    with_value = {name: value for name, value in built.items() if value}
    dropped = _left_out(body, lost, with_value, traits)
    return BuiltRequest(_with_extras(with_value, request_fields.provider_extras(body, PROVIDER)), dropped, names)


def _left_out(body: Json, lost: Iterable[str], built: Json, traits: Traits) -> tuple[str, ...]:
    """The names of everything in the call that Gemini is not sent."""
    gone = list(lost)
    if body.get("service_tier") not in (None, "auto", *_TIERS):
        gone.append("service_tier")
    if "toolConfig" not in built and body.get("tool_choice") not in (None, "auto", "none"):
        gone.append("tool_choice")
    whole = request_fields.left_out(body, (*request_fields.taken_always(body), *_TAKEN), gone)
    return unread_fields.sum_up([*whole, *unread.parts_of_fields(body, traits)])


def _refuse_others(body: Json, traits: Traits) -> None:
    if (body.get("n") or 1) > 8:
        raise Refused("'n' must be at most 8 for this model.", param="n")
    request_fields.refuse_output(body, PROVIDER, *(("image",) if traits.images else ()))
    hint = ' Send {"google": {"tools": [{"googleSearch": {}}]}} instead.'
    request_fields.refuse_hosted_search(body, PROVIDER, hint)
    # 2.5 answers 400 "Function calling with a response mime type ... is unsupported": here the fields can be named.
    if not traits.newer and body.get("tools") and request_fields.answer_schema(body, PROVIDER)[0]:
        raise Refused(
            "'response_format' and 'tools' cannot be used together with this model; Gemini 3 and later take both.",
            param="response_format",
        )


# -- settings

_TIERS: Final = {
    "default": "standard",
    "standard": "standard",
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}
_SAMPLING: Final = {"temperature": "temperature", "top_p": "topP", "top_k": "topK"}
_PENALTIES: Final = {"presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}


def _generation_config(body: Json, traits: Traits) -> tuple[Json, list[str]]:
    """``generationConfig``, and the names of what this model does not take."""
    lost: list[str] = []
    config: Json = {
        "maxOutputTokens": request_fields.most_tokens(body),
        "stopSequences": request_fields.stop_sequences(body) or None,
    }
    for names, taken in ((_SAMPLING, traits.sampling), (_PENALTIES, not traits.newer)):
        if taken:
            config |= {there: body.get(here) for here, there in names.items()}
        else:
            lost += names
    # candidateCount 1 is the default, and preview models refuse the field.
    config |= {"seed": _fold_seed(body.get("seed")), "candidateCount": body.get("n") if body.get("n") != 1 else None}
    config |= {"responseLogprobs": body.get("logprobs") or None, "logprobs": body.get("top_logprobs")}
    config |= _answer_form(body)
    config["thinkingConfig"] = _thinking_config(request_fields.effort_of(body), traits)
    if config["thinkingConfig"] is None:
        lost.append("reasoning_effort")
    return {name: value for name, value in config.items() if value is not None}, lost


def _fold_seed(seed: int | None) -> int | None:
    """A seed in the 32 bits that Gemini takes; a longer one is folded, the same way every time."""
    return seed if seed is None or -(2**31) <= seed < 2**31 else seed & 0x7FFFFFFF


def _answer_form(body: Json) -> Json:
    """The form of the answer."""
    form: Json = {}
    if "image" in (body.get("modalities") or ()):
        form["responseModalities"] = [kind.upper() for kind in body["modalities"]]
    is_json, wanted = request_fields.answer_schema(body, PROVIDER)
    if is_json:
        form["responseMimeType"] = "application/json"
        form |= {} if wanted is None else {"responseJsonSchema": schema.rewrite_schema(wanted)}
    return form


_LEVELS: Final = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM"}
_BUDGETS: Final = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192}
_MOST_BUDGET: Final = 24576
_LEAST_PRO_BUDGET: Final = 128  # a Pro model cannot stop thinking


def _thinking_config(effort: str | None, traits: Traits) -> Json | None:
    """``thinkingConfig``: a level or a budget, never both. https://ai.google.dev/gemini-api/docs/thinking"""
    if effort is None or traits.thinking is None:
        return None
    shown = {"includeThoughts": effort != "none"}
    if traits.thinking == "budget":
        least = _LEAST_PRO_BUDGET if traits.pro else 0
        return {"thinkingBudget": max(_BUDGETS.get(effort, _MOST_BUDGET), least), **shown}
    # Gemini knows nothing above HIGH; thinking cannot be switched off, so none is the least that the model takes.
    level = _LEVELS.get(effort, "HIGH")
    return {"thinkingLevel": "LOW" if level == "MINIMAL" and not traits.minimal_level else level, **shown}


# -- tools


def _build_tools(body: Json, names: tool_names.NameMap) -> list[Json]:
    functions = [_declare_function(function, names) for function in request_fields.function_definitions(body, PROVIDER)]
    return [{"functionDeclarations": functions}] if functions else []


def _declare_function(function: Json, names: tool_names.NameMap) -> Json:
    declared: Json = {
        "name": names.provider_name(function["name"]),
        "description": function.get("description"),
        # Not ``parameters``: that field takes a subset of OpenAPI and refuses the rest of JSON Schema (pitfall 20).
        "parametersJsonSchema": schema.rewrite_parameters(function.get("parameters")),
    }
    return {name: value for name, value in declared.items() if value}


_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def _tool_config(body: Json, names: tool_names.NameMap) -> Json | None:
    """The calling mode. https://ai.google.dev/gemini-api/docs/function-calling#function_calling_modes"""
    choice = tool_choice.read_tool_choice(body, PROVIDER)
    if choice is None:
        return None
    if not choice.names:
        return {"functionCallingConfig": {"mode": _MODES[choice.mode]}}
    if choice.mode == "none":
        return {"functionCallingConfig": {"mode": "NONE"}}  # which allows no names beside it
    # VALIDATED leaves the choice between these functions and a text to the model.
    mode = "ANY" if choice.mode == "required" else "VALIDATED"
    allowed = [names.provider_name(name) for name in choice.names]
    return {"functionCallingConfig": {"mode": mode, "allowedFunctionNames": allowed}}


# -- what the caller says in Gemini's own words


def _with_extras(built: Json, extras: Json) -> Json:
    """The caller's ``google`` object merged in, last: thinking into the settings, tools after the others."""
    more = dict(extras)
    # The lists are joined below, so a wrong type has to be named here.
    if not isinstance(more.get("tools", []), list):
        raise Refused("Invalid type for 'google.tools': expected an array.", code=None, param="google.tools")
    tools, thinking = more.pop("tools", []), more.pop("thinkingConfig", None)
    merged = merge_body(built, more)
    if thinking is not None:
        merged = merge_body(merged, {"generationConfig": {"thinkingConfig": thinking}})
    # Appended rather than merged: Google's own tools stand beside the functions, not in their place.
    if tools:
        merged = {**merged, "tools": [*merged.get("tools", ()), *tools]}
    return _one_thinking(merged, built)


def _one_thinking(merged: Json, built: Json) -> Json:
    """Level or budget, never both (400): the one that came of ``reasoning_effort`` gives way."""
    thinking = lenient.obj(lenient.obj(merged.get("generationConfig")).get("thinkingConfig"))
    if not {"thinkingLevel", "thinkingBudget"} <= thinking.keys():
        return merged
    ours = lenient.obj(lenient.obj(built.get("generationConfig")).get("thinkingConfig"))
    kept = {name: value for name, value in thinking.items() if name == "includeThoughts" or name not in ours}
    return {**merged, "generationConfig": {**merged["generationConfig"], "thinkingConfig": kept}}
