"""The fast readers may only decline, or agree with the exact ones: over generated and mutated calls and answers."""

from __future__ import annotations

import json
import typing
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.calls import make_deployment

from fwd_server.callers.openai_chat import parse_exactly, parse_request
from fwd_server.callers.plain_chat import read_plain
from fwd_server.providers.compatible import PROFILES, CompatibleExchange, provider
from fwd_server.providers.compatible.plain import judge_answer
from fwd_server.values.chat import ChatBody, ChatRequest
from fwd_server.values.plain_chat import OPTIONAL_FIELDS, PlainChat

NAMES = (*PROFILES, "some-server")
MODELS = ("gpt-4.1", "gpt-5-mini", "o3", "llama-3.3-70b", "qwen/qwen3-32b", 'm"odd\\', "é")

text = st.text(max_size=20)
content = st.one_of(text, st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": text}), max_size=3))
message = st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": content})
numbers = st.one_of(st.none(), st.integers(-3, 3), st.floats(-3, 3), st.just(10**30), st.just(1.0))
plain_body = st.fixed_dictionaries(
    {"messages": st.lists(message, min_size=1, max_size=3), "model": st.one_of(text, st.just("openai:gpt-4.1"))},
    optional={
        "stream": st.booleans(),
        "stream_options": st.one_of(st.none(), st.fixed_dictionaries({"include_usage": st.booleans()})),
        **dict.fromkeys((name for name in OPTIONAL_FIELDS if name != "user"), numbers),
        "user": st.one_of(st.none(), text),
    },
)
# What does not belong into a plain call, or is there twice, or is of another type.
ODD = [
    b'"n":2',
    b'"model":"other"',
    b'"mod\\u0065l":"other"',
    b'"stream":true',
    b'"max_tokens":5',
    b'"tools":[]',
    b'"extra_body":{"top_k":1}',
    b'"metadata":{"model":"x"}',
    b'"temperature":"hot"',
    b'"functions":[{"name":"f"}]',
    b'"seed":1.0',
    b'"seed":1e2',
    b'"unknown":"\\ud83d"',
    b'"user":"\\ud83d\\ude00"',
    b'"user":"\xff"',
]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A plain call as some program writes it, sometimes with something odd in it, sometimes with a byte changed."""
    value = draw(plain_body)
    spaced, ascii_only = draw(st.booleans()), draw(st.booleans())
    separators = (", ", ": ") if spaced else (",", ":")
    body = json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 2)) == 0:
        odd = draw(st.sampled_from(ODD))
        body = b"{" + odd + b"," + body[1:] if draw(st.booleans()) else body[:-1] + b"," + odd + b"}"
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(body) - 1))
        body = body[:at] + draw(st.sampled_from([b"", b"x", b'"', b"0", b"\\", b"}", b"\x00"])) + body[at + 1 :]
    return body


@settings(max_examples=500, deadline=None)
@given(body=bodies())
def test_a_plain_call_means_what_the_exact_reader_reads(body: bytes) -> None:
    """Whatever the fast reader takes, the exact one takes with the same result (contract L5, L6, T5, S11)."""
    fast = read_plain(body, parse_exactly)
    if fast is None:
        return
    exact = parse_exactly(body)  # raises if the fast reader took too much
    assert (fast.model, fast.stream, fast.include_usage) == (exact.model, exact.stream, exact.include_usage)
    assert list(fast.texts()) == list(exact.texts())
    assert (fast.body, fast.view, fast.extra_body, fast.legacy_functions) == (exact.body, exact.view, None, False)
    assert (exact.extra_body, exact.legacy_functions) == (None, False)


@settings(max_examples=500, deadline=None)
@given(body=bodies(), name=st.sampled_from(NAMES), model=st.sampled_from(MODELS))
def test_a_spliced_request_is_the_edited_one(body: bytes, name: str, model: str) -> None:
    """For every profile: the JSON that the codec writes, and nothing dropped; or it is the codec that writes it."""
    fast = read_plain(body, parse_exactly)
    if fast is None:
        return
    deployment = make_deployment("http://127.0.0.1:1/v1", name, model)
    sent = [sent_for(name, request, deployment) for request in (fast, parse_exactly(body))]
    assert sent[0] == sent[1]


def sent_for(name: str, request: ChatRequest, deployment: Any) -> Any:
    codec: Any = provider(name).chat
    exchange = codec.open(request, deployment, 1, lambda prefix: prefix + "1")
    return json.loads(exchange.request.body), exchange.dropped, exchange.request.stream


def test_plain_calls_are_taken() -> None:
    """The reader does not simply decline: what the SDKs send for a simple call is spliced for an exact provider."""
    body = b'{"messages": [{"role": "user", "content": "Hi"}], "model": "gpt-4.1", "temperature": 0.5, "stream": true}'
    request = parse_request(body)
    assert request.plain is not None
    codec: Any = provider("openai").chat
    exchange = codec.open(request, make_deployment("http://x/v1", "openai", "gpt-4o"), 1, lambda prefix: prefix)
    assert exchange.request.body == body[:-1].replace(b"gpt-4.1", b"gpt-4o") + (
        b',"stream_options":{"include_usage":true}}'
    )


@pytest.mark.parametrize("field", PlainChat.__struct_fields__)
def test_the_types_are_those_of_the_exact_reader(field: str) -> None:
    """A field that is plain has the type that ``ChatBody`` has, without null; messages and options are narrower."""
    ours = typing.get_type_hints(PlainChat)[field]
    theirs = typing.get_type_hints(ChatBody)[field]
    if field in ("messages", "stream_options"):
        return
    assert set(typing.get_args(ours) or (ours,)) - {type(None)} == set(typing.get_args(theirs)) - {type(None)}


# -- answers

finish = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error", "", None, "null"])
count = st.one_of(st.none(), st.integers(-1, 50), st.just(10**30), st.just(2.5), st.just("7"))
details = st.one_of(
    st.none(), st.fixed_dictionaries({}, optional=dict.fromkeys(("cached_tokens", "reasoning_tokens"), count))
)
usage = st.one_of(
    st.none(),
    st.fixed_dictionaries(
        {"prompt_tokens": count, "completion_tokens": count},
        optional={
            "prompt_tokens_details": details,
            "completion_tokens_details": details,
            "cost": st.one_of(st.none(), st.just(0.5)),
        },
    ),
)
said = st.fixed_dictionaries(
    {"role": st.sampled_from(["assistant", "user", None]), "content": st.one_of(st.none(), text)},
    optional={"tool_calls": st.just([{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}])},
)
choice = st.fixed_dictionaries(
    {"index": st.integers(0, 2), "message": st.one_of(said, st.none()), "finish_reason": finish},
    optional={"error": st.one_of(st.none(), st.just({"message": "no"}))},
)
answer = st.fixed_dictionaries(
    {
        "id": text,
        "object": st.sampled_from(["chat.completion"] * 4 + ["error", ""]),
        "created": st.integers(0, 9),
        "model": text,
        "choices": st.lists(choice, max_size=2),
    },
    optional={"usage": usage, "error": st.one_of(st.none(), st.just({"message": "no"})), "message": text},
)


@settings(max_examples=500, deadline=None)
@given(value=answer, ascii_only=st.booleans(), odd=st.sampled_from([b"", b"", b"\xff", b"\\ud83d", b"\xef\xbb\xbf"]))
def test_a_judged_answer_is_the_one_that_is_read(value: Any, ascii_only: bool, odd: bytes) -> None:
    """Usage, bytes and object; an answer that the codec refuses or changes is never judged good (F20, F21)."""
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass").replace(b"no", b"no" + odd)
    judged = judge_answer(body)
    if judged is None:
        return
    exchange: Any = provider("openai").chat
    opened: CompatibleExchange = exchange.open(
        parse_exactly(b'{"messages":[{"role":"user","content":"x"}]}'),
        make_deployment("http://x/v1"),
        1,
        lambda prefix: prefix,
    )
    fast, read = opened.answer(body), opened.read_exactly(body)
    assert (fast.usage, fast.raw, fast.data) == (read.usage, read.raw, read.data)


def test_plain_answers_are_judged() -> None:
    """The judge does not simply decline."""
    good = {
        "id": "c",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "ü"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
    }
    judged = judge_answer(orjson.dumps(good))
    assert judged is not None
    assert (judged.prompt, judged.completion) == (3, 4)
    assert judge_answer(orjson.dumps({**good, "error": {"message": "no"}})) is None
