"""Calls to Claude and its answers, short to write."""

from __future__ import annotations

from typing import Any

import orjson
from tests.server.providers import golden

from fwd_server.providers.anthropic import AnthropicExchange
from fwd_server.values.chat import Json

MODEL = "anthropic:claude-opus-5"
OLD = "anthropic:claude-haiku-4-5"  # samples, takes a budget for thinking, no system message in the middle
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def opened(**call: Any) -> AnthropicExchange:
    """The exchange for a call; what is not given is the least that is needed."""
    exchange = golden.open_exchange("anthropic", golden.chat_request(**{"model": MODEL, "max_tokens": 100, **call}))
    assert isinstance(exchange, AnthropicExchange)
    return exchange


def sent(**call: Any) -> Json:
    """The body that goes upstream."""
    body: Json = orjson.loads(opened(**call).request.body)
    return body


def said(*content: Any, **more: Any) -> bytes:
    """A message of Claude's."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5", "content": content}
    return orjson.dumps({**message, "stop_reason": "end_turn", "usage": {"input_tokens": 1}, **more})


def text(words: str) -> Json:
    """A block of text."""
    return {"type": "text", "text": words}


def event(kind: str, **fields: Any) -> bytes:
    """One event of a stream."""
    return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps({"type": kind, **fields}) + b"\n\n"


def start(index: int, **block: Any) -> bytes:
    """The beginning of a block."""
    return event("content_block_start", index=index, content_block=block)


def delta(index: int, **fields: Any) -> bytes:
    """A piece of a block."""
    return event("content_block_delta", index=index, delta=fields)


def stop(index: int) -> bytes:
    """The end of a block."""
    return event("content_block_stop", index=index)


BEGIN = event("message_start", message={"id": "msg_1", "model": "claude-opus-5", "usage": {"input_tokens": 7}})
FINISH = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 3})
END = event("message_stop")
