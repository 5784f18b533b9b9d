"""The fallback over real sockets: what moves on, what ends at once, and what is never done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit.calls import make_deployment
from kit.clock import FakeClock
from kit.fakeup import (
    CLOSE,
    DONE,
    RESET,
    ROLE,
    STREAM_END,
    STREAM_HEAD,
    Fakeup,
    Seen,
    Step,
    answer,
    closed_port,
    completion,
    error_answer,
    event,
    json_answer,
    piece,
    stream,
)
from kit.fallbacks import TestedFallback, make_fallback

from fwd_server.callers.openai_errors import error_object
from fwd_server.gateway.relay import CommittedStream
from fwd_server.http1.client.pool import Pool
from fwd_server.providers import PROVIDERS
from fwd_server.upstream.send import Upstream
from fwd_server.values.chat import Chunk, End, StreamEvent
from fwd_server.values.errors import ErrorKind, Refused, UpstreamError
from fwd_server.values.record import CallRecord

pytestmark = pytest.mark.gen_test
Walker = Callable[..., TestedFallback]
Begin = Callable[..., CallRecord]
GOLDEN = Path(__file__).parents[2] / "golden" / "wire"


async def rest(stream: CommittedStream) -> list[StreamEvent]:
    """Every event of a stream to its end."""
    events: list[StreamEvent] = []
    await stream.deliver_events(events.extend)
    return events


async def test_the_first_deployment_answers(walker: Walker, record: Begin) -> None:
    """One good answer is one attempt."""
    with Fakeup(lambda seen: [json_answer(completion("Hi you"))]) as up:
        begun = record()
        response = await walker().answer_call(begun, (make_deployment(up.url),))
    assert response.data["choices"][0]["message"]["content"] == "Hi you"
    assert [attempt.status for attempt in begun.attempts] == [200]
    assert begun.provider == "openai"


@pytest.mark.parametrize("status", [408, 409, 425, 429, 401, 402, 403, 500, 502, 503, 504, 529, 302])
async def test_what_is_not_the_callers_fault_moves_on(walker: Walker, record: Begin, status: int) -> None:
    """F11 to F19: another provider is asked, and its answer is the caller's."""
    with Fakeup(lambda seen: [error_answer(status)]) as bad, Fakeup(lambda seen: [json_answer(completion())]) as good:
        begun = record()
        plan = (make_deployment(bad.url), make_deployment(good.url, "groq"))
        await walker().answer_call(begun, plan)
    assert [attempt.status for attempt in begun.attempts] == [status, 200]
    assert begun.provider == "groq"


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_the_callers_fault_ends_at_once(walker: Walker, record: Begin, status: int) -> None:
    """F17: the same status, and nobody else is asked."""
    with Fakeup(lambda seen: [error_answer(status, "Bad thing")]) as bad, Fakeup(lambda seen: []) as other:
        plan = (make_deployment(bad.url), make_deployment(other.url, "groq"))
        with pytest.raises(UpstreamError, match="Bad thing") as caught:
            await walker().answer_call(record(), plan)
    assert caught.value.status == status
    assert other.connections == 0


async def test_a_missing_model_moves_on_when_the_gateway_chose_it(walker: Walker, record: Begin) -> None:
    """F17: the caller named no model, so a 404 is ours to fix."""
    with Fakeup(lambda seen: [error_answer(404)]) as bad, Fakeup(lambda seen: [json_answer(completion())]) as good:
        begun = record(model=None)
        await walker().answer_call(begun, (make_deployment(bad.url), make_deployment(good.url, "groq")))
    assert [attempt.kind for attempt in begun.attempts] == [ErrorKind.NOT_FOUND, None]


async def test_an_unreachable_provider_moves_on(walker: Walker, record: Begin) -> None:
    """F1: connection refused."""
    with Fakeup(lambda seen: [json_answer(completion())]) as good:
        begun = record()
        plan = (make_deployment(f"http://127.0.0.1:{closed_port()}/v1"), make_deployment(good.url, "groq"))
        await walker().answer_call(begun, plan)
    assert [attempt.code for attempt in begun.attempts] == ["connect_failed", None]


async def test_when_all_fail_the_last_status_counts_and_every_attempt_is_told(walker: Walker, record: Begin) -> None:
    """F33, G9: the last failure, the list of attempts, and no retry on top of ours."""
    with Fakeup(lambda seen: [error_answer(503)]) as first, Fakeup(lambda seen: [error_answer(500)]) as second:
        with pytest.raises(UpstreamError) as caught:
            await walker().answer_call(record(), (make_deployment(first.url), make_deployment(second.url, "groq")))
    error = caught.value
    assert (error.status, error.code, error.should_retry) == (502, "provider_error", False)
    assert [(row["provider"], row["status"]) for row in error.attempts] == [("openai", 503), ("groq", 500)]
    assert "canary" not in str(error_object(error))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
async def test_a_lone_deployment_is_tried_once_more(walker: Walker, record: Begin, status: int) -> None:
    """G1: after a passing failure, once, after a short wait."""
    with Fakeup(lambda seen: [error_answer(status)]) as up, pytest.raises(UpstreamError):
        await walker().answer_call(record(), (make_deployment(up.url),))
    assert len(up.seen) == 2


@pytest.mark.parametrize("status", [429, 401, 400, 409])
async def test_a_lone_deployment_is_not_asked_again_in_vain(walker: Walker, record: Begin, status: int) -> None:
    """G1: a limit, a refused key or a bad call will not be better in half a second."""
    with Fakeup(lambda seen: [error_answer(status)]) as up, pytest.raises(UpstreamError) as caught:
        await walker().answer_call(record(), (make_deployment(up.url),))
    assert len(up.seen) == 1
    assert caught.value.attempts == ()


async def test_no_wait_is_longer_than_the_time_that_is_left(walker: Walker, record: Begin, clock: FakeClock) -> None:
    """G1: one deadline over everything, and the failure that is known is told at once."""

    def late(seen: Seen) -> list[Step]:
        clock.move(59.9)
        return [error_answer(503)]

    with Fakeup(late) as up, pytest.raises(UpstreamError) as caught:
        await walker().answer_call(record(deadline_s=60.0), (make_deployment(up.url),))
    assert (len(up.seen), caught.value.code, clock.slept) == (1, "provider_overloaded", [])


async def test_a_provider_that_names_a_time_is_not_hurried(walker: Walker, record: Begin) -> None:
    """F15: Retry-After goes to the caller instead of being ignored."""
    with Fakeup(lambda seen: [error_answer(503, retry_after="30")]) as up, pytest.raises(UpstreamError) as caught:
        await walker().answer_call(record(), (make_deployment(up.url),))
    assert len(up.seen) == 1
    assert ("retry-after", "30") in caught.value.all_headers()


async def test_attempts_are_bounded_over_the_whole_call(walker: Walker, record: Begin) -> None:
    """S22, T29: a lone deployment with one attempt gets one."""
    with Fakeup(lambda seen: [error_answer(500)]) as up, pytest.raises(UpstreamError):
        await walker(attempts=1).answer_call(record(), (make_deployment(up.url),))
    assert len(up.seen) == 1


async def test_attempts_are_bounded_over_the_plan_too(walker: Walker, record: Begin) -> None:
    """S22, G1: one attempt is one attempt, though the list goes on."""
    with Fakeup(lambda seen: [error_answer(500)]) as up, Fakeup(lambda seen: []) as other:
        plan = (make_deployment(up.url), make_deployment(other.url, "groq"))
        with pytest.raises(UpstreamError):
            await walker(attempts=1).answer_call(record(), plan)
    assert (len(up.seen), other.connections) == (1, 0)


async def test_html_with_200_is_a_failure(walker: Walker, record: Begin) -> None:
    """F24: a page is not an answer."""
    with Fakeup(lambda seen: [answer(200, b"<html>", "text/html")]) as up, pytest.raises(UpstreamError) as caught:
        await walker().answer_call(record(), (make_deployment(up.url),))
    assert (caught.value.status, caught.value.code) == (502, "bad_content_type")


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'"x"', b"{}"])
async def test_a_payload_nobody_can_read_is_a_failure(walker: Walker, record: Begin, body: bytes) -> None:
    """F20: malformed, empty or not an object."""
    with Fakeup(lambda seen: [answer(200, body)]) as up, pytest.raises(UpstreamError) as caught:
        await walker().answer_call(record(), (make_deployment(up.url),))
    assert (caught.value.status, caught.value.code) == (502, "bad_payload")


async def test_the_deadline_ends_the_whole_chain(walker: Walker, record: Begin) -> None:
    """F7: a JSON answer that does not come is 504, and nobody else is asked."""
    with Fakeup(lambda seen: [5.0]) as slow, Fakeup(lambda seen: []) as other:
        begun = record(deadline_s=0.1)
        with pytest.raises(UpstreamError) as caught:
            await walker().answer_call(begun, (make_deployment(slow.url), make_deployment(other.url, "groq")))
    assert (caught.value.status, caught.value.code) == (504, "deadline")
    assert [attempt.code for attempt in begun.attempts] == ["deadline"]
    assert other.connections == 0


async def test_extra_body_stays_with_the_provider_it_was_meant_for(walker: Walker, record: Begin) -> None:
    """Design, *Request*: elsewhere it is left behind, and that is said."""
    with Fakeup(lambda seen: [error_answer(500)]) as bad, Fakeup(lambda seen: [json_answer(completion())]) as good:
        begun = record(extra_body={"top_k": 5})
        await walker().answer_call(begun, (make_deployment(bad.url), make_deployment(good.url, "groq")))
    assert bad.seen[0].json["top_k"] == 5
    assert "top_k" not in good.seen[0].json
    assert begun.dropped == ("extra_body",)


async def test_strict_refuses_what_would_be_dropped(walker: Walker, record: Begin) -> None:
    """Design section 2.3: with x-fwd-strict nothing is lost, and nothing is sent."""
    with Fakeup(lambda seen: []) as up, pytest.raises(Refused, match="logit_bias") as caught:
        await walker().answer_call(
            record(strict=True, logit_bias={"1": 1}), (make_deployment(up.url, "groq", "llama-3"),)
        )
    assert (caught.value.status, caught.value.param) == (400, "logit_bias")
    assert up.connections == 0


async def test_a_refusing_deployment_is_skipped_when_another_can_take_the_call(walker: Walker, record: Begin) -> None:
    """G11: nothing was sent, so it is no attempt."""
    with Fakeup(lambda seen: []) as up, Fakeup(lambda seen: [json_answer(completion())]) as good:
        begun = record(strict=True, logit_bias={"1": 1})
        await walker().answer_call(begun, (make_deployment(up.url, "groq"), make_deployment(good.url, "local")))
    assert [attempt.provider for attempt in begun.attempts] == ["local"]


# -- streams


async def test_a_stream_is_whole(walker: Walker, record: Begin) -> None:
    """Every chunk, then the true end."""
    with Fakeup(lambda seen: stream("Hel", "lo")) as up:
        found = await walker().open_stream(record(stream=True), (make_deployment(up.url),))
        events = await rest(found)
    assert isinstance(events[-1], End)
    assert sum(isinstance(event, Chunk) and event.commits for event in events) == 3


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([error_answer(503)], id="F15"),
        pytest.param([STREAM_HEAD, RESET], id="F8-reset-after-the-head"),
        pytest.param([STREAM_HEAD, ROLE, CLOSE], id="F22-cut-after-the-role"),
        pytest.param([STREAM_HEAD, piece(b": ping\n\n"), STREAM_END], id="F22-only-comments"),
        pytest.param([STREAM_HEAD, piece(DONE), STREAM_END], id="F22-done-and-nothing-else"),
        pytest.param([STREAM_HEAD, piece(b'data: {"error":{"message":"m"}}\n\n'), STREAM_END], id="F21"),
        pytest.param([STREAM_HEAD, piece(b"data: nonsense\n\n"), STREAM_END], id="F27"),
        pytest.param([answer(200, b"<html>", "text/html")], id="F24"),
        pytest.param([2.0], id="F7"),
        pytest.param([STREAM_HEAD, ROLE, 2.0], id="F9"),
    ],
)
async def test_before_the_commit_a_stream_moves_on(walker: Walker, record: Begin, steps: list[Any]) -> None:
    """G2: whatever fails before the first content is somebody else's chance; a role chunk is not content."""
    with Fakeup(lambda seen: steps) as bad, Fakeup(lambda seen: stream("ok")) as good:
        begun = record(stream=True)
        plan = (make_deployment(bad.url, first_event_s=0.2), make_deployment(good.url, "groq"))
        events = await rest(await walker().open_stream(begun, plan))
    assert isinstance(events[-1], End)
    assert begun.provider == "groq"


async def test_a_stream_that_only_prepares_is_too_large(walker: Walker, record: Begin) -> None:
    """F26, T9: what is held back until the first content has the limit of a whole answer."""
    with Fakeup(lambda seen: [STREAM_HEAD, *[ROLE] * 100, STREAM_END]) as up:
        with pytest.raises(UpstreamError) as caught:
            await walker(answer_bytes=2000).open_stream(record(stream=True), (make_deployment(up.url),))
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        pytest.param([RESET], "upstream_truncated", id="F8-reset"),
        pytest.param([CLOSE], "upstream_truncated", id="F8-cut"),
        pytest.param([STREAM_END], "upstream_truncated", id="F22"),
        pytest.param([2.0], "upstream_stalled", id="F10"),
        pytest.param([piece(b"data: nonsense\n\n"), STREAM_END], "bad_payload", id="F27"),
        pytest.param([piece(b'data: {"error":{"message":"m"}}\n\n'), STREAM_END], "provider_error", id="F21"),
    ],
)
async def test_after_the_commit_nothing_moves(walker: Walker, record: Begin, steps: list[Any], code: str) -> None:
    """G5, S20: the failure is the stream's last event, and nobody else is asked."""
    begin = [STREAM_HEAD, ROLE, event({"content": "Hel"})]
    with Fakeup(lambda seen: [*begin, *steps]) as bad, Fakeup(lambda seen: stream("x")) as other:
        plan = (make_deployment(bad.url, idle_s=0.2), make_deployment(other.url, "groq"))
        events = await rest(await walker().open_stream(record(stream=True), plan))
    assert isinstance(events[-1], UpstreamError)
    assert events[-1].code == code
    assert other.connections == 0


async def test_a_json_answer_to_a_stream_call_becomes_a_stream(walker: Walker, record: Begin) -> None:
    """F24: one chunk and the end."""
    with Fakeup(lambda seen: [json_answer(completion("whole"))]) as up:
        events = await rest(await walker().open_stream(record(stream=True), (make_deployment(up.url),)))
    assert isinstance(events[0], Chunk)
    assert events[0].data is not None
    assert events[0].data["choices"][0]["delta"]["content"] == "whole"
    assert isinstance(events[-1], End)


@pytest.mark.parametrize("more", [[30.0], [piece(b": ping\n\n"), 0.02] * 500])
async def test_a_stream_longer_than_its_limit_is_ended(walker: Walker, record: Begin, more: list[Any]) -> None:
    """F28: a stream that never ends is ended at its limit, silent or not."""
    with Fakeup(lambda seen: [STREAM_HEAD, event({"content": "x"}), *more]) as up:
        events = await rest(await walker(stream_s=0.1).open_stream(record(stream=True), (make_deployment(up.url),)))
    assert isinstance(events[-1], UpstreamError)
    assert events[-1].code == "deadline"


async def test_a_key_goes_to_its_own_host_only(walker: Walker, record: Begin) -> None:
    """S11: each provider sees its own key and no other."""
    with Fakeup(lambda seen: [error_answer(500)]) as first, Fakeup(lambda seen: [json_answer(completion())]) as second:
        await walker().answer_call(record(), (make_deployment(first.url), make_deployment(second.url, "groq")))
    assert first.seen[0].headers["authorization"] == "Bearer sk-openai-canary"
    assert second.seen[0].headers["authorization"] == "Bearer sk-groq-canary"


# -- what rests


async def test_what_rests_is_asked_last(walker: Walker, record: Begin) -> None:
    """G10, F11: after a 429 the next call goes elsewhere at once."""
    with Fakeup(lambda seen: [error_answer(429)]) as bad, Fakeup(lambda seen: [json_answer(completion())]) as good:
        plan = (make_deployment(bad.url), make_deployment(good.url, "groq"))
        fallback, second = walker(), record()
        await fallback.answer_call(record(), plan)
        await fallback.answer_call(second, plan)
    assert [attempt.provider for attempt in second.attempts] == ["groq"]
    assert len(bad.seen) == 1


async def test_what_rests_is_asked_when_nothing_else_is_left(walker: Walker, record: Begin) -> None:
    """G10: moved, never removed."""
    with Fakeup(lambda seen: [error_answer(429)]) as limited, Fakeup(lambda seen: [error_answer(500)]) as bad:
        plan = (make_deployment(limited.url), make_deployment(bad.url, "groq"))
        fallback, second = walker(), record()
        for begun in (record(), second):
            with pytest.raises(UpstreamError):
                await fallback.answer_call(begun, plan)
    assert [attempt.provider for attempt in second.attempts] == ["groq", "openai"]


async def test_streams_that_break_are_faults(walker: Walker, record: Begin, clock: Any) -> None:
    """G8: a commit is no good answer; three streams cut after it rest the deployment, and a whole one wakes it."""
    cut = [STREAM_HEAD, event({"content": "x"}), CLOSE]
    with Fakeup(lambda seen: cut) as bad, Fakeup(lambda seen: stream("ok")) as good:
        plan = (make_deployment(bad.url), make_deployment(good.url, "groq"))
        fallback, fourth = walker(), record(stream=True)
        for begun in (record(stream=True), record(stream=True), record(stream=True), fourth):
            await rest(await fallback.open_stream(begun, plan))
        assert fourth.provider == "groq"
        clock.move(10.0)
        fifth, bad.script = record(stream=True), lambda seen: stream("well again")
        await rest(await fallback.open_stream(fifth, plan))
    assert fifth.provider == "openai"
    assert fallback.state.cooling_down({}, clock.monotonic()) == ()


# -- what a codec may ask for by itself


@pytest.fixture
def anthropic(clock: FakeClock, pool: Pool) -> TestedFallback:
    """A fallback for Anthropic, whose codec folds streams, amends requests and renames limits."""
    return make_fallback(PROVIDERS, Upstream(pool, clock), clock)


def anthropic_stream() -> bytes:
    sse = GOLDEN / "anthropic" / "stream-text.upstream.sse"
    return answer(200, sse.read_bytes(), "text/event-stream", anthropic_ratelimit_requests_limit="50")


async def test_a_stream_the_codec_asked_for_is_folded(anthropic: TestedFallback, record: Begin) -> None:
    """Anthropic wants long answers streamed: the caller asked for one piece, and gets one."""
    with Fakeup(lambda seen: [anthropic_stream()]) as up:
        begun = record(model="anthropic:claude-opus-4-8", max_tokens=20_000)
        plan = (make_deployment(up.url, "anthropic", "claude-opus-4-8"),)
        response = await anthropic.answer_call(begun, plan)
    assert up.seen[0].json["stream"] is True
    assert response.data["object"] == "chat.completion"
    assert ("x-ratelimit-limit-requests", "50") in begun.passed_headers


THINKING: Any = {
    "model": "anthropic:claude-opus-4-8",
    "messages": [
        {"role": "user", "content": "2+2"},
        {
            "role": "assistant",
            "content": "4",
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "Add.",
                    "signature": "eA==",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                }
            ],
        },
        {"role": "user", "content": "+1"},
    ],
}
REFUSED: Any = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "messages.1.content.0: Invalid `signature` in `thinking` block",
    },
}


@pytest.mark.parametrize(("attempts", "seen"), [(3, 2), (1, 1)])
async def test_an_amended_request_is_one_more_attempt(
    clock: FakeClock, pool: Pool, record: Begin, attempts: int, seen: int
) -> None:
    """Pitfall 28: thinking of another model is taken out and the call tried once more, within the budget (S22)."""
    steps = [json_answer(REFUSED, 400), anthropic_stream()]
    with Fakeup(lambda seen: [steps.pop(0)]) as up:
        upstream = Upstream(pool, clock)
        fallback = make_fallback(PROVIDERS, upstream, clock, attempts=attempts)
        plan = (make_deployment(up.url, "anthropic", "claude-opus-4-8"),)
        begun = record(max_tokens=20_000, **THINKING)
        (outcome,) = await asyncio.gather(fallback.answer_call(begun, plan), return_exceptions=True)
    assert isinstance(outcome, UpstreamError) is (attempts == 1)
    assert len(up.seen) == len(begun.attempts) == seen
