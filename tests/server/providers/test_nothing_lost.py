"""Nothing of a call is lost in silence: every field at every depth arrives, or is named, or the call is refused.

Two ways to look for losses. Every leaf of a call that has every documented field is taken out: if the provider is sent
the same with it and without it, its name must be among the dropped ones. And a field that nobody knows is put into any
object of that call: its value must be in what is sent, or its name among the dropped ones.
"""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.providers import golden

from fwd_server.callers import openai_chat
from fwd_server.providers.base import UpstreamRequest
from fwd_server.providers.unread_fields import sum_up, unread_fields
from fwd_server.values.errors import BadRequest

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
TEXT = "data:text/plain;base64,SGVsbG8="
MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}, "prompt_cache_breakpoint": {"mode": "explicit"}}
SIGNED = {"extra_content": {"google": {"thought_signature": "QUJD"}}}
CALL = {"id": "c1", "type": "function", "index": 0, "function": {"name": "find", "arguments": '{"a":1}'}}

# Every documented field that Gemini and Ollama do not refuse, with a value that is not its default.
FULL: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "S1", **MARK}], "name": "rules", **MARK},
        {
            "role": "user",
            "name": "bob",
            "content": [
                {"type": "text", "text": "U1", **MARK},
                {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}, **MARK},
                {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
                {"type": "file", "file": {"file_data": TEXT, "filename": "a.txt"}},
            ],
            **MARK,
        },
        {
            "role": "assistant",
            "name": "ann",
            "content": [{"type": "text", "text": "A1"}, {"type": "refusal", "refusal": "R1"}],
            "refusal": "R2",
            "tool_calls": [
                {**CALL, **SIGNED},
                {**CALL, "id": "c2", "function": {"name": "look", "arguments": '{"b":1}'}},
            ],
            "reasoning_content": "T1",
            "reasoning_details": [{"type": "reasoning.text", "text": "T2", "signature": "s", "index": 0}],
            "annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}],
            **SIGNED,
        },
        {"role": "tool", "tool_call_id": "c1", "name": "find", "content": [{"type": "text", "text": "O1", **MARK}]},
        {
            "role": "tool",
            "tool_call_id": "c2",
            "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}],
        },
        {"role": "developer", "content": "D1", "name": "rules"},
        {"role": "assistant", "content": "A2", "reasoning": "T3"},
        {"role": "user", "content": "U2"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "find",
                "description": "F1",
                "strict": True,
                "parameters": {"type": "object", "properties": {"a": {"type": "integer", "description": "P1"}}},
            },
            **MARK,
        },
        {"type": "function", "function": {"name": "look"}},
    ],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"name": "find"}]}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "description": "J1", "strict": True, "schema": {"type": "object", "title": "t"}},
    },
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": True},
    "max_completion_tokens": 100,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 4,
    "frequency_penalty": 0.5,
    "presence_penalty": 0.5,
    "stop": ["END", "STOP"],
    "seed": 7,
    "logprobs": True,
    "top_logprobs": 2,
    "logit_bias": {"1": 1},
    "parallel_tool_calls": False,
    "reasoning_effort": "low",
    "verbosity": "low",
    "prediction": {"type": "content", "content": "x"},
    "service_tier": "flex",
    "store": True,
    "metadata": {"a": "b"},
    "user": "u",
    "safety_identifier": "u",
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "moderation": {"model": "m"},
    "thinking": {"type": "enabled"},
    "cache_control": {"type": "ephemeral"},
    "anthropic": {"a": 1},
    "brand_new": 1,
}
# Taken out, these change nothing, and nothing is lost: the gateway does it itself, or the rest of the call says it.
NEEDS_NOTHING = re.compile(
    r"""stream_options(\.include_usage)? | tools\[\d\]\.type
      | response_format\.json_schema\.(name|strict)      # a label, and what a grammar does in any case
      | tool_choice\.allowed_tools\.tools\[0\] .*        # without its name it is refused
      | messages\[\d\]\.(annotations.* | tool_calls\[\d\]\.(index|type) | content\[\d\]\.type)
      | messages\[3\]\.name                              # the call has the function's name
      | messages\[2\]\.reasoning_content                 # Gemini's own, for which the signature stands
      | tools\[1\]                                       # it must not be called
      | .*properties\.novel                              # a property, of which no schema says anything
    """,
    re.VERBOSE,
)
MODELS = {"google": ("gemini-3.5-flash", "gemini-3.8-flash", "gemini-2.5-flash"), "ollama": ("qwen3.8:27b",)}
each_model = pytest.mark.parametrize(
    ("provider", "model"), [(provider, model) for provider, models in MODELS.items() for model in models]
)


def full_call(model: str) -> dict[str, Any]:
    """Older Gemini models take either tools or a form of the answer."""
    body = copy.deepcopy(FULL)
    if "2.5" in model:
        del body["response_format"]
    return body


def sent(provider: str, model: str, body: dict[str, Any]) -> tuple[bytes, tuple[str, ...]]:
    """What goes upstream, and what is named."""
    call = openai_chat.parse_request(orjson.dumps({"model": f"{provider}:{model}", **body}))
    exchange = golden.open_exchange(provider, call)
    assert isinstance(exchange.request, UpstreamRequest)
    return exchange.request.path.encode() + exchange.request.body, exchange.dropped


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every value within objects, with its path as people write it and as keys; whole objects too."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        at = f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}".lstrip(".")
        yield at, (key,)
        for below, keys in leaves(inner, at):
            yield below, (key, *keys)


def is_named(path: str, dropped: tuple[str, ...]) -> bool:
    """Whether a path, or something that it is in, is among the names."""
    forms = {name.replace("[*]", "[") for name in dropped}
    return any(
        path == name or path.startswith((f"{name}.", f"{name}[")) or re.sub(r"\[\d+\]", "[", path).startswith(name)
        for name in {*dropped, *forms}
    )


def without(body: dict[str, Any], keys: tuple[Any, ...]) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    inner: Any = changed
    for key in keys[:-1]:
        inner = inner[key]
    del inner[keys[-1]]
    return changed


@each_model
def test_every_documented_field_arrives_or_is_named(provider: str, model: str) -> None:
    """Contract: nothing is lost silently, also where only a part of a field goes."""
    body = full_call(model)
    whole, dropped = sent(provider, model, body)
    silent = []
    for path, keys in leaves(body):
        try:
            changed, _ = sent(provider, model, without(body, keys))
        except BadRequest:
            continue  # without it there is no such call
        if changed == whole and not is_named(path, dropped) and not NEEDS_NOTHING.fullmatch(path):
            silent.append(path)
    assert silent == []


@each_model
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_field_that_nobody_knows_arrives_or_is_named(provider: str, model: str, data: st.DataObject) -> None:
    """In any object of the call, with any value."""
    body = full_call(model)
    objects = [((), "")] + [(keys, path) for path, keys in leaves(body)]
    places = [(keys, path) for keys, path in objects if isinstance(found(body, keys), dict)]
    keys, path = data.draw(st.sampled_from(places))
    found(body, keys)["novel"] = data.draw(st.sampled_from(["MARKER", ["MARKER"], {"a": {"b": "MARKER"}}]))
    try:
        upstream, dropped = sent(provider, model, body)
    except BadRequest:
        return
    at = f"{path}.novel".lstrip(".")
    assert b"MARKER" in upstream or is_named(at, dropped) or NEEDS_NOTHING.fullmatch(at), at


def found(body: Any, keys: tuple[Any, ...]) -> Any:
    for key in keys:
        body = body[key]
    return body


@pytest.mark.parametrize("nothing", [None, False, "", [], {}, "auto"])
def test_what_asks_for_nothing_is_not_lost(nothing: Any) -> None:
    assert list(unread_fields({"a": nothing, "b": [{"c": nothing}]}, {"b": {}})) == []


@pytest.mark.parametrize("value", [0, 0.0, True, "x", [0], {"a": None}])
def test_anything_else_is_named_by_its_path(value: Any) -> None:
    body = {"a": value, "b": [{"c": value}, 5, {"d": value}]}
    assert list(unread_fields(body, {"b": {"d": None}}, "x")) == ["x.a", "x.b[0].c"]


def test_many_of_a_kind_are_one_name() -> None:
    """An agent's history may be long, and the names stand in a header."""
    some = [f"messages[{i}].name" for i in range(4)]
    assert sum_up([*some, "tools[0].x", "user", "user"]) == (*some, "tools[0].x", "user")
    assert sum_up([*some, "messages[9].name", "tools[0].x"]) == ("messages[*].name", "tools[0].x")
