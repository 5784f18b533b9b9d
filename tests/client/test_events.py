"""What happens in a stream."""

from __future__ import annotations

from typing import Any

from fwd_client import (
    Finished,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCall,
    ToolCallArguments,
    ToolCallReady,
    ToolCallStarted,
)
from fwd_client._decode import read_value
from fwd_client._events import StreamEvent
from fwd_client._stream import Folder
from fwd_client._values import Chunk, FunctionCall


def events(*deltas: dict[str, Any], finish: str | None = None) -> list[StreamEvent]:
    folder = Folder()
    choices = [{"index": 2, "delta": delta} for delta in deltas]
    if finish:
        choices.append({"index": 2, "delta": {}, "finish_reason": finish})
    return [event for choice in choices for event in folder.add(read_value(Chunk, {"choices": [choice]}))]


def test_kinds_of_text() -> None:
    """Reasoning, text and refusal are events of their own, with the choice they belong to; empty pieces are none."""
    found = events({"role": "assistant", "content": ""}, {"reasoning_content": "r", "content": "c", "refusal": "n"})
    assert found == [ReasoningDelta("r", 2), TextDelta("c", 2), RefusalDelta("n", 2)]


def test_tool_call() -> None:
    """A call starts, grows, and is ready when its choice is finished."""
    found = events(
        {"tool_calls": [{"index": 0, "id": "i", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}, {"index": 0}]},
        finish="tool_calls",
    )
    call = ToolCall("i", "function", FunctionCall("f", "{}"))
    assert found == [
        ToolCallStarted(0, "i", "f", 2),
        ToolCallArguments(0, "{}", 2),
        ToolCallReady(0, call, 2),
        Finished("tool_calls", 2),
    ]
