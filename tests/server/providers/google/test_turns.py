"""Messages as Gemini's turns, beside what the wire fixtures show."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.providers.google.helpers import (
    NEWER,
    OLDER,
    PICTURE,
    calls,
    contents,
    image,
    opened,
    refusal,
    result,
    user,
)

from fwd_server.providers.google.turns import PLACEHOLDER

# -- turns


def test_the_first_turn_is_always_the_users() -> None:
    first, second = contents({"role": "assistant", "content": "Hello"}, model=OLDER)
    assert first == {"role": "user", "parts": [{"text": " "}]}
    assert second == {"role": "model", "parts": [{"text": "Hello"}]}


def test_a_later_system_message_stays_in_its_place() -> None:
    """Pitfall 33: what comes before it is still the same prefix."""
    body = opened(messages=[user("Hi"), {"role": "system", "content": "Be brief."}]).body
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Hi"}, {"text": "<system>Be brief.</system>"}]}]
    assert "systemInstruction" not in body


def test_empty_texts_are_left_out_and_media_alone_get_a_blank() -> None:
    """Pitfall 19; Gemini wants some text beside a picture."""
    empty = {"role": "assistant", "content": ""}
    assert contents(user(image(PICTURE)), empty) == [
        {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBOR"}}, {"text": " "}]}
    ]


@pytest.mark.parametrize("role", ["user", "system", "assistant"])
def test_a_conversation_that_says_nothing_is_refused(role: str) -> None:
    assert refusal(messages=[{"role": role, "content": ""}]).param == "messages"


def test_a_refusal_goes_back_as_text() -> None:
    said = {"role": "assistant", "content": None, "refusal": "No."}
    parts = {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]}
    assert contents(user("Hi"), said, parts)[1]["parts"] == [{"text": "No."}, {"text": "Never."}]


# -- signatures

SIGNED = {"extra_content": {"google": {"thought_signature": "QUJD"}}}


def test_a_texts_signature_goes_back_on_the_text() -> None:
    assert contents(user("Hi"), {"role": "assistant", "content": "Yes", **SIGNED})[1]["parts"] == [
        {"text": "Yes", "thoughtSignature": "QUJD"}
    ]


def test_a_signature_without_a_text_goes_back_on_an_empty_one() -> None:
    parts = contents(user("Hi"), calls("ping", content="", **SIGNED), result(0, "1"))[1]["parts"]
    assert parts[0] == {"text": "", "thoughtSignature": "QUJD"}
    assert parts[1]["thoughtSignature"] == PLACEHOLDER


def test_only_the_first_call_of_a_turn_gets_the_placeholder_and_older_models_get_none() -> None:
    """Pitfall 29."""
    for model, expected in ((NEWER, [PLACEHOLDER, None]), (OLDER, [None, None])):
        turns = contents(user("Hi"), calls("a", "b"), result(0, "1"), result(1, "2"), model=model)
        assert [part.get("thoughtSignature") for part in turns[1]["parts"]] == expected


# -- the answers of tools

DEEP = '{"a":' * 300 + "1" + "}" * 300  # nested deeper than what can be written again


def test_two_calls_with_one_id_are_answered_in_their_order() -> None:
    twice = calls("a", "b")
    twice["tool_calls"][1]["id"] = "0"
    parts = contents(user("Hi"), twice, result(0, "1"), result(0, "2"))[2]["parts"]
    assert [(p["functionResponse"]["name"], p["functionResponse"]["response"]) for p in parts] == [
        ("a", {"output": "1"}),
        ("b", {"output": "2"}),
    ]


@pytest.mark.parametrize(
    ("content", "response"),
    [
        ("[error] no such city", {"error": "no such city"}),
        ("[1]", {"output": "[1]"}),
        ("{broken", {"output": "{broken"}),
        (DEEP, {"output": DEEP}),
        (' {"a": [1, {"b": 2}]}', {"a": [1, {"b": 2}]}),
        ('{"a": [{"$ref": "x"}]}', {"output": '{"a": [{"$ref": "x"}]}'}),
        ('{"$ref": 5}', {"$ref": 5}),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {"output": "a\nb"}),
    ],
)
def test_a_tools_answer_is_an_object(content: Any, response: dict[str, Any]) -> None:
    """Pitfall 16: an object that points is wrapped as text."""
    parts = contents(user("Hi"), calls("ping"), result(0, content))[2]["parts"]
    assert parts[0]["functionResponse"]["response"] == response


def test_pictures_in_a_tools_answer_go_inside_it_or_beside_it() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBOR"}}
    messages = (user("Hi"), calls("ping"), result(0, [image(PICTURE)]))
    newer, older = contents(*messages)[2]["parts"], contents(*messages, model=OLDER)[2]["parts"]
    assert newer[0]["functionResponse"]["parts"] == [picture]
    assert older[1:] == [picture]
