"""What holds of every provider's streams: whole equals folded, output is legal input, and an end is an end."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kit.conversation import SYSTEM, TOOLS, Asked, Said
from kit.providers import LANGUAGES, Language
from tests.server.providers import golden
from tests.server.providers.accumulate import accumulated
from tests.server.providers.test_laws import KEY, answers, request, results, sent, texts

from fwd_server.providers.answer_shape import fold_events
from fwd_server.providers.call_ids import AnswerIds
from fwd_server.providers.compatible.calls import CallFragments
from fwd_server.values.chat import ChatResponse, Chunk, End, StreamEvent, choice_delta, unfold_response
from fwd_server.values.errors import UpstreamError, upstream_failure

Json = dict[str, Any]
each = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
QUESTION = {"role": "user", "content": "Hi"}


def streamed(language: Language, said: Said, size: int = 1 << 20) -> list[StreamEvent]:
    call = request(language, [QUESTION], stream=True)
    raw = b"".join(language.stream(said))
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    return golden.play(golden.open_exchange(language.name, call).decoder(), pieces)


def answered(language: Language, said: Said) -> ChatResponse:
    call = request(language, [QUESTION])
    return golden.open_exchange(language.name, call).answer(language.whole(said))


def told(answer: ChatResponse) -> tuple[Any, ...]:
    """What an answer says; ids of calls and entries of reasoning are made anew for each."""
    (choice,) = answer.data["choices"]
    message = {k: v for k, v in choice["message"].items() if k not in ("tool_calls", "reasoning_details")}
    calls = [call["function"] for call in choice["message"].get("tool_calls") or ()]
    known = [(call["name"], orjson.loads(call["arguments"])) for call in calls]
    return message, known, choice["finish_reason"], answer.usage, answer.data["object"], answer.data["model"]


@each
@settings(max_examples=30, deadline=None)
@given(said=answers, size=st.integers(1, 400))
def test_whole_equals_folded(language: Language, said: Said, size: int) -> None:
    """Law 1: the events of a stream fold to the answer that comes whole, and that unfolds and folds to itself."""
    answer = answered(language, said)
    assert told(fold_events(streamed(language, said, size))) == told(answer)
    assert told(fold_events([*unfold_response(answer), End(answer.usage)])) == told(answer)


@each
@settings(max_examples=30, deadline=None)
@given(said=answers, result=results, last=texts, form=st.sampled_from(["whole", "streamed", "unfolded", "folded"]))
def test_output_is_legal_input(language: Language, said: Said, result: str, last: str, form: str) -> None:
    """Law 2: the message of any answer is accepted as history, however it came, and says the same there."""
    if form == "folded":
        message = fold_events(streamed(language, said)).data["choices"][0]["message"]
    elif form == "whole":
        message = answered(language, said).data["choices"][0]["message"]
    else:
        events = streamed(language, said) if form == "streamed" else unfold_response(answered(language, said))
        message = message_of(language, events)
    calls = message.get("tool_calls") or ()
    turns = [{"role": "tool", "tool_call_id": call["id"], "content": result} for call in calls]
    messages = [{"role": "system", "content": SYSTEM}, QUESTION, message, *turns, {"role": "user", "content": last}]
    upstream = language.read(sent(language, request(language, messages)), KEY)
    tools = tuple((tool["function"]["name"], tool["function"]["parameters"]) for tool in TOOLS)
    before = [("user", "Hi"), *([("model", said.text)] if said.text else []), *(("call", *c) for c in said.calls)]
    after = [("result", name, result) for name, _ in said.calls]
    assert upstream == Asked(SYSTEM, (*before, *after, ("user", last)), tools, False)


def message_of(language: Language, events: Any) -> Json:
    """A stream added up as the official SDKs do it."""
    call = request(language, [QUESTION], stream=True)
    return accumulated(golden.frames(golden.rendered(list(events), call)))


@each
@settings(max_examples=30, deadline=None)
@given(said=answers, share=st.floats(0, 1), size=st.integers(1, 400))
def test_an_end_is_an_end(language: Language, said: Said, share: float, size: int) -> None:
    """Law 6: wherever a stream breaks off, it ends once; with a true end only if nothing of the answer is missing."""
    raw = b"".join(language.stream(said))
    cut = raw[: int(len(raw) * share)]
    decoder = golden.open_exchange(language.name, request(language, [QUESTION], stream=True)).decoder()
    events = [event for at in range(0, len(cut), size) for event in decoder.feed(cut[at : at + size])]
    events += decoder.close()
    assert [isinstance(event, Chunk) for event in events] == [True] * (len(events) - 1) + [False]
    assert decoder.feed(raw) + decoder.close() == []
    if isinstance(events[-1], End):
        found, answer = told(fold_events(events)), told(answered(language, said))
        assert found[:3] == answer[:3]
    else:
        assert isinstance(events[-1], UpstreamError)
        with pytest.raises(UpstreamError):
            fold_events(events)


def test_a_fold_needs_an_end() -> None:
    """Law 6: half an answer is none, and an error in a stream is that failure."""
    chunk = Chunk(True, {"id": "c", "created": 1, "model": "m", "choices": [choice_delta({"content": "a"})]})
    for events, code in (([chunk], "upstream_truncated"), ([chunk, upstream_failure("too_large")], "too_large")):
        with pytest.raises(UpstreamError) as caught:
            fold_events(events)
        assert caught.value.code == code


def test_everything_of_a_stream_folds() -> None:
    """Choices, sound, custom tools, probabilities, and what else the chunks say."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "service_tier": "default"}
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "t", "input": "x"}}
    more = {"index": 0, "custom": {"input": "y"}}
    steps = [
        (0, {"role": "assistant", "content": None, "audio": {"id": "s", "transcript": "a", "data": "AA"}}, None),
        (0, {"audio": {"transcript": "b", "data": "BB", "expires_at": 5}}, {"content": [1], "refusal": None}),
        (1, {"role": "assistant", "content": "", "tool_calls": [custom]}, None),
        (0, {}, {"content": [2], "refusal": None}),
        (1, {"tool_calls": [more], "reasoning_details": [{"index": 0}]}, None),
    ]
    chunks = [Chunk(True, {**head, "choices": [choice_delta(d, i, None, p)]}) for i, d, p in steps]
    ends = [Chunk(True, {**head, "choices": [choice_delta({}, i, f)]}) for i, f in ((0, "stop"), (1, "tool_calls"))]
    counts = Chunk(False, {**head, "choices": [], "usage": {"prompt_tokens": 1}})
    answer = fold_events([*chunks, *ends, counts, End()]).data
    first, second = answer["choices"]
    assert (answer["object"], answer["service_tier"], answer["usage"]) == (
        "chat.completion",
        "default",
        {"prompt_tokens": 1},
    )
    assert first["message"]["content"] is None
    assert first["message"]["audio"] == {"id": "s", "transcript": "ab", "data": "AABB", "expires_at": 5}
    assert first["logprobs"] == {"content": [1, 2], "refusal": None}
    assert second["message"]["tool_calls"] == [{"id": "a", "type": "custom", "custom": {"name": "t", "input": "xy"}}]
    assert (first["finish_reason"], second["finish_reason"]) == ("stop", "tool_calls")


# -- calls stay apart


@st.composite
def interleavings(draw: st.DrawFn) -> tuple[list[tuple[str, str]], list[Json]]:
    """Some calls, and their fragments in any order that keeps each call's own; every index is the server's."""
    count = draw(st.integers(1, 4))
    calls = [
        (draw(st.sampled_from(["f", "g"])), orjson.dumps({"n": number, "t": draw(st.text(max_size=6))}).decode())
        for number in range(count)
    ]
    indexes = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count, unique=True))
    ids = draw(st.lists(st.sampled_from(["", "a", "b"]), min_size=count, max_size=count))
    repeats = draw(st.booleans())
    queues: list[list[Json]] = []
    for index, (name, arguments), call_id in zip(indexes, calls, ids, strict=True):
        at = draw(st.integers(0, len(arguments)))
        pieces = ["", arguments[:at], arguments[at:]] if draw(st.booleans()) else [arguments]
        again = {"id": call_id} if repeats and call_id else {}
        queues.append(
            [
                {"index": index, "function": {"arguments": piece}, **again}
                | ({"id": call_id, "function": {"name": name, "arguments": piece}} if number == 0 else {})
                for number, piece in enumerate(pieces)
            ]
        )
    fragments = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        fragments.append(queue.pop(0))
    order = list(dict.fromkeys(fragment["index"] for fragment in fragments))
    return [calls[indexes.index(index)] for index in order], fragments


@settings(max_examples=300, deadline=None)
@given(case=interleavings())
def test_calls_stay_apart(case: tuple[list[tuple[str, str]], list[Json]]) -> None:
    """Law 5: in any order of the fragments, with ids that are missing, repeated or shared by several calls."""
    wanted, fragments = case
    assume(fragments)
    calls = CallFragments(AnswerIds(golden.fresh_ids()))
    chunks = [
        {"choices": [choice_delta({"tool_calls": [tidy]})]}
        for fragment in fragments
        if (tidy := calls.read_fragment(fragment))
    ]
    found = accumulated(chunks)["tool_calls"]
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in found] == wanted
    assert len({call["id"] for call in found}) == len(wanted)
    assert all(call["id"] for call in found)
