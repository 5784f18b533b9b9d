"""What the codecs of the native providers share."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fwd_server.providers import answer_shape, lenient, request_fields, tool_names
from fwd_server.values.chat import Chunk, End
from fwd_server.values.errors import Refused, UpstreamError
from fwd_server.values.usage import Usage

HEAD = {"id": "chatcmpl-fx", "created": 1, "model": "m"}


# -- reading


@pytest.mark.parametrize("value", [None, 1, "x", [1]])
def test_what_is_of_another_kind_counts_as_missing(value: object) -> None:
    assert lenient.obj(value) == {}
    assert lenient.objects(value) == []
    assert lenient.text(value) == (value if isinstance(value, str) else "")


def test_only_objects_of_a_list_are_read() -> None:
    assert lenient.objects([{}, 1, {"a": 1}]) == [{}, {"a": 1}]


def test_unreadable_json_is_a_bad_payload() -> None:
    """Contract F20."""
    for body in (b"\xff", b"[" * 300 + b"]" * 300):
        with pytest.raises(UpstreamError, match="cannot be read"):
            lenient.load(body)


@pytest.mark.parametrize(
    ("written", "value"), [("", {}), (" ", {}), ("{}", {}), ('{"a": {"b": 1}}', {"a": {"b": 1}}), (None, {})]
)
def test_arguments_are_an_object(written: str | None, value: dict[str, Any]) -> None:
    """Pitfall 7: "" is an empty one."""
    assert request_fields.parse_arguments({"function": {"arguments": written}}, "x") == value


@pytest.mark.parametrize("written", ["{", '{"a":1}{"b":2}', "[]", "5", '{"a":' * 200 + "1" + "}" * 200])
def test_arguments_that_are_none_are_refused_and_never_emptied(written: str) -> None:
    """Pitfall 9."""
    with pytest.raises(Refused) as caught:
        request_fields.parse_arguments({"function": {"arguments": written}}, "messages[1].tool_calls[0]")
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"


def test_a_custom_tools_call_is_refused_by_place() -> None:
    calls = [{"id": "1", "type": "custom", "custom": {}}]
    with pytest.raises(Refused) as caught:
        list(request_fields.calls_of({"tool_calls": calls}, "ollama", "messages[2]"))
    assert caught.value.param == "messages[2].tool_calls[0]"


# -- names

GOOD = re.compile(r"[A-Za-z_]\w{0,15}")


def test_a_good_name_stays_and_a_bad_one_is_the_same_every_time() -> None:
    names = tool_names.NameMap(GOOD, 16)
    assert [names.provider_name(name) for name in ("ping", "9lives", "ping", "9lives")] == ["ping", "_9lives"] * 2
    assert [names.caller_name(name) for name in ("ping", "_9lives", "never_sent")] == ["ping", "9lives", "never_sent"]


def test_two_names_never_become_one() -> None:
    names = tool_names.NameMap(GOOD, 16)
    sent = [names.provider_name(name) for name in ("9.a", "9-a", "_9_a", "9 a")]
    assert len(set(sent)) == 4
    assert [names.caller_name(name) for name in sent] == ["9.a", "9-a", "_9_a", "9 a"]
    assert all(len(name) <= 16 for name in sent)


# -- writing


def test_usage_says_only_what_there_is() -> None:
    assert answer_shape.usage_object(Usage(5, 3, cached=1, cache_write=2, reasoning=1), audio_tokens=0) == {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }


def test_deltas_fold_into_the_message_they_tell() -> None:
    deltas = [{"content": "a"}, {"extra_content": {"a": 1}}, {"content": "b"}, {"extra_content": {"a": 2}}]
    deltas += [answer_shape.tool_call(0, "c", "ping", {}), answer_shape.tool_call(1, "d", "pong", "{}")]
    message = answer_shape.merge_deltas(deltas)
    assert (message["content"], message["extra_content"]) == ("ab", {"a": 2})
    assert [(call["id"], "index" in call) for call in message["tool_calls"]] == [("c", False), ("d", False)]


def test_content_is_null_only_beside_calls_or_a_refusal() -> None:
    assert answer_shape.merge_deltas([])["content"] == ""
    assert answer_shape.merge_deltas([{"refusal": "No."}])["content"] is None
    assert answer_shape.merge_deltas([answer_shape.tool_call(0, "c", "ping", {})])["content"] is None


def test_every_choice_begins_with_its_role_which_does_not_commit() -> None:
    """Contract 3a: a role chunk is not content."""
    writer = answer_shape.ChunkWriter(HEAD)
    events = [
        *writer.write_deltas(0, [{"content": "a"}]),
        *writer.finish_choice(1, "stop"),
        *writer.write_deltas(0, [{"content": "b"}]),
    ]
    chunks = [event for event in events if isinstance(event, Chunk)]
    assert [chunk.commits for chunk in chunks] == [False, True, False, True, True]


def test_usage_that_is_unknown_is_not_written() -> None:
    assert answer_shape.ChunkWriter(HEAD).end_stream(None) == [End()]
    assert answer_shape.completion_object(HEAD, [], None).keys() == {*HEAD, "object", "choices"}
    chunk, end = answer_shape.ChunkWriter(HEAD).end_stream(Usage(1, 2))
    assert isinstance(chunk, Chunk)
    assert not chunk.commits
    assert end == End(Usage(1, 2))
