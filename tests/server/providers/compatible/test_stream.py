"""Streams of OpenAI-compatible providers: relayed, put right, ended, broken off."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.providers.golden import chat_request, frames, open_exchange, play, rendered

from fwd_server.values.chat import Chunk, End, StreamEvent
from fwd_server.values.errors import UpstreamError
from fwd_server.values.usage import Usage
from fwd_server.wire import sse
from fwd_server.wire.sse import LONGEST_LINE

DONE = b"data: [DONE]\n\n"
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1795305600, "model": "m"}
OPEN = {"role": "assistant", "content": ""}
COUNT = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def frame(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    return sse.encode_event(orjson.dumps({**HEAD, "choices": [choice], **more}))


def chunk(**fields: Any) -> bytes:
    return sse.encode_event(orjson.dumps({**HEAD, **fields}))


def events(*pieces: bytes, name: str = "local", asked: bool = False) -> list[StreamEvent]:
    request = chat_request(model=f"{name}:m", stream=True, stream_options={"include_usage": asked})
    return play(open_exchange(name, request).decoder(), pieces)


def got(*pieces: bytes, name: str = "local", asked: bool = False) -> list[Any]:
    request = chat_request(model=f"{name}:m", stream=True, stream_options={"include_usage": asked})
    return frames(rendered(events(*pieces, name=name, asked=asked), request))


def deltas(*pieces: bytes, name: str = "local") -> list[Any]:
    """What the choices are given, in order, with the finish reasons; nothing of the frames around it."""
    choices = [c for f in got(*pieces, name=name) if isinstance(f, dict) for c in f.get("choices", [])]
    return [c["finish_reason"] or c["delta"] for c in choices]


def code(*pieces: bytes, name: str = "local") -> str | None:
    error = events(*pieces, name=name)[-1]
    assert isinstance(error, UpstreamError)
    return error.code


# -- relayed


@pytest.mark.parametrize("name", ["openai", "groq", "local"])
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("given", [{}, {"usage": None}])
@pytest.mark.parametrize("delta", [{"content": "Grüße"}, {"reasoning_content": "hm"}, {"refusal": "no"}])
def test_text_goes_out_as_the_bytes_it_came_in(name: str, asked: bool, given: Any, delta: Any) -> None:
    """With "usage": null if, and only if, the caller asked for usage."""
    piece = frame(delta, **given)
    found = events(frame(OPEN), piece, frame(finish="stop"), DONE, name=name, asked=asked)[1]
    assert isinstance(found, Chunk)
    assert found.commits
    expected = {key: value for key, value in orjson.loads(piece[6:]).items() if key != "usage"}
    assert orjson.loads(found.frame or b"") == {**expected, **({"usage": None} if asked else {})}


@pytest.mark.parametrize("name", ["openai", "local", "groq"])
@pytest.mark.parametrize(("index", "relayed"), [(0, True), (1, False)])
def test_pieces_of_calls_are_relayed_where_their_number_is_right(name: str, index: int, relayed: bool) -> None:
    """Else they have to be numbered."""
    function = {"name": "f", "arguments": ""}
    opening = {"tool_calls": [{"index": index, "id": "a", "type": "function", "function": function}]}
    more = {"tool_calls": [{"index": index, "function": {"arguments": "{}"}}]}
    found = events(frame(OPEN), frame(opening), frame(more), frame(finish="tool_calls"), DONE, name=name)[2]
    assert isinstance(found, Chunk)
    assert (found.frame is not None) is relayed


@pytest.mark.parametrize(
    "odd",
    [
        frame({"content": "x"}, id="other"),
        frame({"content": "x"}, created=1),
        frame({"content": "x"}, model="n"),
        frame({"content": "x"}, object="chat.completion"),
        frame({"content": "x", "role": "assistant"}),
        frame({"content": "x", "tool_calls": []}),
        frame({"content": "x"}).replace(b',"choices"', b',\ndata: "choices"'),
        frame({"content": "x"}).replace(b'{"id"', b'{"usage": null,"id"'),
    ],
)
def test_what_does_not_fit_is_put_right(odd: bytes) -> None:
    """Pitfall 46: id, created and model never change; a role comes once."""
    found = got(frame(OPEN), odd, frame(finish="stop"), DONE)[1]
    choice = {"index": 0, "delta": {"content": "x"}, "logprobs": None, "finish_reason": None}
    assert found == {**HEAD, "choices": [choice]}


def test_an_own_field_of_usage_null_inside_stays() -> None:
    """Only the chunk's own null is cut."""
    inner = {"content": "x", "odd": {"a": 1, "usage": None}}
    found = got(frame(OPEN), frame(inner, usage=None), frame(finish="stop"), DONE, name="openai")[1]
    assert found["choices"][0]["delta"] == inner
    assert "usage" not in found


@given(st.text(min_size=1), st.booleans(), st.sampled_from(["openai", "local", "openrouter"]))
def test_every_text_arrives(text: str, asked: bool, name: str) -> None:
    """Whatever it holds: quotes, keys of ours, line ends, other scripts."""
    found = got(frame(OPEN), frame({"content": text}, usage=None), frame(finish="stop"), DONE, name=name, asked=asked)
    assert found[1]["choices"][0]["delta"] == {"content": text}
    assert ("usage" in found[1]) is asked


# -- commit


@pytest.mark.parametrize(
    ("delta", "finish", "commits"),
    [
        (OPEN, None, False),
        ({"role": "assistant", "content": None, "refusal": None}, None, False),
        ({"role": "assistant"}, None, False),
        ({"content": "x"}, None, True),
        ({"reasoning": "x"}, None, True),
        ({"refusal": "x"}, None, True),
        ({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}, None, True),
    ],
)
def test_only_content_commits(delta: Any, finish: str | None, commits: bool) -> None:
    """Contract 3a: a text, reasoning, refusal or tool delta, or a finish reason; never a role."""
    found = events(frame(delta, finish))[0]
    assert isinstance(found, Chunk)
    assert found.commits is commits


def test_a_finish_reason_commits() -> None:
    """An empty answer is an answer."""
    found = [e.commits for e in events(frame(OPEN), frame(finish="stop"), DONE) if isinstance(e, Chunk)]
    assert found == [False, True, False]


# -- put right


def test_role_and_empty_text_come_once() -> None:
    """The first chunk has them, whatever the provider says; no other one does."""
    pieces = [frame({"content": "a"}), frame({**OPEN}), frame({"content": None, "reasoning": ""}), frame(finish="stop")]
    assert deltas(*pieces, DONE) == [{"role": "assistant", "content": "a"}, "stop"]


def test_content_beside_a_finish_reason_goes_first() -> None:
    """A finish chunk has an empty delta, and logprobs stay with the text."""
    assert deltas(frame(OPEN), frame({"content": "a"}, "length"), DONE) == [OPEN, {"content": "a"}, "length"]


@pytest.mark.parametrize("name", ["local", "openai", "groq", "openrouter", "perplexity"])
@pytest.mark.parametrize(
    ("reasons", "finish"),
    [
        (["stop", "stop", "stop"], "stop"),
        (["stop", None, "length"], "length"),
        (["null", "null", "stop"], "stop"),
        (["stop", None, None], "stop"),
        (["", "length", None], "length"),
    ],
)
@pytest.mark.parametrize("closed", [DONE, b""])
def test_a_finish_reason_is_the_end_only_if_nothing_follows(
    name: str, reasons: list[str | None], finish: str, closed: bytes
) -> None:
    """Whatever still comes is the answer; the finish goes out once, alone and last (F23 where [DONE] is missing)."""
    frames = [frame({"content": text}, reason) for text, reason in zip("ABC", reasons, strict=True)]
    first, *more = deltas(*frames, closed, name=name)
    assert first == {"role": "assistant", "content": "A"}
    assert more == [{"content": "B"}, {"content": "C"}, finish]


def test_a_call_after_a_finish_reason_is_one() -> None:
    """An answer that goes on with a call ends with it."""
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    found = deltas(frame({"content": "A"}, "stop"), frame({"tool_calls": [call]}), frame(finish="stop"), DONE)
    assert found == [{"role": "assistant", "content": "A"}, {"tool_calls": [call]}, "tool_calls"]


def test_a_stop_that_adds_nothing_replaces_no_other_reason() -> None:
    """As in a last chunk for the usage."""
    assert deltas(frame({"content": "A"}, "length"), frame({}, "stop"), DONE)[-1] == "length"


@pytest.mark.parametrize(
    ("said", "given"),
    [("", None), ("eos", "stop"), ("end_turn", "stop"), ("max_tokens", "length"), ("SAFETY", "content_filter")],
)
def test_a_finish_reason_is_one_of_openais(said: str, given: str | None) -> None:
    """An empty one is none; the stream's own end then says stop."""
    assert deltas(frame(OPEN), frame({}, said), DONE)[1] == (given or "stop")


def test_reasoning_has_our_name() -> None:
    """And comes once, where a provider sends both names."""
    pieces = [frame(OPEN), frame({"reasoning": "a"}), frame({"reasoning": "b", "reasoning_content": "b"})]
    assert deltas(*pieces, frame(finish="stop"), DONE)[1:3] == [{"reasoning_content": "a"}, {"reasoning_content": "b"}]


def test_images_become_markdown() -> None:
    """OpenRouter's models that draw."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,x"}}
    pieces = [frame(OPEN), frame({"content": "See", "images": [image]}), frame(finish="stop")]
    assert deltas(*pieces, DONE, name="openrouter")[1] == {"content": "See\n\n![image](data:image/png;base64,x)"}


def test_a_custom_tool_passes() -> None:
    """OpenAI's own, as it came."""
    call = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": ""}}
    more = {"index": 0, "custom": {"input": "select 1"}}
    pieces = [frame(OPEN), frame({"tool_calls": [call]}), frame({"tool_calls": [more]}), frame(finish="tool_calls")]
    assert deltas(*pieces, DONE, name="openai")[1:3] == [{"tool_calls": [call]}, {"tool_calls": [more]}]


def test_a_head_is_made_where_there_is_none() -> None:
    """The gateway's id and clock, the deployment's model."""
    found = got(sse.encode_event(b'{"choices":[{"delta":{"content":"a"}}]}'), frame(finish="stop"), DONE)[0]
    assert (found["id"], found["created"], found["model"]) == ("chatcmpl-fx", 1795305600, "m")
    assert found["object"] == "chat.completion.chunk"


@pytest.mark.parametrize("name", ["openai", "groq", "openrouter", "local"])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_every_choice_has_a_finish_reason(name: str, at: int) -> None:
    """Null until the end, wherever a server leaves it out: in the first chunk, a later one or the last."""
    bare = sse.encode_event(orjson.dumps({**HEAD, "choices": [{"index": 0, "delta": {"content": "a"}}]}))
    pieces = [frame(OPEN), frame({"content": "b"}), frame(finish="stop")]
    pieces.insert(at, bare)
    found = [one for one in events(*pieces, DONE, name=name) if isinstance(one, Chunk)]
    bodies = [one.data if one.data is not None else orjson.loads(one.frame or b"{}") for one in found]
    reasons = [choice["finish_reason"] for body in bodies for choice in body["choices"]]
    assert [reason for reason in reasons if reason] == ["stop"]
    assert reasons[-1] == "stop"


def test_a_chunk_without_choices_passes_if_it_says_something() -> None:
    """Azure's filter results travel; an empty one is nothing."""
    said = chunk(choices=[], prompt_filter_results=[1])
    found = events(said, chunk(choices=[]), frame(OPEN), frame(finish="stop"), DONE)
    assert isinstance(found[0], Chunk)
    assert found[0] == Chunk(False, {**HEAD, "choices": [], "prompt_filter_results": [1]})
    assert len(found) == 5


# -- usage and the end


def test_usage_has_a_chunk_of_its_own() -> None:
    """The latest one, after all finish reasons, whichever chunks it came in."""
    pieces = [
        frame(OPEN, usage={**COUNT, "completion_tokens": 1}),
        frame({"content": "a"}),
        frame({}, "stop", usage=COUNT),
    ]
    found = got(*pieces, DONE, asked=True)
    assert [f["usage"] for f in found[:-2]] == [None, None, None]
    assert found[-2]["choices"] == []
    assert found[-2]["usage"] == {**COUNT, "prompt_tokens_details": {"cached_tokens": 0}}


def test_the_end_has_the_usage() -> None:
    """Asked for or not, for the meter."""
    assert events(frame(OPEN), frame(finish="stop"), chunk(choices=[], usage=COUNT), DONE)[-1] == End(Usage(5, 2))


def test_what_is_not_counted_is_estimated() -> None:
    """Four bytes a token: relayed text, parsed text and arguments alike."""
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "1234"}}
    pieces = [
        frame({"content": "1234"}),
        frame({"content": "Grüß"}),
        frame({"tool_calls": [call]}),
        frame(finish="stop"),
    ]
    assert events(*pieces, DONE)[-1] == End(Usage(1, 4, estimated=True))


@pytest.mark.parametrize("usage", [{"prompt_tokens": -5, "completion_tokens": "x"}, {}, {"prompt_tokens": 1e30}])
def test_nonsense_is_not_counted(usage: Any) -> None:
    """Contract T30."""
    end = events(frame(OPEN), frame(finish="stop"), chunk(choices=[], usage={**usage, "total_tokens": None}), DONE)[-1]
    assert end == End(Usage())


def test_reasoning_beside_the_completion_is_added() -> None:
    """Where the total says that it was counted apart."""
    usage = {**COUNT, "total_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 3}}
    assert events(frame(OPEN), frame({}, "stop", usage=usage), DONE)[-1] == End(Usage(5, 5, reasoning=3))


def test_a_finish_reason_is_an_end() -> None:
    """Contract F23: [DONE] may be missing, also its last line end."""
    assert isinstance(events(frame(OPEN), frame(finish="stop"))[-1], End)
    assert isinstance(events(frame(OPEN), frame(finish="stop"), b"data: [DONE]")[-1], End)
    assert isinstance(events(frame(OPEN), frame(finish="stop"), b'data: {"choices":[],"usage":{"pro')[-1], End)


def test_done_ends_what_is_open() -> None:
    """The provider says that all is done: with calls, because of them."""
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    pieces = [frame(OPEN), frame(OPEN, index=1), frame({"tool_calls": [call]}, index=1)]
    assert deltas(*pieces, DONE)[-2:] == ["stop", "tool_calls"]


def test_nothing_follows_the_end() -> None:
    """Contract F30: events after [DONE], in the same piece or a later one."""
    whole = frame(OPEN) + frame(finish="stop") + DONE
    assert got(whole + frame({"content": "x"}) + DONE, DONE) == got(whole)


# -- broken


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b": OPENROUTER PROCESSING\n\n",),
        (frame(OPEN),),
        (frame(OPEN), frame({"content": "x"})),
        (frame(OPEN), frame(OPEN, index=1), frame(finish="stop", index=1)),
        (frame(OPEN), frame({"content": "x"})[:-20]),
    ],
)
def test_a_cut_stream_is_never_an_end(pieces: tuple[bytes, ...]) -> None:
    """Contract F22: before a finish reason of every choice, EOF is a failure."""
    assert code(*pieces) == "upstream_truncated"


DEEP = b'{"choices":[{"delta":{"content":"x","odd":' + b"[" * 300 + b"]" * 300 + b"}}]}"


@pytest.mark.parametrize(
    "data", [b"{", b"[1]", b"7", b'"x"', b'{"choices":[{"delta":{"content":"\xff"}}]}', b"null", DEEP]
)
@pytest.mark.parametrize("name", ["openai", "local"])
def test_an_event_that_cannot_be_read(name: str, data: bytes) -> None:
    """Contract F27: broken JSON, bad UTF-8, no object, more levels than can be written again."""
    assert code(frame(OPEN), b"data: " + data + b"\n\n", frame(finish="stop"), DONE, name=name) == "bad_payload"


def test_bad_utf8_is_found_where_nobody_looks() -> None:
    """Contract F27: in a field that is only passed on."""
    bad = frame({"content": "x"}, extra="AB").replace(b"AB", b"\xc3\x28")
    assert code(frame(OPEN), bad, name="openai") == "bad_payload"


def test_done_alone_is_no_answer() -> None:
    """Pitfall 44: a stream that says nothing is not a success."""
    assert code(DONE) == "bad_payload"


@pytest.mark.parametrize("tail", [b"", b"\n\n"])
def test_a_line_without_end(tail: bytes) -> None:
    """Contract F26."""
    assert code(frame(OPEN), b"data: " + b"x" * LONGEST_LINE + tail) == "too_large"
    assert code(frame(OPEN) + b"data: " + b"x" * LONGEST_LINE + tail) == "too_large"


@pytest.mark.parametrize(
    ("name", "piece", "expected"),
    [
        ("local", sse.encode_event(b'{"error":{"message":"x","code":429}}'), "rate_limit_exceeded"),
        ("local", sse.encode_event(b'{"message":"x"}', "error"), "provider_error"),
        ("openai", frame({"content": "x"}, "error"), "provider_error"),
        ("groq", frame({"content": "x"}, x_groq={"error": "x"}), "provider_error"),
    ],
)
def test_a_failure_in_the_stream(name: str, piece: bytes, expected: str) -> None:
    """Contract F21, G5: its delta is not sent, and nothing follows."""
    found = events(frame(OPEN), piece + frame({"content": "y"}), DONE, name=name)
    assert len(found) == 2
    assert code(frame(OPEN), piece, name=name) == expected


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "stop", "error", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("choices", "delta", "content", "index", "tool_calls", "function", "name", "arguments", "id"),
                    *(
                        "finish_reason",
                        "usage",
                        "error",
                        "x_groq",
                        "images",
                        "reasoning",
                        "service_tier",
                        "prompt_tokens",
                    ),
                ]
            ),
            inner,
        )
    ),
    max_leaves=12,
)
CHUNKS = st.fixed_dictionaries({"choices": st.lists(st.fixed_dictionaries({"delta": ANYTHING}) | ANYTHING, max_size=2)})


@given(st.lists(CHUNKS | ANYTHING, max_size=4), st.sampled_from(["openai", "groq", "openrouter", "local"]))
def test_no_stream_breaks_it(sent: list[Any], name: str) -> None:
    """Whatever a provider says, in whatever pieces: the same events, one end, and nothing after it."""
    data = b"".join(sse.encode_event(orjson.dumps(item)) for item in sent) + DONE
    found = got(data, name=name)
    assert found == got(*(data[i : i + 7] for i in range(0, len(data), 7)), name=name)
    assert [f for f in found if f == "[DONE]" or "error" in f] == found[-1:]


@pytest.mark.parametrize("name", ["local", "openai", "groq"])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"message":"boom","code":500}', "boom"),
        (b'"boom"', "boom"),
        (b'["boom"]', "boom"),
        (b"boom", "boom"),
        (b'{"error":{"error":{"message":"boom"}}}', "boom"),
        (b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}],"detail":"boom"}', "boom"),
        (b"<html>boom</html>", "The provider failed."),
        (b"{}", "The provider failed."),
    ],
)
def test_an_event_named_error_is_one_whatever_it_holds(name: str, data: bytes, message: str) -> None:
    """Contract F21, pitfall 42; what was sent before stays, and no end follows."""
    *before, error = events(frame(OPEN), frame({"content": "x"}), b"event: error\ndata: " + data + b"\n\n", name=name)
    assert len(before) == 2
    assert isinstance(error, UpstreamError)
    assert error.message == message
