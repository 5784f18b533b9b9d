"""Laws of the answers of Gemini and Ollama, over everything that they can be made of.

A whole answer equals its stream added up; a message of ours is legal input everywhere; calls stay apart; an end is an
end. The messages are added up as OpenAI's SDKs do it.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.providers import golden
from tests.server.providers.accumulate import accumulated

from fwd_server.callers import openai_chat
from fwd_server.providers import PROVIDERS
from fwd_server.providers.base import UpstreamRequest
from fwd_server.values.chat import Chunk, End
from fwd_server.values.errors import UpstreamError

Json = dict[str, Any]
MODELS = {"google": "gemini-3.5-flash", "ollama": "qwen3.8:27b"}
each_provider = pytest.mark.parametrize("provider", MODELS)
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()


@frozen
class Piece:
    """A text, some thinking, a call, or a picture; a signature may stand on it."""

    kind: str
    text: str = ""
    args: Any = None
    call_id: str = ""
    signature: str = ""

    def part(self) -> Json:
        signed = {"thoughtSignature": self.signature} if self.signature else {}
        if self.kind == "thinking":
            return {"text": self.text, "thought": True}
        if self.kind == "picture":
            return {"inlineData": {"mimeType": "image/png", "data": PICTURE}, **signed}
        if self.kind == "call":
            return {"functionCall": {"id": self.call_id, "name": self.text, "args": self.args}, **signed}
        return {"text": self.text, **signed}

    def message(self) -> Json:
        if self.kind == "call":
            function = {"name": self.text, "arguments": self.args}
            return {"content": "", "tool_calls": [{"id": self.call_id, "function": function}]}
        return {"content": "", "thinking" if self.kind == "thinking" else "content": self.text}


signatures = st.sampled_from(["", "", "QQ==", "Qg=="])
texts = st.text("ab é\n😀<", min_size=1, max_size=5)
calls = st.builds(
    Piece,
    st.just("call"),
    st.sampled_from(["get", "put"]),
    st.dictionaries(st.text("ab", max_size=2), st.integers(-(2**53), 2**53) | texts, max_size=2),
    st.sampled_from(["", "c", "c", "d", "call_fx_0"]),
    signatures,
)
pieces = st.one_of(
    st.builds(Piece, st.just("text"), texts, signature=signatures), st.builds(Piece, st.just("thinking"), texts), calls
)
with_pictures = pieces | st.builds(Piece, st.just("picture"), signature=signatures)
ENDS = {"google": ["STOP", "MAX_TOKENS", "SAFETY"], "ollama": ["stop", "length"]}


def answers(provider: str) -> Any:
    """Pieces and the reason of the end."""
    kinds = with_pictures if provider == "google" else pieces
    return st.tuples(st.lists(kinds, max_size=6), st.sampled_from(ENDS[provider]))


def whole_body(provider: str, said: list[Piece], end: str) -> bytes:
    if provider == "google":
        candidate = {"content": {"parts": [piece.part() for piece in said]}, "finishReason": end}
        return orjson.dumps({"candidates": [candidate], "usageMetadata": COUNTS, "responseId": "r"})
    message = {
        "role": "assistant",
        "content": "".join(piece.text for piece in said if piece.kind == "text"),
        "thinking": "".join(piece.text for piece in said if piece.kind == "thinking"),
        "tool_calls": [piece.message()["tool_calls"][0] for piece in said if piece.kind == "call"],
    }
    return orjson.dumps({"model": "m", "message": message, "done": True, "done_reason": end, "eval_count": 3})


COUNTS = {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8}


def frames(provider: str, said: list[Piece], end: str, per_frame: int = 1) -> list[bytes]:
    if provider == "google":
        groups = [said[at : at + per_frame] for at in range(0, len(said), per_frame)]
        bodies: list[Json] = [
            {"candidates": [{"content": {"parts": [piece.part() for piece in group]}}], "responseId": "r"}
            for group in groups
        ]
        bodies.append(
            {"candidates": [{"content": {}, "finishReason": end}], "usageMetadata": COUNTS, "responseId": "r"}
        )
        return [b"data: " + orjson.dumps(body) + b"\r\n\r\n" for body in bodies]
    lines: list[Json] = [{"model": "m", "message": piece.message(), "done": False} for piece in said]
    lines.append({"model": "m", "message": {"content": ""}, "done": True, "done_reason": end, "eval_count": 3})
    return [orjson.dumps(line) + b"\n" for line in lines]


def call(provider: str, *, stream: bool = False, messages: list[Json] | None = None) -> Any:
    more: Json = {"messages": messages} if messages else {}
    options = {"stream_options": {"include_usage": True}} if stream else {}
    return golden.chat_request(
        model=f"{provider}:{MODELS.get(provider, 'some-model')}", stream=stream, **options, **more
    )


def whole(provider: str, said: list[Piece], end: str) -> Json:
    body = whole_body(provider, said, end)
    answer = golden.open_exchange(provider, call(provider)).answer(body)
    found: Json = orjson.loads(openai_chat.render_response(answer, call(provider)))
    return found


def events(provider: str, raw: list[bytes]) -> list[Any]:
    return golden.play(golden.open_exchange(provider, call(provider, stream=True)).decoder(), raw)


def chunks(provider: str, raw: list[bytes]) -> list[Any]:
    return golden.frames(golden.rendered(events(provider, raw), call(provider, stream=True)))


def plain(message: Json) -> Json:
    """A message without what differs by form only: a call's index, and null for what is not there."""
    made = [{key: value for key, value in one.items() if key != "index"} for one in message.get("tool_calls") or ()]
    kept = {key: value for key, value in message.items() if value not in (None, "", [])}
    return {**kept, **({"tool_calls": made} if made else {})}


@each_provider
@settings(max_examples=25, deadline=None)
@given(data=st.data(), size=st.integers(1, 300))
def test_a_whole_answer_equals_its_stream_added_up(provider: str, data: st.DataObject, size: int) -> None:
    """Message, finish reason, usage and id, however the bytes are cut."""
    said, end = data.draw(answers(provider))
    raw = b"".join(frames(provider, said, end, data.draw(st.integers(1, 3))))
    found = chunks(provider, [raw[at : at + size] for at in range(0, len(raw), size)])
    expected = whole(provider, said, end)
    (choice,) = expected["choices"]
    assert plain(accumulated(found)) == plain(choice["message"])
    finishes = [c["finish_reason"] for f in found[:-1] for c in f["choices"] if c["finish_reason"]]
    assert finishes == [choice["finish_reason"]]
    assert found[-2]["usage"] == expected["usage"]
    assert {f["id"] for f in found[:-1]} == {expected["id"]}


def history(provider: str, said: list[Piece], end: str, form: str) -> list[Json]:
    """A conversation that goes on after an answer, as an app sends it back."""
    if form == "whole":
        message = whole(provider, said, end)["choices"][0]["message"]
    else:
        message = accumulated(chunks(provider, frames(provider, said, end)))
    results = [
        {"role": "tool", "tool_call_id": one["id"], "content": f"{number}"}
        for number, one in enumerate(message.get("tool_calls") or ())
    ]
    return [{"role": "user", "content": "Hi"}, message, *results, {"role": "user", "content": "And?"}]


@each_provider
@pytest.mark.parametrize("form", ["whole", "streamed"])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_an_answer_is_legal_input_at_every_provider(provider: str, form: str, data: st.DataObject) -> None:
    """It is sent back as it came, to whichever provider; texts, calls and results are all there."""
    said, end = data.draw(answers(provider))
    messages = history(provider, said, end, form)
    for other in PROVIDERS.keys() - {"echo"}:
        exchange = golden.open_exchange(other, call(other, messages=messages))
        assert isinstance(exchange.request, UpstreamRequest)
        sent = orjson.dumps(orjson.loads(exchange.request.body)).decode()
        for piece in said:
            if piece.kind in ("text", "call"):  # white space at the end of a turn is nothing at Claude
                assert orjson.dumps(piece.text.strip())[1:-1].decode() in sent


@each_provider
@settings(max_examples=25, deadline=None)
@given(made=st.lists(calls, min_size=1, max_size=5), per_frame=st.integers(1, 3))
def test_calls_stay_apart(provider: str, made: list[Piece], per_frame: int) -> None:
    """Each with its own id, index, name and arguments, whatever ids the provider gives, if any."""
    message = accumulated(chunks(provider, frames(provider, made, ENDS[provider][0], per_frame)))
    found = message["tool_calls"]
    assert [one["index"] for one in found] == list(range(len(made)))
    assert [one["function"]["name"] for one in found] == [piece.text for piece in made]
    assert [orjson.loads(one["function"]["arguments"]) for one in found] == [piece.args for piece in made]
    ids = [one["id"] for one in found]
    assert len(set(ids)) == len(ids)
    assert all(ids)


@each_provider
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_an_end_is_an_end(provider: str, data: st.DataObject) -> None:
    """Contract F22, F30: one finish, alone and last of its choice; a stream that is cut off anywhere has no end."""
    said, end = data.draw(answers(provider))
    raw = b"".join(frames(provider, said, end))
    found = events(provider, [raw])
    assert isinstance(found[-1], End)
    assert sum(isinstance(event, (End, UpstreamError)) for event in found) == 1
    choices = [event.data["choices"][0] for event in found if isinstance(event, Chunk) and event.data["choices"]]
    assert [bool(choice["finish_reason"]) for choice in choices] == [False] * (len(choices) - 1) + [True]
    assert choices[-1]["delta"] == {}
    at = data.draw(st.integers(0, len(raw) - 5))
    cut = events(provider, [raw[:at]])
    assert isinstance(cut[-1], UpstreamError)
    assert not any(isinstance(event, End) for event in cut)
    assert not any(e.data["choices"][0]["finish_reason"] for e in cut if isinstance(e, Chunk) and e.data["choices"])


@each_provider
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_nothing_comes_after_the_end(provider: str, data: st.DataObject) -> None:
    """Contract F30: what a server sends after its last word changes nothing."""
    said, end = data.draw(answers(provider))
    raw = b"".join(frames(provider, said, end))
    decoder = golden.open_exchange(provider, call(provider, stream=True)).decoder()
    found = [*decoder.feed(raw), *decoder.close()]
    assert [*decoder.feed(raw), *decoder.close()] == []
    assert isinstance(found[-1], End)
