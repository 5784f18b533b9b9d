"""What comes in pieces that are useless alone: halves of characters, and entries of reasoning."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.providers.accumulate import accumulated
from tests.server.providers.compatible.test_stream import DONE, deltas, events, got
from tests.server.providers.golden import chat_request, open_exchange

from fwd_server.providers.compatible.reasoning import ReasoningEntries
from fwd_server.values.errors import UpstreamError

PROFILES = ["local", "openai", "groq", "openrouter", "deepseek", "perplexity"]
FACE = "\U0001f600"
HIGH, LOW = "\\ud83d", "\\ude00"


def written(delta: str, finish: str = "null") -> bytes:
    """A frame whose delta is given as the bytes of its JSON."""
    head = '{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    return f'data: {head}{delta},"finish_reason":{finish}}}]}}\n\n'.encode()


def grown(name: str, text: str) -> str:
    if name == "arguments":
        return f'{{"tool_calls":[{{"index":0,"function":{{"arguments":"{text}"}}}}]}}'
    return f'{{"{name}":"{text}"}}'


def read(message: dict[str, Any], name: str) -> str:
    text = message["tool_calls"][0]["function"]["arguments"] if name == "arguments" else message[name]
    assert isinstance(text, str)
    return text


START, STOP = written('{"role":"assistant","content":""}'), written("{}", '"stop"')
OPENING = written('{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}')
each_text = pytest.mark.parametrize("name", ["content", "reasoning_content", "refusal", "arguments"])


@each_text
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["hi " + HIGH, LOW + "!"], f"hi {FACE}!"),
        ([HIGH, LOW], FACE),
        (["a", HIGH, LOW, "b"], f"a{FACE}b"),
        (["a", LOW, "more"], "a\ufffdmore"),
        (["a", HIGH, "more"], "a\ufffdmore"),
        (["a", HIGH], "a\ufffd"),
        ([HIGH, HIGH, LOW], f"\ufffd{FACE}"),
        (["x" + HIGH + LOW + HIGH, LOW], f"x{FACE}{FACE}"),
    ],
)
def test_halves_of_a_character_are_joined(profile: str, name: str, pieces: list[str], text: str) -> None:
    """In every text of a delta, at every profile; one that stays alone is replaced, and the answer goes on."""
    frames = [written(grown(name, piece)) for piece in pieces]
    found = got(written('{"role":"assistant","content":""}'), OPENING, *frames, STOP, DONE, name=profile)
    assert found[-1] == "[DONE]"
    assert read(accumulated(found), name) == text


@given(text=st.text(st.characters(exclude_categories=["Cs"], min_codepoint=0x20)), data=st.data())
def test_a_text_survives_any_cut(text: str, data: st.DataObject) -> None:
    """Law 4: escaped as JSON does it, and cut anywhere between two escapes, halves of characters too."""
    units = [f"\\u{unit:04x}" for unit in memoryview(text.encode("utf-16-le")).cast("H")]
    frames = [START]
    while units:
        size = data.draw(st.integers(1, 5))
        frames.append(written(grown("content", "".join(units[:size]))))
        units = units[size:]
    assert accumulated(got(*frames, STOP, DONE))["content"] == text


@pytest.mark.parametrize("profile", PROFILES)
def test_a_whole_answer_has_no_halves(profile: str) -> None:
    """Its bytes do not go out as they came."""
    message = b'{"role":"assistant","content":"a\\ud83d","refusal":null}'
    body = b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":' + message
    answer = open_exchange(profile, chat_request(model=f"{profile}:m")).answer(body + b',"finish_reason":"stop"}]}')
    assert answer.raw is None
    assert answer.data["choices"][0]["message"]["content"] == "a\ufffd"


def test_a_failure_with_half_a_character_is_readable() -> None:
    error = events(b'data: {"error":{"message":"broken \\ud83d"}}\n\n')[-1]
    assert isinstance(error, UpstreamError)
    assert error.message == "broken \ufffd"


# -- entries of reasoning


def piece(index: int | None = 0, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "format": "f", "index": index, **more}


def told(*steps: dict[str, Any]) -> list[Any]:
    frames = [written(orjson.dumps(step).decode()) for step in steps]
    found = got(*frames, STOP, DONE, name="openrouter")
    return [
        c["delta"]["reasoning_details"] for f in found[:-1] for c in f["choices"] if "reasoning_details" in c["delta"]
    ]


A, B, SIGNED = piece(text="a"), piece(text="b"), piece(signature="s")
WHOLE = piece(text="ab", signature="s")
CALL = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize("after", [{"content": "x"}, {"refusal": "no"}, {"tool_calls": [CALL]}, {}])
def test_an_entry_goes_out_once_and_whole(after: dict[str, Any]) -> None:
    """When a text, a refusal, a call or the end comes."""
    steps = [{"reasoning": "a", "reasoning_details": [A]}, {"reasoning_details": [B]}, {"reasoning_details": [SIGNED]}]
    assert told(*steps, after) == [[WHOLE]]


def test_another_index_is_another_entry() -> None:
    """Also a summary, and one that comes after a text though its index was there before."""
    summary = [piece(1, type="reasoning.summary", summary=text) for text in ("x", "y")]
    found = told({"reasoning_details": [A]}, *({"reasoning_details": [s]} for s in summary), {"content": "t"})
    assert found == [[piece(text="a")], [piece(1, type="reasoning.summary", summary="xy")]]
    assert told({"reasoning_details": [A]}, {"content": "t"}, {"reasoning_details": [B]}) == [[A], [piece(1, text="b")]]


def test_thinking_itself_is_not_held() -> None:
    """Only the entry waits; what the caller reads goes out at once."""
    thought = {"reasoning": "a", "reasoning_details": [A]}
    frames = [written(orjson.dumps(thought).decode()), written('{"content":"x"}')]
    assert deltas(*frames, name="openrouter")[:2] == [
        {"role": "assistant", "content": "", "reasoning_content": "a"},
        {"reasoning_details": [A], "content": "x"},
    ]


@pytest.mark.parametrize(
    ("second", "indexes"),
    [(piece(0, type="reasoning.encrypted", data="d"), [0, 1]), (piece(None, text="b"), [0, 1]), (piece(7), [0, 7])],
)
def test_no_two_entries_have_one_index(second: dict[str, Any], indexes: list[int]) -> None:
    """The SDKs would add them up; OpenRouter sends OpenAI's summary and what is encrypted with one index."""
    entries = ReasoningEntries()
    entries.add_pieces([A, second])
    assert [entry["index"] for entry in entries.take_whole(ended=True)] == indexes
