"""The running record of a call: what it becomes, however the call ends."""

from __future__ import annotations

from typing import Any

import pytest
from kit.calls import make_call, make_deployment

from fwd_server.values.chat import ChatResponse, Chunk, choice_delta, chunk_object
from fwd_server.values.errors import from_status
from fwd_server.values.record import CallRecord
from fwd_server.values.usage import Usage

HEAD = {"id": "1", "created": 1, "model": "m"}
OPENAI = make_deployment("http://127.0.0.1:1/v1")


def begin(**body: Any) -> CallRecord:
    return CallRecord(make_call(**body), 100.0)


def chunk(text: str, commits: bool = True) -> Chunk:
    return Chunk(commits, chunk_object(HEAD, [choice_delta({"content": text})]))


def test_a_good_call() -> None:
    record = begin()
    record.note_attempt(OPENAI, 100.0, 100.5)
    record.commit(OPENAI, (), 100.5)
    record.note_answer(ChatResponse({}, Usage(3, 4)))
    outcome = record.to_outcome(101.0)
    assert (outcome.status, outcome.provider, outcome.model, outcome.error) == (200, "openai", "gpt-x", None)
    assert (outcome.ttft_ms, outcome.total_ms, outcome.usage) == (500.0, 1000.0, Usage(3, 4))


def test_a_call_that_failed_names_who_was_asked_last() -> None:
    record = begin()
    record.note_attempt(OPENAI, 100.0, 100.1, from_status(500))
    record.fail(from_status(500))
    outcome = record.to_outcome(100.2)
    assert (outcome.status, outcome.provider, outcome.error) == (502, "openai", "provider_error")
    assert outcome.usage is None
    assert outcome.attempts[0].as_fields() == {
        "provider": "openai",
        "model": "gpt-x",
        "status": 500,
        "code": "provider_error",
        "ms": 100.0,
    }


def test_a_call_that_got_nowhere_names_nobody() -> None:
    outcome = begin().to_outcome(100.0)
    assert (outcome.provider, outcome.model, outcome.attempts) == (None, None, ())


def test_a_stream_that_broke_is_settled_as_an_estimate() -> None:
    """S27, design 2.9: what went out is counted, and marked as our count."""
    record = begin(messages=[{"role": "user", "content": [{"type": "text", "text": "12345678"}]}], stream=True)
    record.commit(OPENAI, (), 100.1)
    for event in (chunk("", commits=False), chunk("abcdefgh"), Chunk(True, frame=b"x")):
        record.note_event(event)
    record.fail(from_status(500), midstream=True)
    outcome = record.to_outcome(101.0)
    assert outcome.usage == Usage(prompt=2, completion=3, estimated=True)
    assert (outcome.status, outcome.error) == (200, "provider_error")


@pytest.mark.parametrize("choices", [[{"message": {"content": "abcde"}}], [{"message": {"content": 5}}], [{}], []])
def test_an_answer_without_usage_is_counted(choices: list[Any]) -> None:
    record = begin()
    record.commit(OPENAI, (), 100.1)
    record.note_answer(ChatResponse({"choices": choices}))
    usage = record.to_outcome(101.0).usage
    assert usage is not None
    assert usage.estimated
    assert usage.completion == (2 if "abcde" in str(choices) else 0)


@pytest.mark.parametrize("content", [5, True, ["x"], {"a": 1}, None])
def test_content_that_is_no_text_counts_as_nothing(content: Any) -> None:
    """Some upstream may send it: what goes out is its business, the count is ours."""
    record = begin(stream=True)
    record.commit(OPENAI, (), 100.1)
    record.note_event(chunk(content))
    assert record.sent_tokens == 0
