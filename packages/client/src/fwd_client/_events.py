"""Events of a stream and of `run_tools`, for programs that show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from fwd_client._values import Choice, ChunkChoice, FunctionDelta, ToolCall, ToolCallDelta


@frozen
class TextDelta:
    """More text of the answer."""

    text: str
    choice: int = 0


@frozen
class ReasoningDelta:
    """More of the model's thinking."""

    text: str
    choice: int = 0


@frozen
class RefusalDelta:
    """More of the model's refusal."""

    text: str
    choice: int = 0


@frozen
class ToolCallStarted:
    """The model begins a call of the tool with this name; `index` counts the calls of the choice."""

    index: int
    id: str
    name: str
    choice: int = 0


@frozen
class ToolCallArguments:
    """More of the JSON text of the arguments."""

    index: int
    text: str
    choice: int = 0


@frozen
class ToolCallReady:
    """A call is complete and can be run."""

    index: int
    call: ToolCall
    choice: int = 0


@frozen
class Finished:
    """A choice is complete."""

    reason: str
    choice: int = 0


@frozen
class StepStarted:
    """`run_tools` is about to ask the model; `number` counts its answers from 1."""

    number: int


@frozen
class ToolStarted:
    """A function is about to run with these arguments, which have the types of its signature."""

    call: ToolCall
    arguments: Mapping[str, Any]


@frozen
class ToolFinished:
    """What goes back to the model; `is_error` when the function raised `ToolError`, or the call did not fit it."""

    call: ToolCall
    result: str
    is_error: bool = False


StreamEvent = TextDelta | ReasoningDelta | RefusalDelta | ToolCallStarted | ToolCallArguments | ToolCallReady | Finished

RunEvent = StreamEvent | StepStarted | ToolStarted | ToolFinished


def chunk_events(choice: ChunkChoice, whole: Callable[[], Choice] | None = None) -> list[StreamEvent]:
    """The events of one choice of a chunk; `whole` gives the complete choice when this chunk finishes it."""
    delta, number = choice.delta, choice.index
    events: list[StreamEvent] = []
    # Thinking first: where a chunk has both, it came first.
    if delta.reasoning_content:
        events.append(ReasoningDelta(delta.reasoning_content, number))
    if delta.content:
        events.append(TextDelta(delta.content, number))
    if delta.refusal:
        events.append(RefusalDelta(delta.refusal, number))
    for call in delta.tool_calls or ():
        events += _call_changes(call, number)
    if whole is not None:
        events += _ending_events(whole(), number)
    return events


def _call_changes(call: ToolCallDelta, number: int) -> list[StreamEvent]:
    function = call.function or FunctionDelta()
    events: list[StreamEvent] = []
    # Only the first piece of a call has its name.
    if function.name:
        events.append(ToolCallStarted(call.index, call.id or "", function.name, number))
    if function.arguments:
        events.append(ToolCallArguments(call.index, function.arguments, number))
    return events


def _ending_events(choice: Choice, number: int) -> list[StreamEvent]:
    calls = choice.message.tool_calls or ()
    ready: list[StreamEvent] = [ToolCallReady(index, call, number) for index, call in enumerate(calls)]
    return [*ready, Finished(choice.finish_reason or "", number)]
