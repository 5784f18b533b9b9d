"""What a frame looks like that may go out as the bytes it came in."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fwd_server.providers.compatible.frame import make_decoder, read_frame, relay_json

CHOICE = {"index": 0, "delta": {"content": "x"}, "logprobs": None, "finish_reason": None}
WHOLE = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [CHOICE]}


def fits(data: Any, *extras: str) -> bool:
    return (
        read_frame(make_decoder(frozenset(extras)), data if isinstance(data, bytes) else orjson.dumps(data)) is not None
    )


def with_delta(**delta: Any) -> dict[str, Any]:
    return {**WHOLE, "choices": [{**CHOICE, "delta": delta}]}


@pytest.mark.parametrize(
    "data",
    [
        WHOLE,
        {**WHOLE, "usage": None, "error": None, "service_tier": "default"},
        with_delta(refusal="no", odd=[1]),
        with_delta(tool_calls=[{"index": 0, "function": {"arguments": "{"}}]),
    ],
)
def test_text_and_pieces_of_calls_fit(data: Any) -> None:
    """Fields nobody here knows travel on."""
    assert fits(data, "x_groq")


@pytest.mark.parametrize(
    "data",
    [
        {**WHOLE, "usage": {}},
        {**WHOLE, "error": "x"},
        {**WHOLE, "choices": []},
        {**WHOLE, "choices": [CHOICE, CHOICE]},
        {**WHOLE, "choices": [{**CHOICE, "finish_reason": "stop"}]},
        with_delta(role="assistant"),
        with_delta(content=None),
        with_delta(content=["x"]),
        with_delta(reasoning="x"),
        with_delta(reasoning_details=[]),
        with_delta(images=[]),
        with_delta(function_call={}),
        with_delta(tool_calls=[{"index": 0, "id": "a", "function": {"arguments": "{"}}]),
        with_delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{"}}]),
        orjson.dumps(WHOLE)[:-1],
        orjson.dumps({**WHOLE, "odd": "AB"}).replace(b"AB", b"\xff\xfe"),
        b'{"odd":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_everything_else_does_not(data: Any) -> None:
    """An end, an error, usage, a role, a field to rename, what cannot be read."""
    assert not fits(data)


@pytest.mark.parametrize(
    "data", [{**WHOLE, "own": 1}, {**WHOLE, "choices": [{**CHOICE, "own": None}]}, with_delta(content="x", own=[])]
)
def test_a_providers_own_field_does_not_fit(data: Any) -> None:
    """At any level."""
    assert fits(data)
    assert not fits(data, "own")


@pytest.mark.parametrize(
    ("given", "asked", "sent"),
    [
        (b"", False, b""),
        (b',"usage":null', True, b',"usage":null'),
        (b"", True, b',"usage":null'),
        (b',"usage":null', False, b""),
    ],
)
def test_usage_is_null_if_it_was_asked_for(given: bytes, asked: bool, sent: bytes) -> None:
    """And not there if it was not."""
    data = orjson.dumps(WHOLE)[:-1]
    found = read_frame(make_decoder(frozenset()), data + given + b"}")
    assert found is not None
    assert relay_json(data + given + b"}", found, wants_usage=asked) == data + sent + b"}"


@pytest.mark.parametrize("after", [b" ", b"\t ", b"\r"])
def test_space_behind_a_frame_is_no_part_of_it(after: bytes) -> None:
    """What is added goes inside the object."""
    data = orjson.dumps(WHOLE)
    found = read_frame(make_decoder(frozenset()), data + after)
    assert found is not None
    sent = relay_json(data + after, found, wants_usage=True)
    assert sent is not None
    assert orjson.loads(sent) == {**WHOLE, "usage": None}


@pytest.mark.parametrize("given", [b',"usage": null', b',"odd":{"a":1,"usage":null},"usage":null'])
def test_what_cannot_be_cut_surely_is_not(given: bytes) -> None:
    """Another spelling, or a second one further down."""
    data = orjson.dumps(WHOLE)[:-1] + given + b"}"
    found = read_frame(make_decoder(frozenset()), data)
    assert found is not None
    assert relay_json(data, found, wants_usage=False) is None
