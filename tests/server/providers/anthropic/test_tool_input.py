"""Parameters of functions as one object, and names of properties that Claude does not take."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.providers import golden
from tests.server.providers.accumulate import accumulated
from tests.server.providers.anthropic.helpers import BEGIN, END, FINISH, delta, opened, said, sent, start, stop

from fwd_server.providers.anthropic.tool_input import as_object
from fwd_server.values.chat import Json

GOOD = re.compile("[a-zA-Z0-9_.-]{1,64}")
STRING = {"type": "string"}


def tool(parameters: Json, **more: Any) -> Json:
    return {"type": "function", "function": {"name": "f", "parameters": parameters, **more}}


def sent_input(parameters: Json, **more: Any) -> Json:
    found: Json = sent(tools=[tool(parameters, **more)])["tools"][0]["input_schema"]
    return found


def arm(*names: str, **more: Any) -> Json:
    return {"type": "object", "properties": dict.fromkeys(names, STRING), "required": list(names), **more}


@pytest.mark.parametrize(
    ("parameters", "properties", "required"),
    [
        ({"anyOf": [arm("a", "b"), arm("b", "c")]}, {"a", "b", "c"}, ["b"]),
        ({"oneOf": [arm("a"), arm("b")]}, {"a", "b"}, []),
        ({**arm("a"), "allOf": [arm("b"), {"required": ["c"]}]}, {"a", "b"}, ["a", "b", "c"]),
        ({**arm("a"), "anyOf": [{"required": ["x"]}, {"required": ["y"]}]}, {"a"}, ["a"]),
        ({"$ref": "#/$defs/A", "$defs": {"A": arm("a")}}, {"a"}, ["a"]),
        ({"anyOf": [{"$ref": "#/$defs/A"}, arm("b", "a")], "$defs": {"A": arm("a")}}, {"a", "b"}, ["a"]),
        ({"anyOf": [arm("a"), {"type": "null"}]}, {"a"}, ["a"]),
        ({"anyOf": [arm("a"), {"anyOf": [arm("b", "a"), arm("c", "a")]}]}, {"a", "b", "c"}, ["a"]),
        ({"allOf": [{"anyOf": [arm("a"), arm("b")]}, arm("c")]}, {"a", "b", "c"}, ["c"]),
        ({"$ref": "#"}, set(), []),
        (
            {"anyOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {**arm("a"), "anyOf": [{"$ref": "#/$defs/A"}]}}},
            {"a"},
            ["a"],
        ),
    ],
)
def test_a_union_at_the_top_is_one_object(parameters: Json, properties: set[str], required: list[str]) -> None:
    """All properties; required is what every arm requires, and what holds in any case."""
    found = sent_input(parameters)
    assert not {"anyOf", "oneOf", "allOf", "$ref"} & found.keys()
    assert (found["type"], set(found["properties"])) == ("object", properties)
    assert found.get("required", []) == required


def test_a_property_of_several_arms_may_be_what_any_of_them_says() -> None:
    """As the kind that tells arms apart; the same schema twice is one."""
    kinds = [{"properties": {"kind": {"const": kind}, "n": STRING}} for kind in "ab"]
    found = sent_input({"oneOf": kinds})
    assert found["properties"] == {"kind": {"anyOf": [{"const": "a"}, {"const": "b"}]}, "n": STRING}
    assert found["description"] == "Note: give the properties of one of these: (kind, n) or (kind, n)."


def test_many_ways_to_one_definition_take_no_time() -> None:
    """Each schema is read once, however many references lead to it."""
    layers = {f"A{i}": {"allOf": [{"$ref": f"#/$defs/A{i + 1}"}] * 2} for i in range(60)}
    found, _ = as_object({"$ref": "#/$defs/A0", "$defs": {**layers, "A60": arm("a")}})
    assert found["properties"] == {"a": STRING}


def test_strict_stays_only_where_nothing_is_said_more_loosely() -> None:
    """A reference says the same as what it leads to; a union does not."""
    closed = arm("a", additionalProperties=False)
    referred = {"$ref": "#/$defs/A", "$defs": {"A": closed}}
    assert sent(tools=[tool(referred, strict=True)])["tools"][0]["strict"] is True
    exchange = opened(tools=[tool({"anyOf": [closed, closed]}, strict=True)])
    assert ("strict" in exchange.body["tools"][0], exchange.dropped) == (False, ("tools.strict",))


# -- names of properties

names = st.sampled_from(
    ["a", "a.b", "$filter", "filter", "_filter", "user name", "user/name", "user~name", "", "ü", "x" * 65]
)
schemas = st.recursive(
    st.just(STRING),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=4)})
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)})
        | st.fixed_dictionaries({"items": inner})
    ),
    max_leaves=6,
)
objects = st.dictionaries(names, schemas, max_size=4).map(
    lambda properties: {"type": "object", "properties": properties, "required": sorted(properties)[:2]}
)


def property_names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node.get("properties", {})
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from property_names(inner)


def value_of(schema: Json) -> Any:
    """A value that fits, with every property."""
    if "properties" in schema:
        return {name: value_of(inner) for name, inner in schema["properties"].items()}
    if "anyOf" in schema:
        return value_of(schema["anyOf"][-1])
    return [value_of(schema["items"])] if "items" in schema else "v"


@settings(deadline=None)
@given(objects, st.integers(1, 30))
def test_names_go_there_and_come_back(parameters: Json, size: int) -> None:
    """In the schema, in the calls of the conversation, and in calls of the answer, whole and streamed."""
    given_value = value_of(parameters)
    written = json.dumps(given_value)
    history = [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": written}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
    ]
    call = {"tools": [tool(parameters)], "messages": history}
    body = sent(**call)
    schema, sent_value = body["tools"][0]["input_schema"], body["messages"][1]["content"][0]["input"]
    assert all(GOOD.fullmatch(name) for name in property_names(schema))
    assert len(list(property_names(schema))) == len(list(property_names(parameters)))
    assert sent_value == value_of(schema)
    assert set(schema["required"]) <= set(schema["properties"])

    used = {"type": "tool_use", "id": "t", "name": "f", "input": sent_value}
    whole = opened(**call).answer(said(used)).data["choices"][0]["message"]
    pieces = json.dumps(sent_value)
    cut = [delta(0, type="input_json_delta", partial_json=pieces[at : at + size]) for at in range(0, len(pieces), size)]
    events = b"".join([BEGIN, start(0, **{**used, "input": {}}), *cut, stop(0), FINISH, END])
    request = golden.chat_request(model="anthropic:claude-opus-5", stream=True, **call)
    played = golden.play(golden.open_exchange("anthropic", request).decoder(), [events])
    streamed = accumulated(golden.frames(golden.rendered(played, request)))
    for message in (whole, streamed):
        assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == given_value


def test_names_are_changed_wherever_a_schema_says_them() -> None:
    """Lists of names, defaults, conditions and references."""
    found = sent_input(
        {
            "properties": {"$a": {"type": "object", "properties": {"b c": STRING}, "default": {"b c": "x"}}},
            "dependentRequired": {"$a": ["b c"]},
            "if": {"required": ["$a"]},
            "then": {"properties": {"d": {"$ref": "#/properties/$a/properties/b%20c"}}},
        }
    )
    assert found == {
        "properties": {"_a": {"type": "object", "properties": {"b_c": STRING}, "default": {"b_c": "x"}}},
        "dependentRequired": {"_a": ["b_c"]},
        "if": {"required": ["_a"]},
        "then": {"properties": {"d": {"$ref": "#/properties/_a/properties/b_c"}}},
        "type": "object",
    }


def test_arguments_that_broke_off_stay_as_they_are() -> None:
    """They are never repaired."""
    events = (
        BEGIN,
        start(0, type="tool_use", id="t", name="f"),
        delta(0, type="input_json_delta", partial_json='{"_a":'),
    )
    request = golden.chat_request(
        model="anthropic:claude-opus-5", stream=True, tools=[tool({"properties": {"$a": STRING}})]
    )
    played = golden.play(golden.open_exchange("anthropic", request).decoder(), [b"".join([*events, FINISH, END])])
    message = accumulated(golden.frames(golden.rendered(played, request)))
    assert message["tool_calls"][0]["function"]["arguments"] == '{"_a":'


# -- tools that run at Anthropic

SEARCH = {"type": "web_search_20260318", "name": "web_search"}
USED = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
HISTORY = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "tool_calls": [USED]},
    {"role": "tool", "tool_call_id": "a", "content": "ok"},
]


@pytest.mark.parametrize(
    ("call", "names", "choice"),
    [
        ({"tools": [tool({})]}, ["f", "web_search"], None),
        ({}, ["web_search"], None),
        ({"tool_choice": "required"}, ["web_search"], {"type": "any"}),
        ({"messages": HISTORY}, ["web_search"], None),
        ({"tools": [tool({})], "tool_choice": "none"}, ["f", "web_search"], {"type": "none"}),
    ],
)
def test_tools_in_anthropics_own_words_come_beside_the_callers(call: Json, names: list[str], choice: Any) -> None:
    """They never take the place of his functions, and are not forbidden because he has none."""
    body = sent(anthropic={"tools": [SEARCH]}, **call)
    assert [one["name"] for one in body["tools"]] == names
    assert body.get("tool_choice") == choice
