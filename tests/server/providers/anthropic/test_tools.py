"""Tools and the choice among them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.providers.anthropic.helpers import WEATHER, opened, sent

from fwd_server.values.errors import Refused

CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


def tool(name: str, **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def strict(name: str, optional: int = 0, unions: int = 0) -> dict[str, Any]:
    properties: dict[str, Any] = {f"o{i}": {"type": "string"} for i in range(optional)}
    properties |= {f"u{i}": {"anyOf": [{"type": "string"}]} for i in range(unions)}
    required = [name for name in properties if name.startswith("u")]
    return tool(name, strict=True, parameters={**CLOSED, "properties": properties, "required": required})


def still_strict(*tools: dict[str, Any], **call: Any) -> list[str]:
    return [found["name"] for found in sent(tools=list(tools), **call)["tools"] if "strict" in found]


@pytest.mark.parametrize("parameters", [None, {}, {"properties": {}}])
def test_a_schema_is_always_an_object(parameters: Any) -> None:
    """The API wants one, also of a function without parameters."""
    (found,) = sent(tools=[tool("a", parameters=parameters)])["tools"]
    assert found["input_schema"] == {"type": "object", "properties": {}}


def test_good_names_stay_when_a_bad_one_becomes_one_of_them() -> None:
    """The bad one is the one that is changed, wherever it stands."""
    found = sent(tools=[tool("a.b"), tool("a_b")])["tools"]
    assert [one["name"] for one in found] == ["a_b_2", "a_b"]


def test_a_mark_on_a_tool() -> None:
    """Beside the function or, as some clients write it, inside."""
    mark = {"cache_control": {"type": "ephemeral"}}
    found = sent(tools=[{**tool("a"), **mark}, tool("b", **mark), tool("c")])["tools"]
    assert ["cache_control" in one for one in found] == [True, True, False]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
        ({"type": "auto"}, {"type": "auto"}),
        (None, None),
    ],
)
def test_choices(choice: Any, expected: Any) -> None:
    """Every mode has its word."""
    assert sent(tools=[WEATHER], tool_choice=choice).get("tool_choice") == expected


@pytest.mark.parametrize("choice", ["maybe", {"type": "custom"}, {"type": "allowed_tools"}, {"type": "function"}])
def test_a_choice_nobody_knows_is_refused(choice: Any) -> None:
    """In the caller's words."""
    with pytest.raises(Refused) as caught:
        opened(tools=[tool("weather"), tool("")], tool_choice=choice)
    assert caught.value.param == "tool_choice"


def test_one_call_at_a_time() -> None:
    """A switch inside the choice; with no choice at all there is nothing to switch."""
    assert sent(tools=[WEATHER], parallel_tool_calls=False)["tool_choice"] == {
        "type": "auto",
        "disable_parallel_tool_use": True,
    }
    assert sent(tools=[WEATHER], parallel_tool_calls=False, tool_choice="none")["tool_choice"] == {"type": "none"}


def test_only_tools_that_are_there_can_be_allowed() -> None:
    """An empty choice would be none at all."""
    allowed = {"mode": "auto", "tools": [tool("other")]}
    with pytest.raises(Refused, match="allows none"):
        opened(tools=[WEATHER], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})


def test_a_model_that_cannot_be_forced_keeps_one_call_at_a_time() -> None:
    """The forced part is dropped, and said."""
    exchange = opened(
        model="anthropic:claude-opus-5-5", tools=[WEATHER], tool_choice="required", parallel_tool_calls=False
    )
    assert exchange.body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert exchange.dropped == ("tool_choice",)


def test_a_custom_tool_is_refused() -> None:
    """Claude has none."""
    with pytest.raises(Refused, match=r"tools\[0\]"):
        opened(tools=[{"type": "custom", "custom": {"name": "a"}}])


def test_without_tools_a_choice_is_dropped() -> None:
    """It is legal only with tools."""
    exchange = opened(tools=[], tool_choice="auto", parallel_tool_calls=False)
    assert exchange.dropped == ("tool_choice", "parallel_tool_calls")
    assert "tools" not in exchange.body


def test_tools_of_the_history() -> None:
    """The API wants every tool that was called; the model must not call them now."""
    call = {"id": "a", "type": "function", "function": {"name": "get.it", "arguments": ""}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Let me see", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "ok"},
    ]
    body = sent(messages=messages)
    assert body["tools"] == [{"name": "get_it", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": "none"}


def test_strict_is_kept_where_the_subset_can_say_it() -> None:
    """A function without parameters is as strict as can be; an open schema is not."""
    open_one = tool("open", strict=True, parameters={"type": "object", "properties": {}})
    exchange = opened(tools=[strict("a"), tool("b", strict=True), open_one, tool("c")])
    assert [one.get("strict") for one in exchange.body["tools"]] == [True, True, None, None]
    assert exchange.body["tools"][1]["input_schema"] == CLOSED
    assert exchange.dropped == ("tools.strict",)


def test_at_most_twenty_strict_tools() -> None:
    """The budget of a request (pitfall 24)."""
    tools = [strict(f"t{i}") for i in range(22)]
    assert still_strict(*tools) == [f"t{i}" for i in range(20)]


def test_the_widest_strict_tool_goes_first() -> None:
    """24 optional properties and 16 unions over all of them, and the answer's own schema."""
    assert still_strict(strict("a", optional=10), strict("b", optional=20)) == ["a"]
    assert still_strict(strict("a", unions=7), strict("b", unions=10)) == ["a"]
    schema = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(20)}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert still_strict(strict("a", optional=10), strict("b"), response_format=form) == ["b"]
