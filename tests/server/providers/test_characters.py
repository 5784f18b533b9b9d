"""Characters, marks and numbers that other readers of JSON lose, at Google and Ollama: there and back."""

from __future__ import annotations

import itertools
import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.providers import golden
from tests.server.providers.accumulate import accumulated

from fwd_server.callers import openai_chat
from fwd_server.providers.base import UpstreamRequest
from fwd_server.values.errors import UpstreamError

PROVIDERS = {"google": "gemini-3.5-flash", "ollama": "qwen3.8:27b"}
each_provider = pytest.mark.parametrize("provider", PROVIDERS)
MARK = b"\xef\xbb\xbf"


def call(provider: str, *, stream: bool = False, **more: Any) -> Any:
    return golden.chat_request(model=f"{provider}:{PROVIDERS[provider]}", stream=stream, **more)


def piece(provider: str, text: str = "", kind: str = "text", args: Any = None, *, last: bool = False) -> Any:
    """One frame with a text, thinking or a call."""
    if provider == "google":
        part: Any = {"text": text, **({"thought": True} if kind == "thinking" else {})}
        if args is not None:
            part = {"functionCall": {"name": "find", "args": args}}
        return {"candidates": [{"content": {"parts": [part]}, **({"finishReason": "STOP"} if last else {})}]}
    message: Any = {"role": "assistant", "content": "", "thinking" if kind == "thinking" else "content": text}
    if args is not None:
        message["tool_calls"] = [{"function": {"name": "find", "arguments": args}}]
    return {"message": message, "done": last}


def streamed(provider: str, frames: list[Any], *, size: int = 0, mark: bytes = b"") -> Any:
    """The message of a stream that escapes everything beyond ASCII, as some servers do."""
    end = {"google": ("data: ", "\r\n\r\n"), "ollama": ("", "\n")}[provider]
    raw = mark + "".join(end[0] + json.dumps(frame) + end[1] for frame in frames).encode()
    exchange = golden.open_exchange(provider, call(provider, stream=True))
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)] if size else [raw]
    events = golden.play(exchange.decoder(), pieces)
    assert not [event for event in events if isinstance(event, UpstreamError)]
    return accumulated(golden.frames(golden.rendered(events, call(provider, stream=True))))


def halved(text: str) -> str:
    """The text in UTF-16: every character beyond the first plane in two halves."""
    return "".join(chr(unit) for unit in memoryview(text.encode("utf-16-le")).cast("H"))


@each_provider
@settings(deadline=None)
@given(
    text=st.text("a é😀🎉", min_size=1, max_size=8),
    cuts=st.sets(st.integers(1, 12)),
    kind=st.sampled_from(["text", "thinking"]),
)
def test_a_character_may_be_cut_in_two_anywhere(provider: str, text: str, cuts: set[int], kind: str) -> None:
    """Its first half waits for the second, in the next piece of that text."""
    units = halved(text)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(units)), len(units)]
    pieces = [units[start:end] for start, end in itertools.pairwise(bounds)]
    message = streamed(provider, [*(piece(provider, one, kind) for one in pieces), piece(provider, "", last=True)])
    assert message["reasoning_content" if kind == "thinking" else "content"] == text


@each_provider
@pytest.mark.parametrize("kind", ["text", "thinking"])
@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["a\ud83d", "b"], "a�b"),
        (["a\ud83d"], "a�"),
        (["\ude00b"], "�b"),
        (["\ud83d", "\ud83d", "\ude00"], "�😀"),
        (["\ud83d", "", "\ude00"], "😀"),
    ],
)
def test_half_a_character_that_stays_alone_is_replaced(provider: str, kind: str, pieces: list[str], text: str) -> None:
    """Never an answer that breaks off, nor one that nobody can read."""
    frames = [*(piece(provider, one, kind) for one in pieces), piece(provider, "", last=True)]
    assert streamed(provider, frames)["reasoning_content" if kind == "thinking" else "content"] == text


@each_provider
def test_halves_of_two_texts_are_told_apart(provider: str) -> None:
    frames = [
        piece(provider, "\ud83d"),
        piece(provider, "\ud83c", "thinking"),
        piece(provider, "\ude00"),
        piece(provider, "\udf89", "thinking"),
        piece(provider, "", last=True),
    ]
    message = streamed(provider, frames)
    assert (message["content"], message["reasoning_content"]) == ("😀", "🎉")


def test_a_whole_answer_joins_the_halves_of_its_parts() -> None:
    parts = [{"text": "a\ud83d"}, {"text": "\ude00b\ud83d"}]
    body = json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}).encode()
    answer = golden.open_exchange("google", call("google")).answer(body).data
    assert answer["choices"][0]["message"]["content"] == "a😀b�"


@each_provider
def test_arguments_with_half_a_character_can_be_read(provider: str) -> None:
    frames = [piece(provider, args={"t": "\ud83d", "u": "\ud83d\ude00"}), piece(provider, "", last=True)]
    (made,) = streamed(provider, frames)["tool_calls"]
    assert json.loads(made["function"]["arguments"]) == {"t": "�", "u": "😀"}


@each_provider
@pytest.mark.parametrize("size", [0, 1, 2, 5])
def test_a_byte_order_mark_before_a_stream_says_nothing(provider: str, size: int) -> None:
    frames = [piece(provider, "a\ufeffb"), piece(provider, "", last=True)]
    assert streamed(provider, frames, size=size, mark=MARK)["content"] == "a\ufeffb"


@each_provider
def test_a_byte_order_mark_before_an_answer_or_a_failure_says_nothing(provider: str) -> None:
    exchange = golden.open_exchange(provider, call(provider))
    answer = exchange.answer(MARK + orjson.dumps(piece(provider, "Hi", last=True)))
    assert answer.data["choices"][0]["message"]["content"] == "Hi"
    error = exchange.error(400, {}, MARK + b'{"error": {"message": "no such voice"}}')
    assert isinstance(error, UpstreamError)
    assert error.message == "no such voice"


@pytest.mark.parametrize("size", [0, 1, 3, 4])
@pytest.mark.parametrize("before", [b"", orjson.dumps(piece("google", "Hi"))])
def test_a_byte_order_mark_before_a_failure_in_plain_json_says_nothing(before: bytes, size: int) -> None:
    """Google's failures may come as JSON where events were asked for."""
    raw = (b"data: " + before + b"\r\n\r\n" if before else b"") + MARK + b'{"error": {"message": "gone"}}'
    decoder = golden.open_exchange("google", call("google", stream=True)).decoder()
    events = golden.play(decoder, [raw[at : at + (size or len(raw))] for at in range(0, len(raw), size or len(raw))])
    assert [event.message for event in events if isinstance(event, UpstreamError)] == ["gone"]


# -- integers of any length

long_integers = st.integers(2**53 + 1, 10**40) | st.integers(-(10**40), -(2**53) - 1) | st.just(10**5000)


@each_provider
@settings(deadline=None)
@given(number=long_integers)
def test_long_integers_of_an_answer_keep_their_digits(provider: str, number: int) -> None:
    """https://www.rfc-editor.org/rfc/rfc8259#section-6: a number has no limit."""
    digits = str_of(number)
    body = json.dumps(piece(provider, args={"id": "N", "deep": [{"id": "N"}]}, last=True)).replace('"N"', digits)
    answer = golden.open_exchange(provider, call(provider)).answer(body.encode())
    rendered = json.loads(openai_chat.render_response(answer, call(provider)))
    made = rendered["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert made == f'{{"id":{digits},"deep":[{{"id":{digits}}}]}}'


@each_provider
@settings(deadline=None)
@given(number=long_integers)
def test_long_integers_of_a_call_keep_their_digits(provider: str, number: int) -> None:
    """In the arguments of the history, in schemas, and in the provider's own words."""
    digits = str_of(number)
    made = {"id": "c", "type": "function", "function": {"name": "find", "arguments": f'{{"id":{digits}}}'}}
    body = json.dumps(
        {
            "model": f"{provider}:{PROVIDERS[provider]}",
            "messages": [
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": None, "tool_calls": [made]},
                {"role": "tool", "tool_call_id": "c", "content": "1"},
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "find", "parameters": {"properties": {"id": {"maximum": "N"}}}},
                }
            ],
            provider: {"own": "N"},
        }
    ).replace('"N"', digits)
    sent = golden.open_exchange(provider, openai_chat.parse_request(body.encode())).request
    assert isinstance(sent, UpstreamRequest)
    assert sent.body.count(digits.encode()) == 3


def str_of(number: int) -> str:
    """Python itself refuses to write more than 4,300 digits."""
    return "1" + "0" * 5000 if number == 10**5000 else str(number)
