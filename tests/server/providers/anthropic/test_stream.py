"""Claude's stream as chunks."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.providers import golden
from tests.server.providers.anthropic.helpers import (
    BEGIN,
    END,
    FINISH,
    delta,
    event,
    opened,
    start,
    stop,
)

from fwd_server.values.chat import Chunk, End, Json, StreamEvent
from fwd_server.values.errors import UpstreamError
from fwd_server.values.usage import Usage


def played(*events: bytes, **call: Any) -> list[StreamEvent]:
    return golden.play(opened(stream=True, **call).decoder(), [b"".join(events)])


def deltas(*events: bytes, **call: Any) -> list[Json]:
    """What the chunks add, without the role."""
    chunks = [e.data for e in played(BEGIN, *events, FINISH, END, **call) if isinstance(e, Chunk) and e.data]
    found = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert found[0] == {"role": "assistant", "content": ""}
    assert found[-1] == {}
    return found[1:-1]


def failed(*events: bytes) -> UpstreamError:
    last = played(*events)[-1]
    assert isinstance(last, UpstreamError)
    return last


def arguments(index: int, written: str) -> Json:
    return {"tool_calls": [{"index": index, "function": {"arguments": written}}]}


def test_text_that_a_block_begins_with() -> None:
    """And what nobody knows gives nothing."""
    events = (start(0, type="text", text="a"), delta(0, type="text_delta", text=""), delta(0, type="new"))
    assert deltas(*events, start(1, type="new"), stop(1), stop(7), delta(7, type="text_delta", text="x")) == [
        {"content": "a"}
    ]


def test_input_that_a_call_begins_with() -> None:
    """Sent once; ``{}`` is not input (pitfall 6), and a block left open is closed (pitfall 7)."""
    found = deltas(start(0, type="tool_use", id="a", name="f", input={"x": 1}), start(1, type="tool_use", name="g"))
    assert found[1] == arguments(0, '{"x":1}')
    assert found[2]["tool_calls"][0]["id"] == "call_fx_0"
    assert found[3] == arguments(1, "{}")


def test_a_second_block_of_thinking_is_a_new_line() -> None:
    """Also when the first piece stands in the block's beginning."""
    found = deltas(
        start(0, type="thinking", thinking="a"),
        delta(0, type="thinking_delta", thinking="b"),
        stop(0),
        start(1, type="thinking", thinking=""),
        delta(1, type="thinking_delta", thinking=""),
        delta(1, type="thinking_delta", thinking="c"),
        stop(1),
    )
    assert [one["reasoning_content"] for one in found if "reasoning_content" in one] == ["a", "b", "\nc"]
    assert [one["reasoning_details"][0]["text"] for one in found if "reasoning_details" in one] == ["ab", "c"]


def test_names_are_the_callers_own_again() -> None:
    """In the piece that opens a call."""
    tool = {"type": "function", "function": {"name": "get.it"}}
    found = deltas(start(0, type="tool_use", id="a", name="get_it", input={}), stop(0), tools=[tool])
    assert found[0]["tool_calls"][0]["function"] == {"name": "get.it", "arguments": ""}


def test_a_call_ends_with_tool_calls() -> None:
    """Whatever the stop reason says (pitfall 10)."""
    *_, finish, _, _ = played(BEGIN, start(0, type="tool_use", id="a", name="f", input={}), FINISH, END)
    assert isinstance(finish, Chunk)
    assert (finish.data or {})["choices"][0]["finish_reason"] == "tool_calls"


def test_a_fence_is_taken_off_in_json_mode() -> None:
    """What is held back comes before the end."""
    pieces = [delta(0, type="text_delta", text=piece) for piece in ("``", "`json\n{", "}\n`", "``")]
    found = deltas(start(0, type="text", text=""), *pieces, response_format={"type": "json_object"})
    assert "".join(one["content"] for one in found) == "{}"
    found = deltas(start(0, type="text", text="`"), response_format={"type": "json_object"})
    assert found == [{"content": "`"}]


def test_usage_is_known_as_soon_as_it_is_told() -> None:
    """A caller who leaves has used what was counted so far."""
    decoder = opened(stream=True).decoder()
    assert decoder.usage is None
    decoder.feed(BEGIN)
    assert decoder.usage == Usage(7)
    decoder.feed(event("message_delta", delta={}, usage={"output_tokens": 2, "input_tokens": None}))
    assert decoder.usage == Usage(7, 2)


def test_usage_that_nobody_gave_is_unknown() -> None:
    """No chunk for it, and none at the end."""
    begin = event("message_start", message={"id": "m"})
    *chunks, last = played(begin, event("message_delta", delta={"stop_reason": "end_turn"}), END)
    assert last == End(None)
    assert all(isinstance(chunk, Chunk) and chunk.data and chunk.data["choices"] for chunk in chunks)


def test_the_tier_is_told_at_the_end() -> None:
    """To a caller who asked for one."""
    usage = {"input_tokens": 1, "service_tier": "standard"}
    events = (event("message_start", message={"usage": usage}), FINISH, END)
    found = [
        e.data.get("service_tier") for e in played(*events, service_tier="auto") if isinstance(e, Chunk) and e.data
    ]
    assert found == ["default", "default", "default"]


def test_a_second_beginning_changes_nothing() -> None:
    """Id and model are those of the first (pitfall 46)."""
    again = event("message_start", message={"id": "msg_2", "model": "other"})
    ids = {e.data["id"] for e in played(BEGIN, again, FINISH, END) if isinstance(e, Chunk) and e.data}
    assert ids == {"chatcmpl-msg_1"}


@pytest.mark.parametrize("first", [start(0, type="text", text="a"), FINISH, END])
def test_a_stream_that_does_not_begin(first: bytes) -> None:
    """Nothing can be said before the beginning."""
    assert failed(first).code == "bad_payload"


def test_the_finish_waits_for_the_true_end() -> None:
    """A stream that breaks off after its stop reason is cut all the same, and has no finish (F22, G5)."""
    *chunks, last = played(BEGIN, start(0, type="text", text="a"), FINISH)
    assert isinstance(last, UpstreamError)
    assert last.code == "upstream_truncated"
    reasons = [e.data["choices"][0]["finish_reason"] for e in chunks if isinstance(e, Chunk) and e.data]
    assert reasons == [None, None]


@pytest.mark.parametrize("index", [[], {}, None, "0"])
def test_a_block_without_a_number_is_a_block_all_the_same(index: Any) -> None:
    """Whatever Claude's stream says, nothing raises."""
    events = (start(index, type="text", text="a"), delta(index, type="text_delta", text="b"), stop(index))
    assert deltas(*events) == [{"content": "a"}, {"content": "b"}]


def test_nothing_follows_the_end() -> None:
    """Contract F30."""
    events = played(BEGIN, FINISH, END, start(0, type="text", text="a"), END)
    assert isinstance(events[-1], End)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("overloaded_error", "provider_overloaded", "provider_overloaded"),
        ("rate_limit_error", "rate_limit_exceeded", "rate_limit_exceeded"),
        ("api_error", "provider_error", "provider_error"),
        ("billing_error", "insufficient_quota", "provider_error"),
        ("not_found_error", "model_not_found", "provider_error"),
        ("timeout_error", "upstream_timeout", "provider_error"),
        ("authentication_error", "provider_auth", "provider_error"),
        ("invalid_request_error", None, "provider_error"),
        ("something_new", "provider_error", "provider_error"),
    ],
)
def test_errors_inside_the_stream(kind: str, before: str | None, after: str) -> None:
    """By their type before the first content; after it, load or the provider's failure (F21)."""
    error = event("error", error={"type": kind, "message": "m"})
    assert failed(BEGIN, error).code == before
    assert failed(BEGIN, start(0, type="text", text="a"), error).code == after
