"""Functions as tools, and the talk about them as a script."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from fwd_client import Chat, ConfigurationError, ToolCall, ToolError, ToolStepsExceeded
from fwd_client._decode import read_value
from fwd_client._tools import Ask, Reject, Run, as_text, refusal, tool_loop, tool_of, tool_table
from fwd_client._values import FunctionCall


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@attrs.frozen
class Place:
    city: str


def weather(place: Place, days: int = 1, *, unit: Unit = Unit.C) -> str:
    """Tell the weather.

    It may be wrong.

    Args:
        place: where,
            exactly
        days (int): how many days
    Returns:
        A sentence.
    """
    return f"{place.city} {days} {unit.value}"


def bare(x: int) -> int:
    return x


def test_definition() -> None:
    """Name, types and docstring are what the model sees; arguments without default are required."""
    entry = tool_of(weather).definition()
    function = entry["function"]
    assert (entry["type"], function["name"]) == ("function", "weather")
    assert function["description"] == "Tell the weather.\n\nIt may be wrong."
    assert function["parameters"]["required"] == ["place"]
    assert function["parameters"]["properties"]["place"] == {"$ref": "#/$defs/Place", "description": "where, exactly"}
    assert function["parameters"]["properties"]["days"] == {"type": "integer", "description": "how many days"}
    assert function["parameters"]["properties"]["unit"] == {"enum": ["celsius", "fahrenheit"]}


def test_bare_function() -> None:
    """A function without words is a tool, too."""
    assert tool_of(bare).definition()["function"] == {
        "name": "bare",
        "parameters": {
            "type": "object",
            "properties": {"x": {"type": "integer"}},
            "required": ["x"],
            "additionalProperties": False,
        },
    }


def untyped(x) -> None:  # type: ignore[no-untyped-def]
    """Nobody knows what x is."""


def starred(*words: str) -> None:
    """Takes any number."""


@pytest.mark.parametrize(
    ("function", "words"),
    [(untyped, "needs a type for its argument x"), (starred, r"has \*words"), (lambda: 1, "'<lambda>'")],
)
def test_functions_that_cannot_be_tools(function: Callable[..., Any], words: str) -> None:
    """What a model could not call is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match=words):
        tool_of(function)


def test_two_of_one_name() -> None:
    """Two tools of one name are a mistake."""
    with pytest.raises(ConfigurationError, match="same name"):
        tool_table([bare, bare])


def test_arguments() -> None:
    """Arguments become values of their types."""
    call = ToolCall("i", function=FunctionCall("weather", '{"place": {"city": "Rome"}, "unit": "celsius"}'))
    assert tool_of(weather).arguments(call) == {"place": Place("Rome"), "unit": Unit.C}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{broken", "Expecting"),
        ("[]", "not an object"),
        ('{"place": {"city": "R"}, "odd": 1}', r"unknown \['odd'\]"),
        ("{}", r"missing \['place'\]"),
        ('{"place": {"city": 3}}', r"expected str, found 3 @ \$.city"),
    ],
)
def test_arguments_that_do_not_fit(text: str, words: str) -> None:
    """What is wrong is worded for the model."""
    with pytest.raises(ToolError, match=words):
        tool_of(weather).arguments(ToolCall("i", function=FunctionCall("weather", text)))


def said(text: str | None = None, *calls: tuple[str, str]) -> Chat:
    listed = [
        {"id": f"c{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(calls)
    ]
    message = {"content": text, **({"tool_calls": listed} if listed else {})}
    return read_value(Chat, {"choices": [{"message": message}]})


def play(chats: list[Chat], max_steps: int = 5) -> tuple[Any, list[Any]]:
    """Drive a talk about `bare` with given answers; gives its result and the arguments of every run."""
    steps, runs, answer = tool_loop([{"role": "user", "content": "?"}], [bare], max_steps), [], None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as done:
            return done.value, runs
        if isinstance(step, Run):
            runs.append(step.arguments)
        if isinstance(step, Ask):
            answer = chats.pop(0)
        elif isinstance(step, Reject):
            answer = refusal(step.error)
        else:
            answer = as_text(step.tool.function(**step.arguments))


def test_talk() -> None:
    """The model calls, the result goes back under the call's id, the model answers."""
    result, runs = play([said(None, ("bare", '{"x": 7}'), ("bare", '{"x": 8}')), said("15")])
    assert runs == [{"x": 7}, {"x": 8}]
    assert (result.text, len(result.chats), result.receipt) == ("15", 2, result.chat.receipt)
    assert result.messages[2:4] == (
        {"role": "tool", "tool_call_id": "c0", "content": "7"},
        {"role": "tool", "tool_call_id": "c1", "content": "8"},
    )


def test_mistakes_of_the_model() -> None:
    """A tool that does not exist and arguments that do not fit are told to the model; nothing is run."""
    result, runs = play([said(None, ("gone", "{}"), ("bare", "{")), said("sorry")])
    assert runs == []
    assert result.messages[2]["content"] == "Error: There is no tool 'gone'; there are bare."
    assert result.messages[3]["content"].startswith("Error: The arguments do not fit bare")


def test_bound() -> None:
    """After the last allowed step the talk ends with an error that has it all."""
    with pytest.raises(ToolStepsExceeded, match="After 2 answers") as caught:
        play([said(None, ("bare", '{"x": 1}'))] * 2, max_steps=2)
    assert len(caught.value.messages) == 5


def test_a_driver_must_answer() -> None:
    """A driver that mixes up the steps is told so."""
    steps = tool_loop([], [bare], 3)
    next(steps)
    with pytest.raises(TypeError, match="Chat"):
        steps.send("text")
    steps = tool_loop([], [bare], 3)
    next(steps)
    steps.send(said(None, ("bare", '{"x": 1}')))
    with pytest.raises(TypeError, match="text"):
        steps.send(said("x"))


def test_results_as_text() -> None:
    """Text goes back as it is, all else as JSON; a tool's own error in its words."""
    assert [as_text(value) for value in ("ä", 1, Place("ä"), None)] == ["ä", "1", '{"city": "ä"}', "null"]
    assert refusal(ToolError("no such city")) == "Error: no such city"
