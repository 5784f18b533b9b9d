"""Tokens counted by us, where a provider does not: one for every four bytes of UTF-8, always marked as an estimate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fwd_server.values.chat import Json
from fwd_server.values.usage import Usage, estimate_tokens
from fwd_server.wire import jsontext

# A round figure between a small and a large picture; it is only used where a provider counts nothing.
PART: Final = 256  # an image, a sound or a file: its size in tokens is the provider's secret


def estimate_prompt(body: Json) -> int:
    """The tokens of a call in OpenAI's shape: its texts, its tools, and a fixed figure for every other part."""
    parts = [part for message in body.get("messages") or () for part in _part_tokens(message)]
    tools = body.get("tools")
    return sum(parts) + (estimate_tokens(jsontext.dumps(tools).decode()) if tools else 0)


def estimate_bytes(size: int) -> int:
    """The tokens of ``size`` bytes of text."""
    return -(-size // 4)


def render_usage(usage: Usage) -> Json:
    """A count in OpenAI's shape."""
    return {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion, "total_tokens": usage.total}


def _part_tokens(message: Any) -> Iterator[int]:
    content = message.get("content")
    if isinstance(content, str):
        yield estimate_tokens(content)
    for part in content if isinstance(content, list) else ():
        text = part.get("text")
        yield estimate_tokens(text) if isinstance(text, str) else PART
    for call in message.get("tool_calls") or ():
        yield estimate_tokens(jsontext.dumps(call.get("function")).decode())
