"""Messages as a system prompt and turns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.providers.anthropic.helpers import MODEL, OLD, WEATHER, sent, text

from fwd_server.providers.tool_names import NameTranslator
from fwd_server.values.errors import Refused

USER = {"role": "user", "content": "Hi"}
RULE = {"role": "system", "content": "Rule"}
RULE_BLOCK = text("<system>Rule</system>")
SIGNED = {"type": "reasoning.text", "text": "T", "signature": "S", "format": "anthropic-claude-v1", "index": 0}


def turns(*messages: dict[str, Any], model: str = OLD) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(model=model, messages=list(messages), tools=[WEATHER])["messages"]
    return found


def call(call_id: str, arguments: str = "{}", name: str = "weather") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*ids: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [call(one) for one in ids], **more}


def result(call_id: str, content: Any = "ok") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def said(words: str) -> dict[str, Any]:
    return {"role": "assistant", "content": words}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER, RULE, USER], [("user", "Hi"), ("user", [RULE_BLOCK, text("Hi")])]),
        ([USER, RULE], [("user", [text("Hi"), RULE_BLOCK])]),
        ([USER, RULE, RULE], [("user", [text("Hi"), RULE_BLOCK, RULE_BLOCK])]),
        ([USER, RULE, said("Yes")], [("user", [text("Hi"), RULE_BLOCK]), ("assistant", "Yes")]),
        ([said("Yes"), RULE], [("assistant", "Yes"), ("user", [RULE_BLOCK])]),
        ([said(" "), RULE], [("user", [RULE_BLOCK])]),
        ([USER, RULE, RULE, USER], [("user", "Hi"), ("user", [RULE_BLOCK, RULE_BLOCK, text("Hi")])]),
    ],
)
def test_a_later_system_message_joins_a_turn_of_the_user(messages: list[Any], expected: list[Any]) -> None:
    """The next one, else the one before, else one of its own; never the cached prefix (pitfall 33)."""
    assert [(turn["role"], turn["content"]) for turn in turns(*messages)] == expected


def test_a_system_message_between_results_and_the_user_is_one_turn() -> None:
    """Results first, then the rule, then what the user says."""
    *_, last = turns(USER, calls("a"), result("a"), RULE, USER)
    assert [block["type"] for block in last["content"]] == ["tool_result", "text", "text"]
    *_, last = turns(USER, calls("a"), result("a"), RULE)
    assert [block["type"] for block in last["content"]] == ["tool_result", "text"]


A = {"role": "system", "content": [text("A"), text("B")]}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([USER, A], [("user", "Hi"), ("system", A["content"])]),
        ([USER, RULE, said("Yes")], [("user", "Hi"), ("system", "Rule"), ("assistant", "Yes")]),
        (
            [USER, RULE, A, said("Yes")],
            [("user", "Hi"), ("system", [text("Rule"), *A["content"]]), ("assistant", "Yes")],
        ),
        ([USER, RULE, USER], [("user", "Hi"), ("user", [RULE_BLOCK, text("Hi")])]),
        ([USER, said("Yes"), RULE], [("user", "Hi"), ("assistant", "Yes"), ("user", [RULE_BLOCK])]),
        ([USER, said(" "), RULE, USER], [("user", "Hi"), ("user", [RULE_BLOCK, text("Hi")])]),
        ([said("Yes"), RULE, said("No")], [("assistant", "Yes"), ("user", [RULE_BLOCK]), ("assistant", "No")]),
    ],
)
def test_a_system_message_of_its_own(messages: list[Any], expected: list[Any]) -> None:
    """Only between a turn of the user and one of the assistant or the end, and never two in a row."""
    found = [(turn["role"], turn["content"]) for turn in turns(*messages, model=MODEL)]
    assert found[: len(expected)] == expected


@settings(deadline=None)
@given(st.lists(st.sampled_from([USER, RULE, A, said("Yes"), said(" ")]), min_size=1))
def test_system_messages_are_always_where_they_may_be(messages: list[dict[str, Any]]) -> None:
    """Wherever they come from; and none is lost, or moved to the cached beginning."""
    body = sent(messages=[USER, *messages])
    roles = ["", *(turn["role"] for turn in body["messages"]), "assistant"]
    for at, role in enumerate(roles):
        assert role != "system" or (roles[at - 1], roles[at + 1]) == ("user", "assistant")
    assert "system" not in body
    assert str(body).count("Rule") == messages.count(RULE)


def test_an_empty_system_message_is_left_out_of_the_user_turn_too() -> None:
    """Nothing to say, nothing to send."""
    assert turns(USER, {"role": "system", "content": ""}, USER) == [USER, USER]


def test_system_messages_alone_become_one_turn_of_the_user() -> None:
    """Also when what follows them is empty; marks keep their block."""
    marked = {"type": "text", "text": "B", "cache_control": {"type": "ephemeral"}}
    found = sent(messages=[RULE, {"role": "system", "content": [marked]}, {"role": "user", "content": ""}])
    assert found["messages"] == [{"role": "user", "content": [text("Rule"), marked]}]
    assert "system" not in found


def test_one_marked_system_message_alone_keeps_its_mark() -> None:
    """A mark needs a block to sit on."""
    marked = {**text("B"), "cache_control": {"type": "ephemeral"}}
    found = sent(messages=[{"role": "system", "content": [marked]}])
    assert found["messages"] == [{"role": "user", "content": [marked]}]


def test_nothing_at_all_is_refused() -> None:
    """There is no call without a turn."""
    with pytest.raises(Refused, match="'messages' contains no text"):
        turns({"role": "user", "content": " "}, {"role": "system", "content": []})


def test_an_assistant_turn_has_thinking_text_and_calls_in_this_order() -> None:
    """A refusal is text; thinking comes first, as it was signed (pitfalls 18 and 27)."""
    message = {**calls("a"), "content": [text("T1")], "refusal": "No", "reasoning_details": [SIGNED]}
    _, turn, _ = turns(USER, message, result("a"))
    assert [block["type"] for block in turn["content"]] == ["thinking", "text", "text", "tool_use"]
    assert turn["content"][0] == {"type": "thinking", "thinking": "T", "signature": "S"}


@pytest.mark.parametrize(
    "entry",
    [
        {**SIGNED, "signature": None},
        {**SIGNED, "format": "google-gemini-v1"},
        {**SIGNED, "type": "reasoning.encrypted"},
        {"type": "reasoning.summary", "summary": "S", "format": "anthropic-claude-v1"},
    ],
)
def test_only_signed_thinking_goes_back(entry: dict[str, Any]) -> None:
    """Anything else would be refused."""
    assert turns(USER, {**said("Yes"), "reasoning_details": [entry]}, USER)[1] == said("Yes")


def test_a_signed_block_without_text_goes_back() -> None:
    """So does one that only the provider can read; a turn of nothing else is left out."""
    hidden = {"type": "reasoning.encrypted", "data": "D", "format": "anthropic-claude-v1"}
    thoughts = {"reasoning_details": [{**SIGNED, "text": None}, hidden]}
    found = turns(USER, {**said("Yes"), **thoughts}, {**said(""), **thoughts}, USER)
    assert [block["type"] for block in found[1]["content"]] == ["thinking", "redacted_thinking", "text"]
    assert [turn["role"] for turn in found] == ["user", "assistant", "user"]


def test_a_beginning_to_go_on_from_does_not_end_with_white_space() -> None:
    """A last turn of the assistant, as a string or with thinking before it."""
    assert turns(USER, said("So \n"))[-1]["content"] == "So"
    found = turns(USER, {**said("So "), "reasoning_details": [SIGNED]})
    assert found[-1]["content"][-1] == text("So")


def test_results_are_in_the_order_of_the_calls() -> None:
    """Each is a block of its own; an empty one is an empty string."""
    *_, last = turns(USER, calls("a", "b"), result("b", [text("B")]), result("a", []))
    assert last["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": ""},
        {"type": "tool_result", "tool_use_id": "b", "content": [text("B")]},
    ]


def test_ids_are_unique_over_the_conversation() -> None:
    """Clients that count from 0 in every turn are common; the API wants every id once."""
    found = turns(USER, calls("call:0"), result("call:0"), calls("call:0"), result("call:0"))
    uses = [block.get("id") or block["tool_use_id"] for turn in found[1:] for block in turn["content"]]
    assert uses == ["call_0", "call_0", "call_0_2", "call_0_2"]


@pytest.mark.parametrize("arguments", ['{"a":1}{"b":2}', "{", "[1]"])
def test_arguments_are_never_repaired(arguments: str) -> None:
    """What is not one JSON object is refused (pitfall 9)."""
    message = {"role": "assistant", "content": None, "tool_calls": [call("a", arguments)]}
    with pytest.raises(Refused, match=r"messages\[1\].tool_calls\[0\].function.arguments"):
        turns(USER, message, result("a"))


def test_a_spoken_answer_is_refused() -> None:
    """An id of a sound that another provider keeps."""
    with pytest.raises(Refused, match=r"messages\[1\].audio"):
        turns(USER, {"role": "assistant", "audio": {"id": "a"}}, USER)


def test_a_turn_without_a_last_text_is_left_alone() -> None:
    """A mark on a message of calls sits on the last call."""
    mark = {"cache_control": {"type": "ephemeral"}}
    _, turn, _ = turns(USER, calls("a", **mark), result("a"))
    assert turn["content"][-1]["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize("blank", ["", "  \n", [], [text(" ")]])
@pytest.mark.parametrize("model", [OLD, MODEL])
def test_a_last_message_with_nothing_in_it_is_refused(blank: Any, model: str) -> None:
    """Left out, it would leave the assistant's turn last, which means something else."""
    with pytest.raises(Refused) as refused:
        turns(USER, said("Yes"), {"role": "user", "content": blank}, model=model)
    assert refused.value.param == "messages[2].content"


@pytest.mark.parametrize("last", [[said("So")], [said("So"), {"role": "system", "content": ""}]])
def test_a_beginning_to_go_on_from_stays_last(last: list[Any]) -> None:
    """Where the caller meant it."""
    assert turns(USER, *last)[-1] == said("So")


def pieced(**fields: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, **fields}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([pieced(text="Let"), pieced(text=" me"), pieced(signature="s")], [("Let me", "s")]),
        ([pieced(text="Let", signature="s"), pieced(signature="t")], [("Let", "st")]),
        ([pieced(text="a", signature="s"), pieced(text="b", signature="t")], [("a", "s"), ("b", "t")]),
        ([pieced(text="a"), pieced(text="b", index=1, signature="t")], [("b", "t")]),
        ([pieced(text="a"), pieced(signature="s"), pieced(index=1, signature="t")], [("a", "s"), ("", "t")]),
        ([pieced(text="a", index=None), pieced(signature="s", index=None)], [("a", "s")]),
    ],
)
def test_pieces_of_one_entry_are_one_thought(entries: list[Any], expected: list[Any]) -> None:
    """Told by their index, until the signature."""
    _, turn, _ = turns(USER, {**calls("a"), "reasoning_details": entries}, result("a"))
    assert [(one["thinking"], one["signature"]) for one in turn["content"][:-1]] == expected


def test_very_many_pieces_take_no_time() -> None:
    """Each is copied once: a body of megabytes must not keep the loop busy."""
    entries = [*[pieced(text="x")] * 100_000, pieced(signature="s", index=0)]
    entries[0] = pieced(text="x", after=[1] * 100_000)
    _, turn, _ = turns(USER, {**calls("a"), "content": "y" * 200_000, "reasoning_details": entries}, result("a"))
    kinds = [one["type"] for one in turn["content"]]
    assert (kinds.count("text"), kinds[-3:]) == (100_001, ["thinking", "text", "tool_use"])
    assert turn["content"][-3] == {"type": "thinking", "thinking": "x" * 100_000, "signature": "s"}


def test_thinking_stands_where_it_stood() -> None:
    """Among texts and calls, also after the caller changed the texts."""
    entries = [pieced(signature="s", after=[2, "call"]), pieced(index=1, signature="t", after=["call", 3])]
    message = {**calls("a", "b"), "content": "Hi you", "reasoning_details": entries}
    kinds = [one["type"] for one in turns(USER, message, result("a"), result("b"))[1]["content"]]
    assert kinds == ["text", "tool_use", "thinking", "tool_use", "text", "thinking", "text"]
    short = turns(USER, {**message, "content": "H"}, result("a"), result("b"))[1]["content"]
    assert [one["type"] for one in short] == ["text", "tool_use", "thinking", "tool_use", "thinking"]


@pytest.mark.parametrize("after", [None, "call", [0, -1, True, {}, "other"], ["call", "call", "call", 10**9]])
def test_a_place_that_nobody_wrote_is_no_harm(after: Any) -> None:
    """Whatever a caller makes of an entry."""
    _, turn, _ = turns(USER, {**calls("a"), "reasoning_details": [pieced(signature="s", after=after)]}, result("a"))
    assert sorted(one["type"] for one in turn["content"]) == ["thinking", "tool_use"]


def test_a_mark_is_never_on_thinking() -> None:
    """The API refuses one there."""
    mark = {"cache_control": {"type": "ephemeral"}}
    spoken = {**said("Yes"), "reasoning_details": [pieced(signature="s", after=[3])], **mark}
    _, turn, _ = turns(USER, spoken, USER)
    assert ["cache_control" in one for one in turn["content"]] == [True, False]


def test_renaming() -> None:
    """The same for the same name, different for different ones, never too long, and back."""
    names = NameTranslator(longest=12)
    assert [names.provider_name(name) for name in ("a.b", "a/b", "a.b", "")] == ["a_b", "a_b_2", "a_b", "_"]
    assert [names.provider_name("x" * 20 + end) for end in ".-"] == ["x" * 12, "xxxx_2"]
    assert [names.fresh_name("a:b"), names.fresh_name("a_b_3"), names.fresh_name("a.b")] == ["a_b_3", "a_b__2", "a_b_4"]
    assert [names.caller_name("a_b_2"), names.caller_name("other")] == ["a/b", "other"]
