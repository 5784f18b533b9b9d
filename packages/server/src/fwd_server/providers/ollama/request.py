"""From OpenAI's call to Ollama's: settings, tools, and the caller's own words. The conversation is in ``messages``."""

from __future__ import annotations

from typing import Final

from fwd_server.providers import request_fields, request_headers, tool_choice
from fwd_server.providers.base import UpstreamRequest, merge_body
from fwd_server.providers.lenient import objects
from fwd_server.providers.ollama.messages import PROVIDER, read_messages
from fwd_server.providers.unread_fields import (
    ASSISTANT_FIELDS,
    MESSAGE_FIELDS,
    PART_FIELDS,
    REQUEST_FIELDS,
    RESULT_FIELDS,
    KnownFields,
    sum_up,
    unread_fields,
)
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import Refused
from fwd_server.wire import jsontext

# What the model is told under the same name, inside ``options``.
_OPTIONS: Final = ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")
_TAKEN: Final = (
    *_OPTIONS,
    "stop",
    "max_tokens",
    "max_completion_tokens",
    "tools",
    "response_format",
    "reasoning_effort",
    "logprobs",
    "top_logprobs",
    "ollama",
)
_THINK: Final[dict[str, bool | str]] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
# These decide where the call goes and how it comes back.
_NOT_EXTRA: Final = ("model", "stream", "messages")


def upstream_request(path: str, deployment: Deployment, body: Json, *, stream: bool = False) -> UpstreamRequest:
    """A call of one of the server's paths; only hosted servers have a key, which is a bearer token."""
    endpoint = deployment.endpoint
    headers = request_headers.request_headers(endpoint, *request_headers.key_header(endpoint))
    return UpstreamRequest(path, headers, jsontext.dumps(body), stream=stream, json_lines=stream)


def left_out(body: Json) -> tuple[str, ...]:
    """The names of everything in the call that Ollama is not sent."""
    choice = tool_choice.read_tool_choice(body, PROVIDER)
    # Ollama has no field for a choice: tools that must not be called are left out, but it cannot be forced to call one.
    met = choice is None or choice.mode != "required"
    has_tools = bool(body.get("tools")) or body.get("tool_choice") in ("none", "auto")
    taken = (*request_fields.taken_always(body), *_TAKEN, *(("tool_choice",) if met and has_tools else ()))
    paths = [*request_fields.left_out(body, taken, ())]
    for index, message in enumerate(objects(body.get("messages"))):
        paths += unread_fields(message, _known_fields(message), f"messages[{index}]")
    for name, known in REQUEST_FIELDS.items():
        paths += unread_fields(body.get(name), known, name)
    return sum_up(paths)


# Ollama takes bare bytes: there is no field for the kind of sound, the resolution of a picture, or a file's name.
_CONTENT: Final[KnownFields] = {
    "content": {
        **PART_FIELDS,
        "image_url": {"url": None},
        "input_audio": {"data": None},
        "file": {"file_data": None},
    }
}
_ANSWER: Final[KnownFields] = {**ASSISTANT_FIELDS, **_CONTENT, "reasoning_content": None, "reasoning": None}


def _known_fields(message: Json) -> KnownFields:
    if message.get("role") == "assistant":
        return _ANSWER
    return {**(RESULT_FIELDS if message.get("role") == "tool" else MESSAGE_FIELDS), **_CONTENT}


def build_chat(body: Json, model: str) -> Json:
    """The body of ``/api/chat``. Raises Refused for what Ollama has no counterpart for."""
    _refuse_others(body)
    built: Json = {
        "model": model,
        "stream": bool(body.get("stream")),  # the server's own default is true
        "messages": read_messages(body["messages"]),
        "tools": _build_tools(body),
        "format": _answer_format(body),
        "think": _think_level(request_fields.effort_of(body)),
        "options": _model_options(body),
        "logprobs": body.get("logprobs"),
        "top_logprobs": body.get("top_logprobs"),
    }
    with_value = {name: value for name, value in built.items() if value is not None}
    return merge_body(with_value, own_fields(body))


def _refuse_others(body: Json) -> None:
    if (body.get("n") or 1) > 1:
        raise Refused("'n' must be 1 for this model.", param="n")
    request_fields.refuse_output(body, PROVIDER)
    request_fields.refuse_hosted_search(body, PROVIDER)


def own_fields(body: Json) -> Json:
    """The caller's ``ollama`` object. Raises Refused for a field in it that decides about the call itself."""
    extras = request_fields.provider_extras(body, PROVIDER)
    for name in _NOT_EXTRA:
        if name in extras:
            at = f"ollama.{name}"
            raise Refused(f"'ollama' must not contain '{name}'; send it at the top level.", code=None, param=at)
    return extras


def _build_tools(body: Json) -> list[Json] | None:
    tools = request_fields.function_definitions(body, PROVIDER)
    choice = tool_choice.read_tool_choice(body, PROVIDER)
    if choice is not None and choice.mode == "none":
        return None
    if choice is not None and choice.names:
        tools = [function for function in tools if function.get("name") in choice.names]
    return [{"type": "function", "function": _build_function(function)} for function in tools] or None


def _build_function(function: Json) -> Json:
    known = {name: function[name] for name in ("name", "description") if function.get(name) is not None}
    return {**known, "parameters": function.get("parameters") or {"type": "object", "properties": {}}}


def _answer_format(body: Json) -> Json | str | None:
    is_json, schema = request_fields.answer_schema(body, PROVIDER)
    # "json" is any JSON; the schema itself is a grammar that the answer cannot leave.
    return (schema or "json") if is_json else None


def _think_level(effort: str | None) -> bool | str | None:
    return None if effort is None else _THINK[effort]


def _model_options(body: Json) -> Json | None:
    options = {"num_predict": request_fields.most_tokens(body), "stop": request_fields.stop_sequences(body) or None}
    options |= {name: body.get(name) for name in _OPTIONS}
    return {name: value for name, value in options.items() if value is not None} or None
