"""Messages as Gemini's turns, beside what the wire fixtures show."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


def test_pictures_in_a_tools_answer_go_inside_it_or_into_the_next_turn() -> None:
    """Older models have no place within the response, and nothing may follow one in its turn."""
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBOR"}}
    messages = (user("Hi"), calls("ping"), result(0, [image(PICTURE)]), user("Well?"))
    newer, older = contents(*messages)[2:], contents(*messages, model=OLDER)[2:]
    assert newer[0]["parts"][0]["functionResponse"]["parts"] == [picture]
    assert newer[1:] == [{"role": "user", "parts": [{"text": "Well?"}]}]
    assert len(older[0]["parts"]) == 1
    assert older[1:] == [{"role": "user", "parts": [picture, {"text": "Well?"}]}]


SYSTEM = {"role": "system", "content": "Be brief."}
HELLO = {"role": "assistant", "content": "Hello"}
after_results = st.lists(
    st.sampled_from(
        [user("Now?"), user(), user(image(PICTURE)), SYSTEM, {**SYSTEM, "role": "developer"}, HELLO, "results"]
    ),
    max_size=6,
)


@given(rest=after_results, model=st.sampled_from([NEWER, OLDER, "gemini-3.8-flash"]))
def test_nothing_follows_a_response_within_its_turn_anywhere(rest: list[Any], model: str) -> None:
    """Newer models refuse it: https://ai.google.dev/gemini-api/docs/function-calling. Nothing is lost by it either."""
    messages = [user("Hi")]
    for message in ["results", *rest]:
        messages += [calls("ping"), result(0, [image(PICTURE)])] if message == "results" else [message]
    turns = contents(*messages, model=model)
    kinds = [["functionResponse" in part for part in turn["parts"]] for turn in turns]
    assert all(kind in ([True], [False] * len(kind)) for kind in kinds)
    written = orjson.dumps(turns).decode()
    for text, message in (("Now?", user("Now?")), ("Hello", HELLO)):
        assert written.count(text) == rest.count(message)
    assert written.count("iVBOR") == 1 + rest.count("results") + rest.count(user(image(PICTURE)))
    assert written.count("<system>Be brief.</system>") == sum(m != "results" and m["role"][0] in "sd" for m in rest)
    assert turns[-1]["role"] == "user" or model != "gemini-3.8-flash"


# -- the last turn

ENDS_WITH_MODEL = ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-flash-preview", "gemini-3.1-pro-preview", NEWER]
ENDS_WITH_USER = ["gemini-3.6-flash", "gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-4-argon", "gemini-10-x"]


@pytest.mark.parametrize("model", ENDS_WITH_MODEL)
def test_older_models_go_on_from_their_own_turn(model: str) -> None:
    assert contents(user("Hi"), HELLO, model=model)[-1] == {"role": "model", "parts": [{"text": "Hello"}]}


@pytest.mark.parametrize("model", [*ENDS_WITH_USER, "gemini-flash-latest", "gemini-flash-lite-latest"])
@pytest.mark.parametrize("last", [HELLO, {"role": "assistant", "content": "", "refusal": "No."}])
def test_newer_models_get_a_turn_of_the_user_last(model: str, last: dict[str, Any]) -> None:
    """They refuse a conversation that ends with their own; what they said stays in it."""
    turns = contents(user("Hi"), last, model=model)
    assert [turn["role"] for turn in turns] == ["user", "model", "user"]
    assert turns[1]["parts"] == [{"text": last["content"] or "No."}]


@pytest.mark.parametrize("model", [NEWER, OLDER, "gemini-3.8-flash"])
@pytest.mark.parametrize("empty", [user(), user(""), {"role": "user", "content": ""}])
def test_a_users_empty_message_is_a_turn_all_the_same(model: str, empty: dict[str, Any]) -> None:
    blank = {"role": "user", "parts": [{"text": " "}]}
    assert contents(user("Hi"), HELLO, empty, model=model)[-1] == blank
    assert contents(SYSTEM, empty, model=model) == [blank]
    assert contents(user("Hi"), calls("ping"), result(0, "1"), empty, model=model)[-1]["role"] == "user"
    assert contents(user("Hi"), empty, user("You"), model=model)[0]["parts"] == [{"text": "Hi"}, {"text": "You"}]


# -- numbers

big = st.integers(2**53 + 1, 10**30) | st.integers(-(10**30), -(2**53) - 1)
places = st.sampled_from(['{"a":%d}', '{"a":[1,{"b":[%d]}]}', '{"a":{"b":{"c":%d}},"d":1}', ' {"%d":1,"x":[[%d]]}'])


@given(number=big, place=places)
def test_a_number_that_a_double_cannot_hold_goes_as_text(number: int, place: str) -> None:
    """Google's numbers are doubles."""
    written = place.replace("%d", str(number))
    parts = contents(user("Hi"), calls("ping"), result(0, written))[2]["parts"]
    assert parts[0]["functionResponse"]["response"] == {"output": written}


@given(number=st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6), place=places)
def test_a_number_that_a_double_can_hold_stays(number: float, place: str) -> None:
    written = place.replace("%d", str(number))
    parts = contents(user("Hi"), calls("ping"), result(0, written))[2]["parts"]
    assert parts[0]["functionResponse"]["response"] == orjson.loads(written)


# -- calls that share an id

shared = st.lists(st.sampled_from("abc"), min_size=1, max_size=6).flatmap(
    lambda ids: st.tuples(st.just(ids), st.permutations(range(len(ids))))
)


@given(shared=shared, model=st.sampled_from([NEWER, OLDER]))
def test_results_with_one_id_belong_to_its_calls_in_their_order(shared: tuple[list[str], Any], model: str) -> None:
    """Whatever order the results come in, each response has its call's name, and its own id."""
    ids, order = shared
    message = calls(*(f"f{i}" for i in range(len(ids))))
    for call, call_id in zip(message["tool_calls"], ids, strict=True):
        call["id"] = call_id
    answered: list[str] = [ids[i] for i in order]
    results = [
        {"role": "tool", "tool_call_id": i, "content": f"{i}{answered[:n].count(i)}"} for n, i in enumerate(answered)
    ]
    _, asked, got = contents(user("Hi"), message, *results, model=model)
    sent = [part["functionCall"] for part in asked["parts"]]
    back = [part["functionResponse"] for part in got["parts"]]
    assert [part["name"] for part in back] == [f"f{i}" for i in range(len(ids))]
    assert [part["response"]["output"] for part in back] == [f"{i}{ids[:n].count(i)}" for n, i in enumerate(ids)]
    assert [part.get("id") for part in sent] == [part.get("id") for part in back]
    assert len({part.get("id") for part in sent}) == (len(ids) if model == NEWER else 1)


# -- refusals of the history


@pytest.mark.parametrize("content", [None, "", [], [{"type": "text", "text": ""}]])
def test_a_refusal_alone_is_the_text(content: Any) -> None:
    message = {"role": "assistant", "content": content, "refusal": "No."}
    assert contents(user("Hi"), message, user("Why?"))[1]["parts"] == [{"text": "No."}]


@pytest.mark.parametrize("content", ["Well,", [{"type": "text", "text": "Well,"}]])
def test_a_refusal_beside_a_text_is_said_too(content: Any) -> None:
    message = {"role": "assistant", "content": content, "refusal": "No."}
    assert contents(user("Hi"), message, user("Why?"))[1]["parts"] == [{"text": "Well,"}, {"text": "No."}]


def test_a_refusal_that_is_a_part_already_is_said_once() -> None:
    message = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": "No."}
    assert contents(user("Hi"), message, user("Why?"))[1]["parts"] == [{"text": "No."}]


def test_an_earlier_answer_in_sound_is_refused_by_name() -> None:
    """Google does not have what OpenAI said; without it the turn would be lost."""
    message = {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}
    assert refusal(messages=[user("Hi"), message, user("Why?")]).param == "messages[1].audio"
