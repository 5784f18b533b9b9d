"""Every field of a call at every depth reaches Claude, or is named, or the call is refused."""

from __future__ import annotations

import copy
import re
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.providers.anthropic.helpers import opened
from tests.server.providers.test_nothing_lost import FULL, MARK, PNG, TEXT, found, is_named, leaves, sent, without

from fwd_server.values.errors import BadRequest

SIGNED = {"type": "reasoning.text", "text": "T4", "signature": "s", "format": "anthropic-claude-v1", "index": 0}
FORMAT = {"type": "object", "title": "t", "properties": {"free": {"type": "object"}, "a": {"type": "string"}}}


def full_call() -> dict[str, Any]:
    """Every documented field that Claude does not refuse."""
    body = copy.deepcopy(FULL)
    user, spoken = body["messages"][1], body["messages"][2]
    user["content"] = [part for part in user["content"] if part["type"] != "input_audio"]
    user["content"].append({"type": "file", "file": {"file_id": "file_1", "filename": "b.pdf"}, **MARK})
    user["content"].append({"type": "file", "file": {"file_id": "file_2", "file_data": PNG, "filename": "c.png"}})
    spoken["reasoning_details"] += [SIGNED, {"type": "reasoning.encrypted", "data": "D", "format": SIGNED["format"]}]
    body["messages"][6]["reasoning_details"] = [{"type": "reasoning.summary", "summary": "x", "index": 0}]
    body["tools"][0]["cache_control"] = {"type": "ephemeral", "ttl": "7d"}
    body["response_format"]["json_schema"] = {"name": "n", "description": "J1", "strict": False, "schema": FORMAT}
    body |= {"speed": "fast", "safety_identifier": "u2", "max_tokens": 7, "stop": ["END", " "]}
    body["anthropic"] = {"tools": [{"type": "web_search_20260318", "name": "web_search"}], "inference_geo": "eu"}
    del body["thinking"]  # it would stand for the effort
    copied: dict[str, Any] = orjson.loads(orjson.dumps(body))  # nothing in it is shared
    return copied


# Taken out, these change nothing, and nothing is lost: the gateway does it itself, or the rest of the call says it.
NEEDS_NOTHING = re.compile(
    r"""stream_options(\.include_usage)? | tools\[\d\]\.(type|function\.strict)
      | tools\[\d\]\.(function\.)?(cache_control|prompt_cache_breakpoint).* | cache_control\.type
      | response_format\.json_schema\.(name|strict)      # a label, and what a grammar does in any case
      | tool_choice\.allowed_tools\.tools\[0\] .*        # without its name it is refused
      | messages\[\d\]\.(annotations.* | tool_calls\[\d\]\.(index|type) | content\[\d\]\.type)
      | messages\[3\]\.name                              # the call has the function's name
      | messages\[2\]\.reasoning_content                 # signed thinking stands for it
      | messages\[6\]\.reasoning_details                 # its only entry is named
      | messages\[2\]\.reasoning_details\[\d\]\.index    # which entry it is, the list says too
      | messages\[\d\](\.content\[\d\])?\.(cache_control|prompt_cache_breakpoint).*  # four marks, and one says it twice
      | tools\[1\] | anthropic\.tools\[0\]\..* | .*\.novel
    """,
    re.VERBOSE,
)


def test_every_documented_field_arrives_or_is_named() -> None:
    """Taken out, a leaf changes what is sent, or its name was among the dropped ones."""
    body = full_call()
    whole, dropped = sent("anthropic", "claude-opus-5", body)
    silent = []
    for path, keys in leaves(body):
        try:
            changed, _ = sent("anthropic", "claude-opus-5", without(body, keys))
        except BadRequest:
            continue  # without it there is no such call
        if changed == whole and not is_named(path, dropped) and not NEEDS_NOTHING.fullmatch(path):
            silent.append(path)
    assert silent == []


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_field_that_nobody_knows_arrives_or_is_named(data: st.DataObject) -> None:
    """In any object of the call, with any value; only a signed block of thinking stays as it was signed."""
    body = full_call()
    objects = [((), ""), *((keys, path) for path, keys in leaves(body))]
    places = [(keys, path) for keys, path in objects if isinstance(found(body, keys), dict)]
    keys, path = data.draw(st.sampled_from(places))
    found(body, keys)["novel"] = data.draw(st.sampled_from(["MARKER", ["MARKER"], {"a": {"b": "MARKER"}}]))
    try:
        upstream, dropped = sent("anthropic", "claude-opus-5", body)
    except BadRequest:
        return
    at = f"{path}.novel".lstrip(".")
    opaque = re.fullmatch(r"(messages\[2\]\.(reasoning_details|annotations)\[\d\].*|.*\.properties)\.novel", at)
    assert b"MARKER" in upstream or is_named(at, dropped) or opaque, at


@pytest.mark.parametrize(
    ("call", "names"),
    [
        ({"messages": [{"role": "user", "content": "Hi", "name": "bob"}]}, ["messages[0].name"]),
        ({"stop": ["END", "\n"]}, ["stop[1]"]),
        ({"stop": [" ", "\n"]}, ["stop"]),
        ({"user": "u1", "safety_identifier": "u2"}, ["user"]),
        ({"user": "a@b.example", "safety_identifier": "u2"}, ["user"]),
        ({"user": "u1", "safety_identifier": "a@b.example"}, ["safety_identifier"]),
        ({"user": "u1", "safety_identifier": "u1"}, []),
        ({"max_tokens": 9, "max_completion_tokens": 10}, ["max_tokens"]),
        ({"reasoning_effort": "low", "thinking": {"type": "disabled"}}, []),
        ({"stream_options": {"include_obfuscation": True}}, ["stream_options.include_obfuscation"]),
    ],
)
def test_the_names_of_what_is_lost(call: dict[str, Any], names: list[str]) -> None:
    """As paths in the caller's own body; of two names for one thing the older."""
    assert [name for name in opened(**call).dropped if name != "max_completion_tokens"] == names


def test_the_name_on_a_result() -> None:
    """It says nothing new, unless it is another function's."""
    call = {"id": "a", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [call]}]
    for name, dropped in (("find", ()), ("look", ("messages[2].name",))):
        result = {"role": "tool", "tool_call_id": "a", "name": name, "content": "ok"}
        assert opened(messages=[*messages, result]).dropped == dropped


@pytest.mark.parametrize(
    ("details", "names"),
    [
        ([SIGNED], []),
        ([{**SIGNED, "format": "google-gemini-v1"}], ["messages[1].reasoning_details[0]", "messages[1].reasoning"]),
        ([{**SIGNED, "signature": None}, SIGNED], []),
        ([{**SIGNED, "signature": None, "index": 1}, SIGNED], ["messages[1].reasoning_details[0]"]),
    ],
)
def test_thinking_that_claude_cannot_read_back(details: list[Any], names: list[str]) -> None:
    """Readable thinking is lost unless signed thinking says the same; pieces of one entry are one."""
    spoken = {"role": "assistant", "content": "Yes", "reasoning": "T4", "reasoning_details": details}
    user = {"role": "user", "content": "Hi"}
    assert sorted(opened(messages=[user, spoken, user]).dropped) == sorted(names)


def test_a_file_in_a_message_is_named_by_what_is_lost_of_it() -> None:
    """An image has no title; the bytes go where there is an id too."""
    parts = [
        {"type": "file", "file": {"file_data": PNG, "filename": "a.png"}},
        {"type": "file", "file": {"file_data": TEXT, "filename": "a.txt", "file_id": "file_1"}},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
    ]
    assert set(opened(messages=[{"role": "user", "content": parts}]).dropped) == {
        "messages[0].content[2].image_url.detail",
        "messages[0].content[0].file.filename",
        "messages[0].content[1].file.file_id",
    }
