"""Answers in the shape of a class."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from fwd_client import Chat, ParseError, Receipt
from fwd_client._decode import read_value
from fwd_client._parse import parsed, response_format

from .conftest import CHAT


@attrs.frozen
class City:
    name: str
    people: int


@attrs.frozen
class Tags:
    by_name: dict[str, str]


def answer(text: str, finish: str = "stop", **message: Any) -> Chat:
    choice = {"message": {"content": text, **message}, "finish_reason": finish}
    return read_value(Chat, {**CHAT, "choices": [choice]}, receipt=Receipt(request_id="r"))


def test_question() -> None:
    """The class becomes a strict schema under its name; open parts make it a loose one."""
    asked = response_format(City)
    assert asked["type"] == "json_schema"
    assert (asked["json_schema"]["name"], asked["json_schema"]["strict"]) == ("City", True)
    assert list(asked["json_schema"]["schema"]["properties"]) == ["name", "people"]
    assert response_format(Tags)["json_schema"]["strict"] is False


def test_answer() -> None:
    """The value comes with the answer it was read from, and with its facts."""
    found = parsed(City, answer(json.dumps({"name": "Paris", "people": 2})))
    assert (found.value, found.chat.finish_reason, found.request_id) == (City("Paris", 2), "stop", "r")


@pytest.mark.parametrize(
    ("chat", "words", "text"),
    [
        (answer('{"name":"P","people":"2"}'), r"not a City: expected int, found '2' @ \$.people", '{"name":"P"'),
        (answer("Paris!"), "It begins 'Paris!'", "Paris!"),
        (answer('{"name"', "length"), "cut off", '{"name"'),
        (answer("", refusal="I will not."), "refused: I will not.", "I will not."),
    ],
)
def test_answers_that_do_not_fit(chat: Chat, words: str, text: str) -> None:
    """What the model wrote instead is told, and kept whole in `text`."""
    with pytest.raises(ParseError, match=words) as caught:
        parsed(City, chat)
    assert (caught.value.text or "").startswith(text)
