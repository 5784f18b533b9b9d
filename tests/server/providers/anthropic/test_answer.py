"""Claude's message as a chat completion."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.server.providers import golden
from tests.server.providers.anthropic.helpers import (
    BEGIN,
    END,
    FINISH,
    delta,
    event,
    opened,
    said,
    start,
    stop,
    text,
)

from fwd_server.providers.anthropic.fence import Unfence
from fwd_server.providers.anthropic.usage import read_usage
from fwd_server.values.chat import Chunk
from fwd_server.values.errors import ErrorKind, UpstreamError
from fwd_server.values.usage import Usage
from fwd_server.wire.sse import LONGEST_LINE

LONG = {"max_tokens": 20_000}  # asked for as a stream


def answered(*content: Any, **more: Any) -> dict[str, Any]:
    return opened().answer(said(*content, **more)).data


def message(*content: Any, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = answered(*content, **more)["choices"][0]["message"]
    return found


def folded(*events: bytes) -> dict[str, Any]:
    return opened(**LONG).answer(b"".join(events)).data


def test_texts_are_joined_and_other_blocks_passed_over() -> None:
    """Blocks of tools that run at the provider are not the caller's."""
    found = message(text("a"), {"type": "server_tool_use"}, "junk", {"type": "text", "text": None}, text("b"))
    assert found == {"role": "assistant", "content": "ab", "refusal": None}


def test_names_are_the_callers_own_again() -> None:
    """What was renamed on the way there is not seen; a call without an id gets one (pitfall 8)."""
    tool = {"type": "function", "function": {"name": "get.it"}}
    exchange = opened(tools=[tool])
    use = {"type": "tool_use", "name": "get_it", "input": {"a": "ü"}}
    (call,) = exchange.answer(said(use)).data["choices"][0]["message"]["tool_calls"]
    function = {"name": "get.it", "arguments": '{"a":"ü"}'}
    assert call == {"id": "call_fx_0", "type": "function", "function": function}


def test_blocks_of_thinking_are_lines() -> None:
    """Empty ones are not seen in the text and are kept for the way back."""
    blocks = [{"type": "thinking", "thinking": words, "signature": "S"} for words in ("a", "", "b")]
    found = message(*blocks, {"type": "thinking", "thinking": "c"})
    assert found["reasoning_content"] == "a\nb\nc"
    assert [entry["index"] for entry in found["reasoning_details"]] == [0, 1, 2, 3]
    assert found["reasoning_details"][3]["signature"] is None


def test_cited_pages_are_annotations() -> None:
    """Of the text that cites them; citations of documents have no counterpart."""
    page = {"type": "web_search_result_location", "url": "https://a.example", "title": None}
    found = message(text("ab"), {**text("cd"), "citations": [page, {"type": "page_location"}]})
    cited = {"start_index": 2, "end_index": 4, "title": "", "url": "https://a.example"}
    assert found["annotations"] == [{"type": "url_citation", "url_citation": cited}]


@pytest.mark.parametrize(
    ("reason", "called", "expected"),
    [
        ("end_turn", False, "stop"),
        ("stop_sequence", False, "stop"),
        ("tool_use", False, "tool_calls"),
        ("end_turn", True, "tool_calls"),
        ("max_tokens", True, "length"),
        ("model_context_window_exceeded", False, "length"),
        ("pause_turn", False, "length"),
        ("refusal", True, "content_filter"),
        ("something_new", False, "stop"),
        (None, False, "stop"),
    ],
)
def test_finish_reasons(reason: Any, called: bool, expected: str) -> None:
    """OpenAI's five words and no other."""
    content = [{"type": "tool_use", "id": "a", "name": "f", "input": {}}] if called else []
    assert answered(*content, stop_reason=reason)["choices"][0]["finish_reason"] == expected


@pytest.mark.parametrize(
    ("stopped", "expected"),
    [
        ({"stop_reason": "end_turn", "stop_details": {"explanation": "no"}}, ""),
        ({"stop_reason": "refusal"}, "The provider declined to continue."),
        ({"stop_reason": "refusal", "stop_details": {"category": "bio"}}, "The provider declined to continue (bio)."),
    ],
)
def test_refusals(stopped: dict[str, Any], expected: str) -> None:
    """In the provider's words where it has some."""
    assert (message(**stopped)["refusal"] or "") == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 1, "cache_read_input_tokens": None, "output_tokens": 2}, Usage(1, 2)),
        ({"input_tokens": -1, "output_tokens": "9"}, Usage()),
        ({"output_tokens": 2, "output_tokens_details": {"thinking_tokens": 9}}, Usage(0, 2, reasoning=2)),
        ({"input_tokens": 9, "iterations": []}, Usage(9)),
        (
            {
                "input_tokens": 9,
                "iterations": [{"input_tokens": 1, "output_tokens": 2}, {"cache_creation_input_tokens": 3}],
                "output_tokens_details": {"thinking_tokens": 1},
            },
            Usage(4, 2, cache_write=3, reasoning=1),
        ),
        (
            {"iterations": [{"output_tokens": 2, "output_tokens_details": {"thinking_tokens": 1}}] * 2},
            Usage(0, 4, reasoning=2),
        ),
    ],
)
def test_usage(usage: dict[str, Any], expected: Usage) -> None:
    """Cached input is added, loops are summed, lies are clamped (T30, pitfall 38)."""
    assert read_usage(usage) == expected


def test_usage_that_nobody_gave_is_unknown() -> None:
    """Not 0."""
    answer = opened().answer(said(text("a"), usage=None))
    assert answer.usage is None
    assert "usage" not in answer.data


def test_the_tier_is_told_to_who_asked() -> None:
    """As OpenAI does it."""
    usage = {"input_tokens": 1, "service_tier": "priority"}
    assert opened(service_tier="auto").answer(said(usage=usage)).data["service_tier"] == "priority"
    assert "service_tier" not in opened().answer(said(usage=usage)).data
    assert "service_tier" not in opened(service_tier="auto").answer(said()).data


def test_what_has_no_name_is_given_one() -> None:
    """An answer without id and model."""
    found = answered(text("a"), id=None, model=None)
    assert (found["id"], found["model"]) == ("chatcmpl-fx", "claude-opus-5")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"content":"a"}', b"<html>"])
@pytest.mark.parametrize("call", [{}, LONG])
def test_an_answer_that_is_none(body: bytes, call: dict[str, Any]) -> None:
    """Contract F20; one that was to be a stream is unreadable or cut."""
    with pytest.raises(UpstreamError) as caught:
        opened(**call).answer(body)
    assert caught.value.code in ("bad_payload", "upstream_truncated")


def test_an_error_inside_a_200() -> None:
    """Contract F21: mapped by its type."""
    with pytest.raises(UpstreamError) as caught:
        opened().answer(orjson.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}))
    assert (caught.value.kind, caught.value.message) == (ErrorKind.OVERLOADED, "m")


@pytest.mark.parametrize("index", [[], {}, None])
def test_a_folded_block_without_a_number_is_a_block_all_the_same(index: Any) -> None:
    """Whatever Claude's stream says, nothing raises."""
    found = folded(BEGIN, start(index, type="text", text="a"), delta(index, type="text_delta", text="b"), FINISH, END)
    assert found["choices"][0]["message"]["content"] == "ab"


def test_a_long_answer_is_folded() -> None:
    """Events as a whole answer; what was asked for as a stream may come whole as well."""
    page = {"type": "web_search_result_location", "url": "https://a.example", "title": "A"}
    found = folded(
        BEGIN,
        event("ping"),
        start(0, type="thinking", thinking=""),
        delta(0, type="thinking_delta", thinking="T"),
        delta(0, type="signature_delta", signature="S"),
        start(1, type="text", text=""),
        delta(1, type="text_delta", text="a"),
        delta(1, type="citations_delta", citation=page),
        start(2, type="tool_use", id="t", name="f", input={}),
        delta(2, type="input_json_delta", partial_json='{"a"'),
        delta(2, type="input_json_delta", partial_json=":1}"),
        stop(2),
        FINISH,
        END,
    )
    (choice,) = found["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "a"
    assert choice["message"]["annotations"]
    assert choice["message"]["reasoning_details"][0]["signature"] == "S"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":1}'
    assert found["usage"]["total_tokens"] == 10
    assert opened(**LONG).answer(said(text("a"))).data["choices"][0]["message"]["content"] == "a"


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ((BEGIN, FINISH), "upstream_truncated"),
        ((END,), "bad_payload"),
        ((start(0, type="text", text="a"),), "bad_payload"),
        ((BEGIN, delta(1, type="text_delta", text="b")), "upstream_truncated"),
        ((BEGIN, event("error", error={"type": "overloaded_error"})), "provider_overloaded"),
        ((BEGIN, b"data: {\n\n"), "bad_payload"),
        ((BEGIN, b"data: " + b"x" * LONGEST_LINE + b"\n\n"), "too_large"),
    ],
)
def test_a_long_answer_that_does_not_end(events: tuple[bytes, ...], code: str) -> None:
    """Half an answer is none (G3)."""
    with pytest.raises(UpstreamError) as caught:
        folded(*events)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('{"a":1}', '{"a":1}'),
        ('```json\n{"a":1}\n```', '{"a":1}'),
        ('\n```\n{"a":"`"}\n``` \n', '{"a":"`"}'),
        ("``", "``"),
        ("```", "```"),
        ("```{}```", "```{}```"),
        ("```json\n{}", "{}"),
        (" {} ", " {} "),
        ("", ""),
    ],
)
def test_a_fence_is_taken_off_whatever_way_it_comes(written: str, expected: str) -> None:
    """JSON mode: in pieces of every size."""
    for size in range(1, len(written) + 2):
        unfence = Unfence()
        pieces = [unfence.feed(written[i : i + size]) for i in range(0, len(written), size)]
        assert "".join(pieces) + unfence.close() == expected


def test_json_mode_gives_bare_json() -> None:
    """A whole answer."""
    answer = opened(response_format={"type": "json_object"}).answer(said(text("```json\n{}\n```")))
    assert answer.data["choices"][0]["message"]["content"] == "{}"
    assert opened(response_format={"type": "json_object"}).answer(said()).data["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize("case", [case for case in golden.cases("stream") if case.provider == "anthropic"], ids=str)
def test_a_stream_that_is_folded_is_the_same_answer(case: golden.Case) -> None:
    """Law: the events as a whole answer, and the chunks joined by the rules of every client."""
    stream = case.read("upstream_response")
    answer = opened(**LONG).answer(stream)
    (choice,) = answer.data["choices"]
    events = golden.play(opened(stream=True).decoder(), [stream])
    chunks = [event.data for event in events if isinstance(event, Chunk) and event.data]
    message, reason = joined(chunks)
    assert choice["message"] == message
    assert choice["finish_reason"] == reason
    assert answer.data["usage"] == chunks[-1]["usage"]


def joined(chunks: list[Any]) -> tuple[dict[str, Any], str]:
    message: dict[str, Any] = {"content": "", "refusal": None}
    calls: dict[int, Any] = {}
    for choice in (chunk["choices"][0] for chunk in chunks[:-1]):
        for name, value in choice["delta"].items():
            if name != "tool_calls":
                message[name] = message[name] + value if message.get(name) else value
        for call in choice["delta"].get("tool_calls", ()):
            function = calls.setdefault(call.pop("index"), call)["function"]
            function["arguments"] += call["function"]["arguments"] if call["function"] is not function else ""
    if calls:
        message["tool_calls"] = list(calls.values())
    if not message["content"] and (calls or message["refusal"]):
        message["content"] = None
    return message, choice["finish_reason"]
