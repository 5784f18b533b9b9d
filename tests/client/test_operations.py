"""What is sent: one pure function an endpoint."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from fwd_client import ChatParams, Message
from fwd_client._operations import (
    Reply,
    chat,
    chat_stream,
    embed,
    encode_body,
    explain,
    health,
    model,
    models,
    ready,
)

from .conftest import CHAT


def body_of(messages: Any, **params: Any) -> Any:
    return json.loads(chat(messages, ChatParams(**params)).body or b"")  # type: ignore[typeddict-item]


def test_text_is_a_user_message() -> None:
    """A text stands for one user message; lists go as they are."""
    assert body_of("hi") == {"messages": [{"role": "user", "content": "hi"}]}
    assert body_of(({"role": "system", "content": "s"},))["messages"] == [{"role": "system", "content": "s"}]


@pytest.mark.parametrize("messages", [{"role": "user", "content": "hi"}, b"hi", None, 3])
def test_what_messages_are_not(messages: Any) -> None:
    """One message alone, bytes or nothing would fail far from here, or be taken for something else."""
    with pytest.raises(TypeError, match="messages must be a text or a list"):
        chat(messages, {})


def test_given_fields_only() -> None:
    """None counts as not given, and what steers the call is no part of its body; `extra_body` goes literally."""
    body = body_of("hi", model=None, temperature=0, strict=True, timeout=3, extra_body={"top_k": 1})
    assert body == {"messages": body["messages"], "temperature": 0, "extra_body": {"top_k": 1}}


def test_answers_can_be_sent_again() -> None:
    """An answer's message, with what it does not know, can stand in the next call's messages."""
    said = Message(content="hi", extra={"reasoning_details": [{"type": "x"}]})
    sent = body_of([said, MappingProxyType({"role": "user", "content": "go on"})])["messages"]
    assert sent == [said.to_dict(), {"role": "user", "content": "go on"}]
    assert sent[0]["reasoning_details"] == [{"type": "x"}]


@pytest.mark.parametrize(("name", "advice"), [("max_token", "Did you mean 'max_tokens'"), ("zzz", "extra_body")])
def test_unknown_argument(name: str, advice: str) -> None:
    """A misspelt argument is a `TypeError` with the nearest name, not a field that is lost."""
    with pytest.raises(TypeError, match=advice):
        body_of("hi", **{name: 1})


@pytest.mark.parametrize("bad", [object(), float("nan")])
def test_what_json_cannot_hold(bad: Any) -> None:
    """A value with no place in JSON is refused here, not by the gateway."""
    with pytest.raises((TypeError, ValueError)):
        encode_body({"x": bad})


def test_text_is_not_escaped() -> None:
    """Text travels as UTF-8, compact."""
    assert encode_body({"a": ["ä", 1]}) == '{"a":["ä",1]}'.encode()


def test_headers_of_a_call() -> None:
    """`strict` and `fallback` are headers; a stream asks for no compression."""
    assert chat("x", {}).headers == {}
    assert chat("x", {"strict": True, "fallback": False}).headers == {
        "x-fwd-strict": "true",
        "x-fwd-fallback": "none",
    }
    assert chat_stream("x", {}).headers == {"accept-encoding": "identity"}
    assert json.loads(chat_stream("x", {}).body or b"")["stream"] is True


def test_embed() -> None:
    """A text or a list of texts goes out as it is, with the fields of an embedding call and no others."""
    one = embed("a", {"model": "m", "dimensions": 3, "strict": True, "user": None})
    assert (one.path, one.body) == ("/v1/embeddings", b'{"input":"a","model":"m","dimensions":3}')
    assert one.headers == {"x-fwd-strict": "true"}
    assert json.loads(embed(iter(["a", "b"]), {}).body or b"") == {"input": ["a", "b"]}
    with pytest.raises(TypeError, match="Did you mean 'dimensions'"):
        embed("a", {"dimension": 3})  # type: ignore[typeddict-unknown-key]


def test_explain() -> None:
    """A dry run is the same request, marked as one."""
    asked, meant = explain("hi", {"model": "m", "fallback": False}), chat("hi", {"model": "m"})
    assert (asked.path, asked.body) == (meant.path, meant.body)
    assert asked.headers == {"x-fwd-fallback": "none", "x-fwd-dry-run": "true"}


def test_paths() -> None:
    """Slashes and colons of a model's id stay; nothing else can leave the path."""
    assert model("ollama:a/b:8b").path == "/v1/models/ollama:a/b:8b"
    assert model("a?b#c d").path == "/v1/models/a%3Fb%23c%20d"
    assert (models().path, health().path, ready().path) == (
        "/v1/models",
        "/health",
        "/ready",
    )
    assert [op.needs_key for op in (models(), health(), ready())] == [True, False, False]


def test_not_ready_is_an_answer() -> None:
    """`/ready` with 503 is an answer that says no; any other failure is an error."""
    assert [ready().is_answer(status) for status in (200, 503, 500)] == [True, True, False]
    found = ready().read(Reply(503, {}, b'{"status":"draining","degraded":["redis"]}'))
    assert (found.ok, found.status, found.extra) == (False, "draining", {"degraded": ["redis"]})


def test_usage_is_on_the_receipt_too() -> None:
    """The tokens of a whole answer are on its receipt as well, as they are for a stream."""
    answer = chat("x", {}).read(Reply(200, {}, encode_body(CHAT)))
    assert answer.receipt.usage == answer.usage
