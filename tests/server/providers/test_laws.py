"""What no translation may lose, for all providers: whatever is said comes out as it was said, both ways.

The other side of each wire is the strict upstream of the conversation tests (``kit.providers``).
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.conversation import MOST_TOKENS, SYSTEM, TOOLS, TURNS, Asked, Json, Said
from kit.fakeup import Seen
from kit.providers import LANGUAGES, Language
from tests.server.providers import golden

from fwd_server.callers import openai_chat as dialect
from fwd_server.providers.base import UpstreamRequest
from fwd_server.values.chat import ChatRequest
from fwd_server.values.secret import Secret

KEY = "sk-canary-0123456789"
THOUGHT = TURNS[0].answer.thought
each = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)

texts = st.text(min_size=1, max_size=30).filter(str.strip)
# A tool's result that is an object, or marked as an error, has another form at Gemini: not the same, and not lost.
results = texts.filter(lambda text: not text.lstrip().startswith(("{", "[error] ")))
counts = st.integers(3, 2**31)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9, width=32) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([tool["function"]["name"] for tool in TOOLS])
calls = st.lists(st.tuples(names, st.dictionaries(st.text(max_size=8), values, max_size=3)), min_size=1, max_size=3)
answers = st.one_of(
    st.builds(Said, texts, prompt=counts, completion=counts),
    st.builds(Said, texts | st.just(""), calls.map(tuple), st.just(THOUGHT), counts, counts),
)


def request(language: Language, messages: list[Json], *, stream: bool = False) -> ChatRequest:
    body: Json = {"model": f"{language.name}:{language.model}", "messages": messages, "tools": list(TOOLS)}
    body |= {
        "max_completion_tokens": MOST_TOKENS,
        "stream": stream,
        "stream_options": {"include_usage": True} if stream else None,
    }
    return dialect.parse_request(orjson.dumps({name: value for name, value in body.items() if value}))


def kept(completion: Json) -> Said:
    """What must not get lost of an answer."""
    (choice,) = completion["choices"]
    message, usage = choice["message"], completion["usage"]
    found = [call["function"] for call in message.get("tool_calls") or ()]
    said = tuple((function["name"], orjson.loads(function["arguments"])) for function in found)
    thought = message.get("reasoning_content") or ""
    return Said(message.get("content") or "", said, thought, usage["prompt_tokens"], usage["completion_tokens"])


def expected(language: Language, said: Said) -> Said:
    """OpenAI shows no reasoning."""
    thought = "" if language.name == "openai" else said.thought
    return Said(said.text, said.calls, thought, said.prompt, said.completion)


def folded(stream: bytes) -> Json:
    """A rendered stream as the completion that it tells, by the rules every client goes by."""
    chunks = [frame for frame in golden.frames(stream) if frame != "[DONE]"]
    message: Json = {"content": "", "reasoning_content": "", "tool_calls": []}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        delta = choice["delta"]
        message["content"] += delta.get("content") or ""
        message["reasoning_content"] += delta.get("reasoning_content") or ""
        for call in delta.get("tool_calls", ()):
            if call["index"] == len(message["tool_calls"]):
                message["tool_calls"].append({**call, "function": {"name": call["function"]["name"], "arguments": ""}})
            message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return {"choices": [{"message": message}], "usage": chunks[-1]["usage"]}


@each
@settings(max_examples=50, deadline=None)
@given(said=answers)
def test_a_whole_answer_says_what_was_said(language: Language, said: Said) -> None:
    """Text, calls with their arguments, reasoning and counts."""
    call = request(language, [{"role": "user", "content": "Hi"}])
    answer = golden.open_exchange(language.name, call).answer(language.whole(said))
    assert kept(orjson.loads(dialect.render_response(answer, call))) == expected(language, said)


@each
@settings(max_examples=50, deadline=None)
@given(said=answers, size=st.integers(1, 400))
def test_a_stream_says_what_was_said(language: Language, said: Said, size: int) -> None:
    """The same, whatever way the bytes are cut."""
    call = request(language, [{"role": "user", "content": "Hi"}], stream=True)
    raw = b"".join(language.stream(said))
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    stream = golden.rendered(golden.play(golden.open_exchange(language.name, call).decoder(), pieces), call)
    assert stream.endswith(b"data: [DONE]\n\n")
    assert kept(folded(stream)) == expected(language, said)


@each
@settings(max_examples=30, deadline=None)
@given(turns=st.lists(st.tuples(texts, answers, results), min_size=1, max_size=3), last=texts)
def test_a_conversation_is_understood_as_it_was(language: Language, turns: list[Any], last: str) -> None:
    """Who said what in which order, calls with their results; also what only the provider itself can read."""
    messages: list[Json] = [{"role": "system", "content": SYSTEM}]
    said: list[tuple[Any, ...]] = []
    for question, answer, result in turns:
        messages.append({"role": "user", "content": question})
        messages += replied(language, messages, answer, result)
        said += [("user", question), *([("model", answer.text)] if answer.text else [])]
        said += [("call", *call) for call in answer.calls] + [("result", name, result) for name, _ in answer.calls]
    messages.append({"role": "user", "content": last})
    tools = tuple((tool["function"]["name"], tool["function"]["parameters"]) for tool in TOOLS)
    understood = language.read(sent(language, request(language, messages)), KEY)
    assert understood == Asked(SYSTEM, (*said, ("user", last)), tools, False)


def replied(language: Language, messages: list[Json], answer: Said, result: str) -> list[Json]:
    """Our rendering of an answer, as an app sends it back, and the results of its calls."""
    exchange = golden.open_exchange(language.name, request(language, messages))
    message = exchange.answer(language.whole(answer)).data["choices"][0]["message"]
    calls = message.get("tool_calls") or ()
    return [message, *({"role": "tool", "tool_call_id": call["id"], "content": result} for call in calls)]


def sent(language: Language, call: ChatRequest) -> Seen:
    """What the provider sees of a call."""
    upstream = golden.open_exchange(language.name, call).request
    assert isinstance(upstream, UpstreamRequest)
    headers = {name: value.reveal() if isinstance(value, Secret) else value for name, value in upstream.headers}
    return Seen(upstream.method, language.base + upstream.path, headers, upstream.body)
