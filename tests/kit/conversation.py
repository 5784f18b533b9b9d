"""One conversation of five turns: what the caller sends, what every provider is asked, and what it says to that.

Two tools called side by side, their results, a picture, a message of the developer's in the middle, and an answer in
JSON of a given shape. ``Asked`` and ``Said`` are in no provider's language, so that all of them can be compared.
"""

from __future__ import annotations

import base64
from typing import Any

from attrs import field, frozen

Json = dict[str, Any]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
MOST_TOKENS = 500


@frozen
class Said:
    """What a provider answers: a text, or calls of tools; and the tokens of both sides."""

    text: str = ""
    calls: tuple[tuple[str, Json], ...] = ()
    thought: str = ""
    prompt: int = 20
    completion: int = 7

    @property
    def finish(self) -> str:
        """OpenAI's word for its end."""
        return "tool_calls" if self.calls else "stop"


@frozen
class Asked:
    """What a provider was asked, as it understood it.

    ``said`` is the conversation so far, one tuple for each text, picture, call and result, in their order.
    """

    system: str
    said: tuple[tuple[Any, ...], ...]
    tools: tuple[tuple[str, Json], ...]
    stream: bool
    schema: Json | None = None
    most_tokens: int | None = MOST_TOKENS


@frozen
class Turn:
    """One turn: the messages it adds, what is sent beside them, what they come to, and the answer."""

    messages: tuple[Json, ...]
    adds: tuple[tuple[Any, ...], ...]
    answer: Said
    more: Json = field(factory=dict)
    schema: Json | None = None


def _tool(name: str, words: str) -> Json:
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    function = {"name": name, "description": words, "parameters": {**city, "additionalProperties": False}}
    return {"type": "function", "function": function}


TOOLS = (_tool("get_weather", "The weather of a city."), _tool("get_time", "The time in a city."))
SCHEMA: Json = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "celsius": {"type": "integer"}},
    "required": ["city", "celsius"],
    "additionalProperties": False,
}
FORMAT: Json = {"type": "json_schema", "json_schema": {"name": "report", "schema": SCHEMA, "strict": True}}
SYSTEM = "You are brief. Grüße!"

QUESTION = "How warm is it in Oslo, and what time is it there? 🌦"
CALLS = (("get_weather", {"city": "Oslo"}), ("get_time", {"city": "Oslo"}))
RESULTS = ("4 °C, rain", "12:30")
PICTURE = "What is in this picture?"
URL = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
REPORT = '{"city":"Oslo","celsius":4}'

TURNS = (
    Turn(
        ({"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}),
        (("user", QUESTION),),
        Said(calls=CALLS, thought="Two tools will do.", prompt=60, completion=40),
    ),
    Turn(
        tuple({"role": "tool", "content": result} for result in RESULTS),  # their ids are those of the calls
        (
            *(("call", name, arguments) for name, arguments in CALLS),
            *(("result", name, result) for (name, _), result in zip(CALLS, RESULTS, strict=True)),
        ),
        Said("It is 4 °C and 12:30 in Oslo."),
    ),
    Turn(
        (
            {
                "role": "user",
                "content": [{"type": "text", "text": PICTURE}, {"type": "image_url", "image_url": {"url": URL}}],
            },
        ),
        (("model", "It is 4 °C and 12:30 in Oslo."), ("user", PICTURE), ("image", PIXEL)),
        Said("One red pixel."),
    ),
    Turn(
        ({"role": "user", "content": "In one word?"},),
        (("model", "One red pixel."), ("user", "In one word?")),
        Said("Red."),
        more={"stop": ["\n\n"]},
    ),
    Turn(
        ({"role": "user", "content": "Now the weather again, as JSON."},),
        (("model", "Red."), ("user", "Now the weather again, as JSON.")),
        Said(REPORT),
        more={"response_format": FORMAT},
        schema=SCHEMA,
    ),
)


def asked(turn: int, *, stream: bool) -> Asked:
    """What a provider must understand at that turn."""
    said = tuple(one for earlier in TURNS[: turn + 1] for one in earlier.adds)
    tools = tuple((tool["function"]["name"], tool["function"]["parameters"]) for tool in TOOLS)
    return Asked(SYSTEM, said, tools, stream, TURNS[turn].schema)


def messages(turn: int, so_far: list[Json]) -> list[Json]:
    """The messages of a turn, after those ``so_far``; results of tools are given the ids of the calls."""
    calls = [call["id"] for call in (so_far[-1].get("tool_calls") if so_far else None) or ()]
    ids = iter(calls)
    named = ({**one, "tool_call_id": next(ids)} if one["role"] == "tool" else one for one in TURNS[turn].messages)
    return [*so_far, *named]


def body(turn: int, so_far: list[Json]) -> Json:
    """The call of a turn, as the caller makes it; without model and stream."""
    more = TURNS[turn].more
    return {"messages": messages(turn, so_far), "tools": list(TOOLS), "max_completion_tokens": MOST_TOKENS, **more}
