"""From OpenAI's call to Ollama's: settings, tools, and the caller's own words. The conversation is in ``messages``."""

from __future__ import annotations

from typing import Any, Final

import orjson

from fwd_server.providers import lenient, request_fields, request_headers
from fwd_server.providers.base import UpstreamRequest, merge
from fwd_server.providers.ollama.messages import PROVIDER, read_messages
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import Refused

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
    headers = request_headers.headers(endpoint, *request_headers.key_header(endpoint))
    return UpstreamRequest(path, headers, orjson.dumps(body), stream=stream)


def taken_fields(body: Json) -> tuple[str, ...]:
    """Names of the caller's fields that are translated, or need no translation."""
    # "none" is kept by leaving the tools out; no other choice has a counterpart.
    choice = ("tool_choice",) if body.get("tool_choice") == "none" else ()
    return (*request_fields.taken_always(body), *_TAKEN, *choice)


def build_chat(body: Json, model: str) -> Json:
    """The body of ``/api/chat``. Raises Refused for what Ollama has no counterpart for."""
    _refuse_others(body)
    built: Json = {
        "model": model,
        "stream": bool(body.get("stream")),  # the server's own default is true
        "messages": read_messages(body["messages"]),
        "tools": _tools(body),
        "format": _format(body.get("response_format")),
        "think": _think(request_fields.effort_of(body)),
        "options": _options(body),
        "logprobs": body.get("logprobs"),
        "top_logprobs": body.get("top_logprobs"),
    }
    given = {name: value for name, value in built.items() if value is not None}
    return merge(given, own_fields(body))


def _refuse_others(body: Json) -> None:
    if (body.get("n") or 1) > 1:
        raise Refused("'n' must be 1 for this model.", param="n")
    request_fields.refuse_output(body, PROVIDER)
    request_fields.refuse_hosted_search(body, PROVIDER)


def own_fields(body: Json) -> Json:
    """The caller's ``ollama`` object. Raises Refused for a field in it that decides about the call itself."""
    extras = request_fields.extras(body, PROVIDER)
    for name in _NOT_EXTRA:
        if name in extras:
            at = f"ollama.{name}"
            raise Refused(f"'ollama' must not have '{name}'; give it at the top level.", code=None, param=at)
    return extras


def _tools(body: Json) -> list[Json] | None:
    tools = request_fields.functions(body, PROVIDER)
    if not tools or body.get("tool_choice") == "none":
        return None
    return [{"type": "function", "function": _function(function)} for function in tools]


def _function(function: Json) -> Json:
    known = {name: function[name] for name in ("name", "description") if function.get(name) is not None}
    return {**known, "parameters": function.get("parameters") or {"type": "object", "properties": {}}}


def _format(wanted: Any) -> Json | str | None:
    kind = lenient.obj(wanted).get("type")
    if kind == "json_schema":
        schema: Json | None = lenient.obj(wanted.get("json_schema")).get("schema")
        return "json" if schema is None else schema
    return "json" if kind == "json_object" else None


def _think(effort: str | None) -> bool | str | None:
    return None if effort is None else _THINK[effort]


def _options(body: Json) -> Json | None:
    options = {"num_predict": request_fields.most_tokens(body), "stop": request_fields.stops(body) or None}
    options |= {name: body.get(name) for name in _OPTIONS}
    return {name: value for name, value in options.items() if value is not None} or None
