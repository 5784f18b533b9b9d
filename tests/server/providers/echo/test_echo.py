"""``echo:`` and its language."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.providers.golden import chat_request, open_exchange, play

from fwd_server.providers.base import ChatExchange, ScriptedResponse
from fwd_server.providers.echo import MOST_CHUNKS, MOST_TEXT, cut_text, provider
from fwd_server.values.chat import ChatRequest, ChatResponse, Chunk, End
from fwd_server.values.errors import ErrorKind, Refused, UpstreamError
from fwd_server.values.usage import Usage, estimate_tokens

WEATHER = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": {"name": "get_time"}}]


def ask(model: str, text: str = "Hello there, you all", **body: Any) -> ChatRequest:
    return chat_request(**{"model": f"echo:{model}", "messages": [{"role": "user", "content": text}], **body})


def opened(request: ChatRequest) -> tuple[ChatExchange, ScriptedResponse]:
    exchange = open_exchange("echo", request, provider().chat)
    assert isinstance(exchange.request, ScriptedResponse)
    return exchange, exchange.request


def whole(request: ChatRequest) -> ChatResponse:
    exchange, script = opened(request)
    return exchange.answer(b"".join(data for _, data in script.steps))


def said(request: ChatRequest) -> str:
    message = whole(request).data["choices"][0]["message"]
    return str(message["content"])


def called(request: ChatRequest) -> tuple[str, Any]:
    function = whole(request).data["choices"][0]["message"]["tool_calls"][0]["function"]
    return function["name"], orjson.loads(function["arguments"])


def chunks(request: ChatRequest, size: int = 0) -> list[dict[str, Any]]:
    exchange, script = opened(request)
    data = b"".join(piece for _, piece in script.steps)
    pieces = [data[i : i + size] for i in range(0, len(data), size)] if size else [p for _, p in script.steps]
    *found, end = play(exchange.decoder(), pieces)
    assert isinstance(end, End)
    return [load(chunk) for chunk in found if isinstance(chunk, Chunk)]


def load(chunk: Chunk) -> Any:
    return chunk.data or orjson.loads((chunk.frame or b"").removeprefix(b"data: "))


def streamed(request: ChatRequest, key: str = "content", size: int = 0) -> str:
    deltas = [choice["delta"] for chunk in chunks(request, size) for choice in chunk["choices"]]
    return "".join(delta.get(key) or "" for delta in deltas)


# -- what is said


def test_it_repeats_the_last_user_message() -> None:
    """Nothing but the call decides the answer."""
    messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    assert said(ask("", messages=[*messages, {"role": "user", "content": "three"}])) == "three"


def test_without_a_user_message_it_repeats_the_last_one() -> None:
    """A call of system messages only is legal."""
    assert said(ask("", messages=[{"role": "system", "content": "Be brief."}])) == "Be brief."


def test_it_names_what_is_attached() -> None:
    """Text parts are joined; images, sounds and files are named."""
    parts = [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
    ]
    assert said(ask("", messages=[{"role": "user", "content": parts}])) == (
        "See\n[image_url]\n[file a.pdf]\n[input_audio wav]"
    )


def test_a_whole_answer_looks_like_openais() -> None:
    """Its own fingerprint, the full name as model, usage by the documented estimate."""
    answer = whole(ask("", "Hello there"))
    assert answer.data["system_fingerprint"] == "fwd_echo"
    assert answer.data["model"] == "echo:"
    assert answer.usage == Usage(3, 3)


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_stream_says_the_same_however_it_is_cut(size: int) -> None:
    """Contract T10: an emoji of five code points survives chunks and single bytes."""
    text = "Grüße 👩‍👩‍👧, 你好!"
    assert streamed(ask("", text, stream=True), size=size) == text


@given(st.text(), st.integers(1, 8))
def test_pieces_make_up_the_text(text: str, most: int) -> None:
    """Nothing is lost between pieces, and none is empty."""
    pieces = cut_text(text, most)
    assert "".join(piece for _, piece in pieces) == text
    assert all(piece and weight >= 1 for weight, piece in pieces)


def test_frames_are_relayed_as_they_were_written() -> None:
    """The stream takes the fast path of an exact provider, with and without usage."""
    for asked in (True, False):
        exchange, script = opened(ask("", stream=True, stream_options={"include_usage": asked}))
        events = play(exchange.decoder(), [data for _, data in script.steps])
        assert [isinstance(e, Chunk) and e.frame is not None for e in events] == [False, *[True] * 5, *[False] * 3]


def test_the_usage_of_a_stream_is_that_of_the_whole_answer() -> None:
    """One count, both ways."""
    exchange, script = opened(ask("", stream=True))
    end = play(exchange.decoder(), [data for _, data in script.steps])[-1]
    assert end == End(whole(ask("")).usage)


def test_several_choices() -> None:
    """Each choice has its index, its text and its end."""
    found = chunks(ask("", "Hi", stream=True, n=2))
    assert [[c["index"] for c in chunk["choices"]] for chunk in found] == [[0], [1], [0], [1], [0], [1], []]
    assert [c["message"]["content"] for c in whole(ask("", "Hi", n=2)).data["choices"]] == ["Hi", "Hi"]


@pytest.mark.parametrize("stop", ["there", ["x", "there"], ["", "there"]])
def test_it_stops_where_it_is_told(stop: Any) -> None:
    """The stop text itself is not said."""
    answer = whole(ask("", "Hello there", stop=stop)).data["choices"][0]
    assert (answer["message"]["content"], answer["finish_reason"]) == ("Hello ", "stop")


@pytest.mark.parametrize("cap", [{"max_tokens": 2}, {"max_completion_tokens": 2, "max_tokens": 9}])
def test_it_says_no_more_tokens_than_allowed(cap: Any) -> None:
    """Four bytes a token; a character is not cut in two."""
    answer = whole(ask("", "Hello €ach", **cap)).data["choices"][0]
    assert (answer["message"]["content"], answer["finish_reason"]) == ("Hello ", "length")
    assert estimate_tokens("Hello ") == 2


def test_a_huge_message_comes_back_bounded() -> None:
    """Contract T4, T5: neither text nor chunks nor choices multiply without end."""
    _, script = opened(ask("", "x" * (2 * MOST_TEXT), stream=True, n=4))
    assert len(script.steps) <= MOST_CHUNKS // 4 + 3
    assert sum(len(data) for _, data in script.steps) < 3 * MOST_TEXT


def test_extra_body_counts() -> None:
    """What is merged into the body of a real provider is merged here too, whatever it is."""
    assert said(ask("", "Hello there", extra_body={"stop": " there"})) == "Hello"
    odd = {"n": "two", "max_tokens": "x", "stop": 7, "tools": 7, "response_format": "x"}
    assert said(ask("", "Hello", extra_body=odd)) == "Hello"


# -- tools and forms


def test_it_calls_the_first_tool() -> None:
    """With arguments that fit its schema."""
    assert called(ask("tools", tools=TOOLS)) == ("get_weather", {"city": "city"})


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "function": {"name": "get_time"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "get_time"}}]},
        },
    ],
)
def test_it_calls_the_tool_that_is_named(choice: Any) -> None:
    """A tool without parameters is called with an empty object."""
    assert called(ask("tools", tools=TOOLS, tool_choice=choice)) == ("get_time", {})


def test_a_streamed_call_adds_up() -> None:
    """Id, type and name once; the arguments in pieces."""
    found = [c["choices"][0]["delta"] for c in chunks(ask("tools", tools=TOOLS, stream=True)) if c["choices"]]
    calls = [delta["tool_calls"][0] for delta in found if "tool_calls" in delta]
    assert calls[0]["id"] == "call_fx_0"
    assert all("id" not in call for call in calls[1:])
    assert orjson.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "city"}


def test_with_tool_choice_none_it_talks() -> None:
    """A call is not made where none is wanted."""
    assert said(ask("tools", "Hi", tools=TOOLS, tool_choice="none")) == "Hi"


def test_a_tools_answer_is_repeated() -> None:
    """So that a loop of calls and answers ends."""
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    turns = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": "3 °C"}]
    assert said(ask("tools", tools=TOOLS, messages=turns)) == "3 °C"


@pytest.mark.parametrize(
    ("body", "missing"),
    [({}, "a function"), ({"tools": TOOLS, "tool_choice": {"function": {"name": "x"}}}, "a tool named 'x'")],
)
def test_without_the_tool_it_refuses(body: Any, missing: str) -> None:
    """The message says what is missing and where."""
    with pytest.raises(Refused, match=f"needs {missing} in 'tools'") as caught:
        opened(ask("tools", **body))
    assert caught.value.param == "tools"


def test_it_fills_in_the_form_it_is_given() -> None:
    """response_format with a schema; the answer is its JSON."""
    form = {"type": "json_schema", "json_schema": {"name": "w", "schema": WEATHER["parameters"]}}
    assert orjson.loads(said(ask("json", response_format=form))) == {"city": "city"}


@pytest.mark.parametrize("form", [{}, {"response_format": {"type": "json_object"}}])
def test_without_a_form_it_answers_an_object(form: Any) -> None:
    """JSON in any case."""
    assert orjson.loads(said(ask("json", "Hi", **form))) == {"echo": "Hi"}


# -- pace and failure


def test_it_keeps_the_pace() -> None:
    """The first piece after ttft, then so many tokens a second."""
    _, script = opened(ask("slow?ttft=500ms&rate=50", "Hello there", stream=True))
    assert [delay for delay, _ in script.steps] == [0.5, 0.02, 0.02, 0.02, 0.0]


def test_a_json_answer_takes_as_long_in_all() -> None:
    """The same time, in one piece."""
    _, script = opened(ask("slow?ttft=2s&rate=10", "Hello there"))
    assert [delay for delay, _ in script.steps] == [2.3]


def test_slow_has_a_pace_of_its_own() -> None:
    """Without options: half a second, then twenty tokens a second."""
    _, script = opened(ask("slow", "Hello there", stream=True))
    assert [delay for delay, _ in script.steps] == [0.5, 0.05, 0.05, 0.05, 0.0]


@pytest.mark.parametrize(
    ("model", "kind", "status", "retry_after"),
    [
        ("fail", ErrorKind.PROVIDER, 502, None),
        ("fail?status=429&retry_after=2", ErrorKind.RATE_LIMITED, 429, 2),
        ("fail?status=401", ErrorKind.AUTH, 502, None),
        ("fail?status=302", ErrorKind.PAYLOAD, 502, None),
    ],
)
def test_it_fails_with_a_status(model: str, kind: ErrorKind, status: int, retry_after: float | None) -> None:
    """Contract F11 to F19: read back as a real provider's failure is."""
    exchange, script = opened(ask(model))
    error = exchange.error(script.status, dict(script.headers), script.steps[0][1])
    assert isinstance(error, UpstreamError)
    assert (error.kind, error.status, error.retry_after_s) == (kind, status, retry_after)


@pytest.mark.parametrize(("model", "ends"), [("fail?after=2", "cut"), ("stall?after=2", "stall")])
def test_a_stream_breaks_off_after_some_chunks(model: str, ends: str) -> None:
    """Contract F10, F22: what was said until then, and no end."""
    exchange, script = opened(ask(model, stream=True))
    *found, error = play(exchange.decoder(), [data for _, data in script.steps])
    assert script.ends == ends
    assert [load(c)["choices"][0]["delta"].get("content") for c in found if isinstance(c, Chunk)] == [
        "",
        "Hell",
        "o th",
    ]
    assert isinstance(error, UpstreamError)


def test_a_short_text_breaks_off_too() -> None:
    """However little there is to say, its end is never said."""
    exchange, script = opened(ask("fail?after=5", "Hi", stream=True))
    assert isinstance(play(exchange.decoder(), [data for _, data in script.steps])[-1], UpstreamError)


@pytest.mark.parametrize(("model", "ends"), [("fail?after=5", "cut"), ("stall", "stall")])
def test_a_json_answer_breaks_off_in_the_middle(model: str, ends: str) -> None:
    """Contract F8, G3: half a body is no answer."""
    exchange, script = opened(ask(model))
    assert script.ends == ends
    with pytest.raises(UpstreamError):
        exchange.answer(script.steps[0][1])


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("loud", "There is no 'echo:loud'. There are: echo:, echo:tools, echo:json, echo:slow, echo:fail, echo:stall."),
        ("slow?speed=2", "'echo:slow' has no option 'speed'; it takes ttft, rate."),
        ("?rate=2", "'echo:' has no option 'rate'; it takes no options."),
        ("slow?ttft=soon", "'ttft': 'soon'; expected a time such as 500ms or 2s, an hour at most."),
        ("slow?ttft=3601s", "'ttft': '3601s'; expected a time such as 500ms or 2s, an hour at most."),
        ("slow?rate=0", "'rate': '0'; expected a number from 0.01 to 1e+06."),
        ("slow?rate=5ms", "'rate': '5ms'; expected a number from 0.01 to 1e+06."),
        ("fail?status=200", "'status': '200'; expected a whole number from 300 to 599."),
        ("stall?after=-1", "'after': '-1'; expected a whole number from 0 to 4096."),
        ("fail?status=500&after=1", "'echo:fail' takes 'status' or 'after', not both."),
        ("fail?after=1&retry_after=1", "'echo:fail' takes 'retry_after' with a status only."),
    ],
)
def test_a_wish_that_cannot_be_read_is_refused(model: str, words: str) -> None:
    """The message says what was found and what is allowed."""
    with pytest.raises(Refused) as caught:
        opened(ask(model))
    assert caught.value.message.endswith(words)
    assert caught.value.param == "model"
