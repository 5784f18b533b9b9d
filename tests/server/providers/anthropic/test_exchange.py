"""One attempt: its headers, and what is asked once more."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from attrs import evolve
from tests.server.providers import golden
from tests.server.providers.anthropic.helpers import OLD, WEATHER, opened, text

from fwd_server.providers.anthropic import AnthropicChat, AnthropicExchange
from fwd_server.providers.base import AmendedRequest
from fwd_server.values.errors import UpstreamError
from fwd_server.values.secret import Secret

SIGNED = {"type": "reasoning.text", "text": "T", "signature": "S", "format": "anthropic-claude-v1", "index": 0}
CALL = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
THOUGHT = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "So", "tool_calls": [CALL], "reasoning_details": [SIGNED]},
    {"role": "tool", "tool_call_id": "a", "content": "ok"},
]
STRICT = {"type": "function", "function": {"name": "a", "strict": True}}


def refused(exchange: AnthropicExchange, message: str, status: int = 400) -> UpstreamError | AmendedRequest:
    error = {"type": "invalid_request_error", "message": message}
    return exchange.error(status, {}, orjson.dumps({"type": "error", "error": error}))


def amended(exchange: AnthropicExchange, message: str) -> AnthropicExchange:
    found = refused(exchange, message)
    assert isinstance(found, AmendedRequest)
    assert found.error.status == 400
    assert isinstance(found.exchange, AnthropicExchange)
    return found.exchange


def test_headers_are_built_from_scratch() -> None:
    """The key as a secret, the configured ones as they are (T18); without a key there is none."""
    deployment = golden.deployment("anthropic", "claude-opus-5")
    beta = ("anthropic-beta", "files-api")
    endpoint = evolve(deployment.endpoint, headers=(beta,))
    request = golden.chat_request()
    exchange = AnthropicChat().open(request, evolve(deployment, endpoint=endpoint), 0, str)
    (name, key), *rest = exchange.request.headers
    assert (name, isinstance(key, Secret)) == ("x-api-key", True)
    assert rest == [("anthropic-version", "2026-10-21"), ("content-type", "application/json"), beta]
    bare = AnthropicChat().open(request, evolve(deployment, endpoint=evolve(endpoint, key=None)), 0, str)
    assert list(bare.request.headers) == rest


def test_the_older_version_is_for_sampling_however_it_got_in() -> None:
    """Also through the object that is merged last."""
    assert ("anthropic-version", "2023-06-01") in opened(anthropic={"top_k": 3}).request.headers


@pytest.mark.parametrize(
    "message",
    [
        "Too many strict tools: 21",
        "Schemas contains too many optional parameters",
        "The compiled grammar is too large",
    ],
)
def test_strict_is_given_up_once(message: str) -> None:
    """Pitfall 24: one more try without, which is said; and no third."""
    again = amended(opened(tools=[STRICT, WEATHER]), message)
    assert all("strict" not in tool for tool in again.body["tools"])
    assert again.dropped == ("tools.strict",)
    assert isinstance(refused(again, message), UpstreamError)


def test_what_cannot_be_given_up_is_refused() -> None:
    """No tools, none of them strict, another status, other words."""
    message = "Too many strict tools"
    assert isinstance(refused(opened(), message), UpstreamError)
    assert isinstance(refused(opened(tools=[WEATHER]), message), UpstreamError)
    assert isinstance(refused(opened(tools=[STRICT]), message, status=422), UpstreamError)
    assert isinstance(refused(opened(tools=[STRICT]), "bad"), UpstreamError)


@pytest.mark.parametrize(
    "message",
    [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "The block is bound to a different conversation",
    ],
)
def test_thinking_of_another_model_is_taken_out(message: str) -> None:
    """Pitfall 28: a signature is bound to its model; the rest of the turn stays."""
    again = amended(opened(messages=THOUGHT, tools=[WEATHER], reasoning_effort="low"), message)
    assert [block["type"] for block in again.body["messages"][1]["content"]] == ["text", "tool_use"]
    assert again.body["thinking"]["type"] == "adaptive"
    assert again.dropped == ("reasoning_details",)


def test_a_budget_goes_with_the_thinking_it_needs() -> None:
    """An older model with a budget would miss the thinking next."""
    call: dict[str, Any] = {"model": OLD, "max_tokens": 9000, "tools": [WEATHER], "reasoning_effort": "low"}
    again = amended(opened(messages=THOUGHT, **call), "Invalid `signature` in `thinking` block")
    assert "thinking" not in again.body


def test_thinking_that_is_missing_is_not_asked_for() -> None:
    """Pitfall 27, where it could not be seen before."""
    message = "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`"
    exchange = opened(model=OLD, max_tokens=9000, reasoning_effort="low")
    assert "thinking" not in amended(exchange, message).body
    assert isinstance(refused(opened(reasoning_effort="low"), message), UpstreamError)


USER = {"role": "user", "content": "Hi"}
HIDDEN = {"type": "reasoning.encrypted", "data": "D", "format": "anthropic-claude-v1", "index": 1}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "message",
    [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "messages.1.content.15: `thinking` or `redacted_thinking` blocks in the latest message cannot be modified.",
        "messages.1.content.0.thinking.signature: Field required",
        "messages.1.content.1.redacted_thinking.data: Input should be a valid string",
        "Invalid `data` in `redacted_thinking` block",
        "This thinking block is bound to a different conversation.",
        "messages: The final block in an assistant message cannot be `thinking`.",
        "When thinking is disabled, an assistant message cannot contain thinking blocks",
    ],
)
def test_old_thinking_that_is_refused_is_left_out(message: str, stream: bool) -> None:
    """Every 400 about it leads to one more try without, which is told (pitfall 28)."""
    spoken = {"role": "assistant", "content": "Yes", "reasoning_details": [SIGNED, HIDDEN]}
    exchange = opened(messages=[USER, spoken, USER], stream=stream)
    again = amended(exchange, message)
    assert again.body["messages"] == [USER, {"role": "assistant", "content": [text("Yes")]}, USER]
    assert again.dropped == (*exchange.dropped, "reasoning_details")
    assert isinstance(refused(again, message), UpstreamError)  # once, and not again


@pytest.mark.parametrize(
    "message",
    [
        "thinking.type: `enabled` is not supported for this model",
        "thinking: Input should be an object",
        "messages.0: no",
    ],
)
def test_a_refusal_of_something_else_stays(message: str) -> None:
    """About the field that asks for thinking, or about anything else."""
    spoken = {"role": "assistant", "content": "Yes", "reasoning_details": [SIGNED]}
    assert isinstance(refused(opened(messages=[USER, spoken, USER]), message), UpstreamError)


@pytest.mark.parametrize(
    ("model", "call", "thinks"),
    [
        ("anthropic:claude-opus-5-5", {}, True),
        ("anthropic:claude-opus-5", {"reasoning_effort": "none"}, False),
        ("anthropic:claude-haiku-4-5", {}, False),
        ("anthropic:claude-haiku-4-5", {"reasoning_effort": "low", "max_tokens": 9000}, True),
        ("anthropic:claude-3-haiku", {}, False),
    ],
)
def test_whether_a_model_thinks_before_its_first_word(model: str, call: dict[str, Any], thinks: bool) -> None:
    """By what is asked for, and by what the model does on its own."""
    assert opened(model=model, **call).request.thinks is thinks
