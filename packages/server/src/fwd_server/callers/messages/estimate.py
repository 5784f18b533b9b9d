"""The gateway's own count of a Messages call, where nobody else counts: the same for the same body, and marked.

One token for every four bytes of text, names and JSON, four for each message, and a round figure for a picture or a
page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from fwd_server.callers.messages.content import texts_of
from fwd_server.values.chat import Json
from fwd_server.wire import jsontext
from fwd_server.wire.tokens import estimate_bytes

A_MESSAGE: Final = 4
A_PICTURE: Final = 1600  # and a page: https://platform.claude.com/docs/en/build-with-claude/vision
_PAGE_BYTES: Final = 50_000
_IN_BASE64: Final = 3 / 4


def estimate_tokens(call: Json) -> int:
    """The tokens of a call, at least 1. Whatever is not as it should be counts nothing."""
    turns = [turn for turn in _list(call.get("messages")) if isinstance(turn, dict)]
    texts = [*texts_of(call.get("system")), *(text for turn in turns for text in texts_of(turn.get("content")))]
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    config = call.get("output_config")
    shape = config.get("format") if isinstance(config, dict) else None
    size += sum(len(jsontext.dumps(value)) for value in (*_list(call.get("tools")), shape) if value)
    blocks = [block for turn in turns for block in blocks_in(turn.get("content"))]
    size += sum(len(jsontext.dumps([b.get("name"), b.get("input")])) for b in blocks if b.get("type") == "tool_use")
    return max(1, estimate_bytes(size) + A_MESSAGE * len(turns) + sum(map(_media_tokens, blocks)))


def _media_tokens(block: Json) -> int:
    if block.get("type") == "image":
        return A_PICTURE
    source = block.get("source")
    if block.get("type") != "document" or not isinstance(source, dict):
        return 0
    if source.get("type") in ("text", "content"):
        return 0  # counted as text, as the pictures in it are as blocks
    data = source.get("data")
    pages = len(data) * _IN_BASE64 // _PAGE_BYTES if isinstance(data, str) else 0
    return A_PICTURE * max(1, int(pages))


def blocks_in(content: object) -> Iterator[Json]:
    """Every block, those within results and documents too."""
    for block in _list(content):
        if isinstance(block, dict):
            yield block
            yield from blocks_in(block.get("content"))
            source = block.get("source")
            if isinstance(source, dict):
                yield from blocks_in(source.get("content"))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
