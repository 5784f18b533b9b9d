"""OpenAI's request fields, read for providers with a language of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from fwd_server.providers.lenient import obj, objects, text
from fwd_server.values.chat import Json
from fwd_server.values.errors import ErrorKind, Refused, UpstreamError
from fwd_server.wire import jsontext


def parts_of(content: object) -> list[Json]:
    """A message's content as parts, whichever way it was written."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return objects(content)


def require_field(part: Json, name: str, where: str) -> Any:
    """A part's own field; raises Refused when it is missing."""
    value = part.get(name)
    if value is None:
        raise Refused(f"Missing required parameter: '{where}.{name}'.", code=None, param=f"{where}.{name}")
    return value


def parse_arguments(call: Json, where: str) -> Json:
    """A call's arguments as an object; "" is an empty one. Raises Refused: they are never repaired."""
    written = text(obj(call.get("function")).get("arguments"))
    # Some models send "" for a function without parameters, and callers send it back.
    if not written.strip():
        return {}
    try:
        value = jsontext.loads(written)
    except orjson.JSONDecodeError as error:
        raise _bad_arguments(where, error.msg) from None
    if isinstance(value, dict):
        return value
    raise _bad_arguments(where, "not an object")


def _bad_arguments(where: str, what: str) -> Refused:
    name = f"{where}.function.arguments"
    return Refused(f"Invalid value for '{name}': expected a JSON object in a string ({what}).", code=None, param=name)


def calls_of(message: Json, provider: str, where: str) -> Iterator[tuple[Json, str]]:
    """The tool calls of an assistant message, each with its place. Raises Refused for a custom tool's call."""
    for index, call in enumerate(objects(message.get("tool_calls"))):
        at = f"{where}.tool_calls[{index}]"
        # Custom tools take free text, which only OpenAI's models were trained for.
        if not isinstance(call.get("function"), dict):
            raise Refused(f"{provider} only accepts function calls; '{at}' is of another type.", param=at)
        yield call, at


def function_definitions(body: Json, provider: str) -> list[Json]:
    """The function definitions among the tools. Raises Refused for a custom tool."""
    found = []
    for index, tool in enumerate(objects(body.get("tools"))):
        if not isinstance(tool.get("function"), dict):
            at = f"tools[{index}]"
            raise Refused(f"{provider} only accepts tools of type 'function'; '{at}' is of another type.", param=at)
        found.append(tool["function"])
    return found


def stop_sequences(body: Json) -> list[str]:
    """The stop sequences as a list."""
    stop = body.get("stop")
    return [stop] if isinstance(stop, str) else list(stop or ())


def most_tokens(body: Json) -> int | None:
    """The cap on the answer's tokens; of the two names the newer wins."""
    newer: int | None = body.get("max_completion_tokens")
    return newer if newer is not None else body.get("max_tokens")


EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def effort_of(body: Json) -> str | None:
    """The requested reasoning effort. Raises Refused for an unknown value."""
    effort: str | None = body.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        raise Refused(
            f"Invalid value for 'reasoning_effort': {effort!r}; expected one of {', '.join(EFFORTS)}.",
            code=None,
            param="reasoning_effort",
        )
    return effort


def answer_schema(body: Json, provider: str) -> tuple[bool, Json | None]:
    """Whether the answer must be JSON, and the schema it must fit; the format's description becomes the schema's.

    Raises Refused for a form that OpenAI does not have: an answer in another form would be another answer.
    """
    wanted = obj(body.get("response_format"))
    kind = wanted.get("type", "text")
    if kind not in ("text", "json_object", "json_schema"):
        raise Refused(
            f"{provider} does not take 'response_format' of type {str(kind)[:64]!r}; it takes 'text', 'json_object' "
            "and 'json_schema'.",
            param="response_format",
        )
    described = obj(wanted.get("json_schema")) if kind == "json_schema" else {}
    schema, description = described.get("schema"), described.get("description")
    if isinstance(schema, dict) and description and not schema.get("description"):
        # Other languages have no place for it beside the schema.
        schema = {**schema, "description": description}
    return kind != "text", schema


def refuse_hosted_search(body: Json, provider: str, hint: str = "") -> None:
    """Raise Refused when the caller wants OpenAI's own web search."""
    if body.get("web_search_options") is not None:
        raise Refused(f"{provider} has no 'web_search_options'.{hint}", param="web_search_options")


def refuse_output(body: Json, provider: str, *taken: str) -> None:
    """Raise Refused when the answer is wanted as something else than text or what else is ``taken``."""
    for wanted in body.get("modalities") or ():
        if wanted != "text" and wanted not in taken:
            raise Refused(f"{provider} cannot answer with '{wanted}' through this model.", param="modalities")


def left_out(body: Json, taken: Iterable[str], lost: Iterable[str]) -> tuple[str, ...]:
    """Names of the caller's fields that the provider does not get: those ``lost``, and those not ``taken``."""
    kept = set(taken) - set(lost)
    return tuple(name for name, value in body.items() if value is not None and name not in kept)


def provider_extras(body: Json, provider: str) -> Json:
    """The provider's own fields, in an object named after it. Raises Refused for anything else."""
    given = body.get(provider)
    if given is None or isinstance(given, dict):
        return given or {}
    raise Refused(f"Invalid type for '{provider}': expected an object.", code=None, param=provider)


# What every codec reads or answers itself.
_ALWAYS: Final = ("model", "messages", "stream", "stream_options", "n", "modalities")


def taken_always(body: Json) -> tuple[str, ...]:
    """The fields no provider's language needs a word for; calls in parallel are what they all do anyway."""
    return (*_ALWAYS, "parallel_tool_calls") if body.get("parallel_tool_calls") is True else _ALWAYS


def too_long(error: UpstreamError) -> UpstreamError:
    """The failure of a prompt that this model's context cannot hold."""
    error.kind, error.code, error.param = ErrorKind.CONTEXT_LENGTH, "context_length_exceeded", "messages"
    return error
