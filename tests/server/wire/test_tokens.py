"""Tokens counted by us."""

from __future__ import annotations

from typing import Any

import pytest

from fwd_server.values.usage import Usage
from fwd_server.wire.tokens import PART, estimate_bytes, estimate_prompt, render_usage

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "Hello"}, 2),
        ({"content": None}, 0),
        (
            {"content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "x" * 999}}]},
            1 + PART,
        ),
        ({"content": "", "tool_calls": [CALL]}, 8),
    ],
)
def test_a_prompt_is_its_texts(message: dict[str, Any], expected: int) -> None:
    """Four bytes a token; an image is not counted by its base64."""
    assert estimate_prompt({"messages": [message]}) == expected


def test_tools_count() -> None:
    """The model reads them, so they are part of the prompt."""
    assert estimate_prompt({"messages": [], "tools": [CALL]}) == 18


def test_bytes_are_rounded_up() -> None:
    """Nothing said is nothing counted."""
    assert [estimate_bytes(n) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_a_count_is_written_as_openai_does() -> None:
    """The total is the sum."""
    assert render_usage(Usage(2, 3)) == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
