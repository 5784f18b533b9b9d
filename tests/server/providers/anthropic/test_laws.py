"""What holds for every answer of Claude's: whole or in pieces it says the same, and it can go back as it came."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.providers import golden
from tests.server.providers.accumulate import accumulated
from tests.server.providers.anthropic.helpers import (
    BEGIN,
    END,
    FINISH,
    MODEL,
    WEATHER,
    delta,
    event,
    opened,
    said,
    start,
    stop,
)

from fwd_server.callers import openai_chat
from fwd_server.providers import PROVIDERS
from fwd_server.providers.base import UpstreamRequest
from fwd_server.values.chat import Chunk, End, Json
from fwd_server.values.errors import UpstreamError

# Half a character cannot be in a text, but a stream may be cut between its two halves.
words = st.text(st.characters(exclude_categories=("Cs",)), max_size=8) | st.sampled_from(["a\U0001f600b", "\U0001f600"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=4,
)
pages = st.fixed_dictionaries(
    {"type": st.sampled_from(["web_search_result_location", "page_location"]), "url": words, "title": words}
)


def block(kind: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({"type": st.just(kind), **fields})


signatures = st.text("abc", min_size=1, max_size=3)
ids = st.sampled_from(["toolu_1", "toolu_2", "toolu_3"])
inputs = st.dictionaries(words, values, max_size=2)
blocks = st.one_of(
    block("text", text=words, citations=st.lists(pages, max_size=2)),
    block("thinking", thinking=words, signature=signatures),
    block("redacted_thinking", data=signatures),
    block("tool_use", id=ids, name=st.just("weather"), input=inputs),
    block("server_tool_use", id=ids, name=st.just("web_search"), input=inputs),
    block("web_search_tool_result", tool_use_id=ids, content=st.just([])),
)
contents = st.lists(blocks, max_size=6)
sizes = st.integers(1, 4)


def pieces(text: str, size: int) -> list[str]:
    """A text in pieces of so many UTF-16 units, as servers cut it: also between the halves of a character."""
    units = text.encode("utf-16-le", "surrogatepass")
    cut = (units[at : at + 2 * size] for at in range(0, len(units), 2 * size))
    return [piece.decode("utf-16-le", "surrogatepass") for piece in cut]


def escaped(kind: str, **fields: Any) -> bytes:
    """An event whose JSON is written in ASCII, with both halves of a character escaped."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def streamed(content: list[Json], size: int) -> list[bytes]:
    """The events that tell a content in pieces."""
    events: list[bytes] = [BEGIN]
    for index, whole in enumerate(content):
        begun = {
            name: "" if name in ("text", "thinking", "signature") else {} if name == "input" else value
            for name, value in whole.items()
            if name != "citations"
        }
        events.append(escaped("content_block_start", index=index, content_block=begun))
        deltas: list[Json] = [{"type": "citations_delta", "citation": page} for page in whole.get("citations", ())]
        deltas += [{"type": "text_delta", "text": piece} for piece in pieces(whole.get("text", ""), size)]
        deltas += [{"type": "thinking_delta", "thinking": piece} for piece in pieces(whole.get("thinking", ""), size)]
        if whole["type"] == "thinking":
            deltas.append({"type": "signature_delta", "signature": whole["signature"]})
        if whole.get("input"):
            written = json.dumps(whole["input"], ensure_ascii=False)
            deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(written, size)]
        events += [escaped("content_block_delta", index=index, delta=one) for one in deltas]
        events.append(escaped("content_block_stop", index=index))
    return [*events, FINISH, END]


def call(**more: Any) -> Json:
    return {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "tools": [WEATHER], **more}


def whole_message(content: list[Json]) -> Json:
    body = json.dumps({**json.loads(said()), "content": content})  # integers of any length, which orjson does not write
    found: Json = opened(**call()).answer(body.encode()).data["choices"][0]["message"]
    return found


def folded_message(events: list[bytes]) -> Json:
    found: Json = opened(**call(max_tokens=20_000)).answer(b"".join(events)).data["choices"][0]["message"]
    return found


def streamed_message(events: list[bytes]) -> Json:
    request = golden.chat_request(**call(stream=True))
    played = golden.play(golden.open_exchange("anthropic", request).decoder(), [b"".join(events)])
    return accumulated(golden.frames(golden.rendered(played, request)))


def plain(message: Json) -> Json:
    """A message without what only one form has: nulls, indexes, and how arguments are spaced."""
    found = {name: value for name, value in message.items() if value not in (None, "")}
    calls = [
        (one["id"], one["function"]["name"], json.loads(one["function"]["arguments"]))
        for one in found.pop("tool_calls", ())
    ]
    return {**found, "calls": calls}


@settings(deadline=None)
@given(contents, sizes)
def test_whole_equals_folded_equals_streamed(content: list[Json], size: int) -> None:
    """Whatever the pieces are, also where they cut a character in two."""
    events = streamed(content, size)
    whole = whole_message(content)
    assert plain(folded_message(events)) == plain(whole)
    assert plain(streamed_message(events)) == plain(whole)


@settings(deadline=None)
@given(contents, sizes, st.booleans())
def test_an_answer_goes_back_as_it_came(content: list[Json], size: int, stream: bool) -> None:
    """Up to the last thinking in every block and its place, which is what signatures are bound to; and to everybody."""
    message = streamed_message(streamed(content, size)) if stream else whole_message(content)
    message = json.loads(json.dumps(message))
    results = [{"role": "tool", "tool_call_id": one["id"], "content": "ok"} for one in message.get("tool_calls") or ()]
    body = call(messages=[*call()["messages"], message, *results, {"role": "user", "content": "Go on"}])
    request = openai_chat.parse_request(json.dumps(body).encode())
    for name in sorted(PROVIDERS.keys() - {"echo"}):
        assert golden.open_exchange(name, request).request
    exchange = golden.open_exchange("anthropic", request)
    assert isinstance(exchange.request, UpstreamRequest)
    turn = next((turn for turn in json.loads(exchange.request.body)["messages"] if turn["role"] == "assistant"), None)
    sent = [] if turn is None else turn["content"]
    sent = [{"type": "text", "text": sent}] if isinstance(sent, str) else sent
    wanted = [bare(one) for one in content if one["type"] in _KEPT and one.get("text", "x").strip()]
    if not any(one["type"] in ("text", "tool_use") for one in wanted):
        return  # there is no turn of thinking alone
    last = max((i for i, one in enumerate(wanted) if "thinking" in one["type"]), default=-1)
    assert [bare(one) for one in sent][: last + 1] == wanted[: last + 1]
    assert text_of(sent) == text_of(wanted)
    assert [bare(one) for one in sent if one["type"] == "tool_use"] == [
        one for one in wanted if one["type"] == "tool_use"
    ]


_KEPT = ("text", "thinking", "redacted_thinking", "tool_use")


def text_of(blocks: list[Json]) -> str:
    return "".join("".join(one["text"].split()) for one in blocks if one["type"] == "text")


def bare(one: Json) -> Json:
    """A block without its citations, and without its id, which may have changed where it was given twice."""
    return {name: value for name, value in one.items() if name not in ("citations", "id")}


@settings(deadline=None)
@given(contents, sizes)
def test_calls_stay_apart(content: list[Json], size: int) -> None:
    """Each with an id of its own and its own input, also where the provider gives two the same id."""
    wanted = [one["input"] for one in content if one["type"] == "tool_use"]
    for message in (whole_message(content), streamed_message(streamed(content, size))):
        calls = message.get("tool_calls") or []
        assert [json.loads(one["function"]["arguments"]) for one in calls] == wanted
        assert len({one["id"] for one in calls}) == len(calls)


def test_a_number_that_is_used_again_is_another_call() -> None:
    """A block that never stopped ends where its number begins another."""
    used = {"type": "tool_use", "name": "weather", "input": {}}
    events = [BEGIN, start(0, **used, id="a"), start(0, **used, id="b")]
    events += [delta(0, type="input_json_delta", partial_json='{"b":1}'), stop(0), FINISH, END]
    calls = streamed_message(events)["tool_calls"]
    assert [(one["id"], one["function"]["arguments"]) for one in calls] == [("a", "{}"), ("b", '{"b":1}')]


@settings(deadline=None)
@given(contents, sizes, st.data())
def test_an_end_is_an_end(content: list[Json], size: int, data: st.DataObject) -> None:
    """Only ``message_stop`` is one: what breaks off before it has no finish, and nothing follows it (F22, F30)."""
    events = streamed(content, size)
    cut = data.draw(st.integers(0, len(events)))
    more = [start(9, type="text", text="x")] if cut == len(events) else []
    played = golden.play(opened(**call(stream=True)).decoder(), [b"".join(events[:cut] + more)])
    *chunks, last = played
    assert isinstance(last, End if cut == len(events) else UpstreamError)
    data_of = [one.data for one in chunks if isinstance(one, Chunk) and one.data and one.data["choices"]]
    reasons = [one["choices"][0]["finish_reason"] for one in data_of]
    assert [reason for reason in reasons if reason] == (reasons[-1:] if cut == len(events) else [])


@pytest.mark.parametrize(
    "failed",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
        {"type": "overloaded_error", "message": "m"},
        {"error": {"type": "overloaded_error", "message": "m"}},
        {"type": "message_delta", "error": {"type": "overloaded_error", "message": "m"}},
    ],
)
@pytest.mark.parametrize("long", [False, True])
def test_an_event_that_says_an_error_is_one(failed: Json, long: bool) -> None:
    """Whichever way it says so, streamed, folded and whole."""
    written = b"data: " + orjson.dumps(failed) + b"\n\n"
    last = golden.play(opened(**call(stream=True)).decoder(), [BEGIN + written])[-1]
    assert isinstance(last, UpstreamError)
    assert last.code == "provider_overloaded"
    exchange = opened(**call(max_tokens=20_000 if long else 100))
    with pytest.raises(UpstreamError) as raised:
        exchange.answer(BEGIN + written if long else orjson.dumps(failed))
    assert raised.value.code == "provider_overloaded"


def test_a_half_that_stays_alone_is_replaced() -> None:
    """In a text, in thinking and in arguments; the answer goes on."""
    for kind, name, more in (("text", "text_delta", {}), ("thinking", "thinking_delta", {})):
        events = [BEGIN, start(0, type=kind, **{kind: ""}, **more)]
        events += [
            escaped("content_block_delta", index=0, delta={"type": name, kind: text}) for text in ("a\ud83d", "b\udc00")
        ]
        events += [escaped("content_block_delta", index=0, delta={"type": name, kind: "c\ud83d"}), stop(0), FINISH, END]
        message = streamed_message(events)
        assert (message["content"] or message["reasoning_content"]) == "a\ufffdb\ufffdc\ufffd"


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (event("ping"), 0),
        (b": keep-alive\n\n", 0),
        (event("message_delta", delta={}), 0),
        (start(0, type="thinking", thinking=""), 1),
        (start(0, type="server_tool_use", id="a", name="web_search"), 1),
        (start(0, type="thinking", thinking="") + delta(0, type="signature_delta", signature="s") + stop(0), 3),
    ],
)
def test_progress_without_a_chunk(said: bytes, counts: int) -> None:
    """Every event of a block shows the model at work, also where it gives the caller nothing; pings do not."""
    decoder = opened(**call(stream=True)).decoder()
    assert not [one for one in decoder.feed(BEGIN) if isinstance(one, Chunk) and one.commits]
    before = decoder.progress
    decoder.feed(said)
    assert decoder.progress - before == counts
