"""Python functions as tools, and the conversation between them and a model, without I/O."""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from fwd_client._errors import ConfigurationError, ToolError, ToolStepsExceeded
from fwd_client._events import ToolFinished
from fwd_client._messages import Messages
from fwd_client._operations import message_list
from fwd_client._receipt import Receipt, Receipted
from fwd_client._schema import Book, closed_object, dump, load
from fwd_client._values import Chat, ToolCall

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECTION: Final = re.compile(r"^\s*(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?):\s*$", re.MULTILINE)
_ARGUMENT: Final = re.compile(r"^( +)(\w+)(?: *\([^)]*\))?: *(.+(?:\n\1 +.+)*)", re.MULTILINE)


@frozen
class Tool:
    """A function with what a model must know to call it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any]
    types: Mapping[str, Any]

    def definition(self) -> dict[str, Any]:
        """The entry of `tools` in a request."""
        words = {"description": self.description} if self.description else {}
        return {"type": "function", "function": {"name": self.name, **words, "parameters": self.parameters}}

    def arguments(self, call: ToolCall) -> dict[str, Any]:
        """The call's arguments as values of the right types; `ToolError` for the model if they do not fit."""
        try:
            # The model wrote these: what is wrong with them goes back to it as words, and it tries again.
            values = self._checked_arguments(call.function.parsed())
            return {name: load(self.types[name], value) for name, value in values.items()}
        except ValueError as error:
            raise ToolError(f"The arguments do not fit {self.name}: {error}") from error

    def _checked_arguments(self, values: Any) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise ValueError("they are not an object")  # noqa: TRY004 - one kind of error for all that models do
        unknown, missing = values.keys() - self.types.keys(), set(self.parameters["required"]) - values.keys()
        if unknown or missing:
            raise ValueError(f"unknown {sorted(unknown)}, missing {sorted(missing)}")
        return values


def tool_of(function: Callable[..., Any]) -> Tool:
    """A tool from a function: types from its signature, words from its docstring (an `Args:` section counts)."""
    name = getattr(function, "__name__", type(function).__name__)
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"A tool cannot be called {name!r}: letters, digits, _ and - only, 64 at most.")
    # Without types the model would have to guess, and so would we on its answer.
    types = _signature_types(function, name)
    described = _argument_notes(function)
    book = Book()
    properties = {key: book.schema(hint) | described.get(key, {}) for key, hint in types.items()}
    parameters = inspect.signature(function).parameters
    schema = closed_object(properties, [key for key in types if parameters[key].default is inspect.Parameter.empty])
    return Tool(
        name, _docstring_summary(function), schema | ({"$defs": book.defs} if book.defs else {}), function, types
    )


def _signature_types(function: Callable[..., Any], name: str) -> dict[str, Any]:
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        # A model passes arguments by name only.
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}:
            raise ConfigurationError(f"The tool {name} has {parameter}, which a model cannot pass by name.")
        if parameter.name not in hints:
            raise ConfigurationError(f"The tool {name} needs a type for its argument {parameter.name}.")
    return {parameter.name: hints[parameter.name] for parameter in parameters}


def _docstring_summary(function: Callable[..., Any]) -> str:
    return _SECTION.split(inspect.getdoc(function) or "", maxsplit=1)[0].strip()


def _argument_notes(function: Callable[..., Any]) -> dict[str, dict[str, str]]:
    """The `Args:` section of a Google style docstring as descriptions by name."""
    parts = _SECTION.split(inspect.getdoc(function) or "")
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    text = next((sections[name] for name in ("Args", "Arguments", "Parameters") if name in sections), "")
    found = ((match[2], " ".join(match[3].split())) for match in _ARGUMENT.finditer(text))
    return {name: {"description": words} for name, words in found}


def tool_table(functions: Iterable[Callable[..., Any]]) -> dict[str, Tool]:
    """The tools by name; two of one name are a mistake."""
    tools = [tool_of(function) for function in functions]
    table = {tool.name: tool for tool in tools}
    if len(table) < len(tools):
        raise ConfigurationError("Two tools have the same name; the model could not tell them apart.")
    return table


@frozen
class Ask:
    """Send these messages to the model, with these tools; `number` counts the answers from 1."""

    messages: list[Any]
    tools: list[dict[str, Any]]
    number: int = 1


@frozen
class Run:
    """Run this tool with these arguments; what it returns goes back to the model as text."""

    tool: Tool
    call: ToolCall
    arguments: Mapping[str, Any]


@frozen
class Reject:
    """Tell the model that its call cannot be run, because there is no such tool or its arguments do not fit."""

    call: ToolCall
    error: ToolError


ToolStep = Ask | Run | Reject


@frozen
class ToolRun(Receipted):
    """How it went: the last answer, every answer on the way, and the whole conversation, ready to be continued."""

    chat: Chat
    chats: tuple[Chat, ...]
    messages: tuple[Any, ...]

    @property
    def text(self) -> str:
        """The last answer's text."""
        return self.chat.text

    @property
    def receipt(self) -> Receipt:
        """The receipt of the last call."""
        return self.chat.receipt


def tool_loop(
    messages: Messages, functions: Iterable[Callable[..., Any]], max_steps: int
) -> Generator[ToolStep, Chat | str | None, ToolRun]:
    """The conversation: yields what to do, is sent the outcome, and ends when the model asks for no tool."""
    # A list of its own: the caller's stays as it was handed in.
    conversation, tools = message_list(messages), tool_table(functions)
    definitions = [tool.definition() for tool in tools.values()]
    chats: list[Chat] = []
    for number in range(1, max_steps + 1):
        chat = yield Ask(list(conversation), definitions, number)
        if not isinstance(chat, Chat):
            raise TypeError("an Ask must be answered with a Chat")
        chats.append(chat)
        conversation.append(chat.message)
        # Not judged by the finish reason: some servers say "stop" beside a call.
        if not chat.tool_calls:
            return ToolRun(chat, tuple(chats), tuple(conversation))
        # Every call needs an answer, or the provider refuses the conversation.
        for call in chat.tool_calls:
            text = yield _tool_step(call, tools)
            if not isinstance(text, str):
                raise TypeError("a Run must be answered with text")
            conversation.append({"role": "tool", "tool_call_id": call.id, "content": text})
    raise ToolStepsExceeded(f"After {max_steps} answers the model still asked for tools.", messages=tuple(conversation))


def _tool_step(call: ToolCall, tools: Mapping[str, Tool]) -> Run | Reject:
    try:
        tool = tools.get(call.function.name)
        if tool is None:
            raise ToolError(f"There is no tool {call.function.name!r}; there are {', '.join(tools)}.")
        return Run(tool, call, tool.arguments(call))
    except ToolError as error:
        return Reject(call, error)


def finished(call: ToolCall, result: Any) -> ToolFinished:
    """What a function returned, or the `ToolError` it raised, as the model gets it."""
    is_error = isinstance(result, ToolError)
    return ToolFinished(call, refusal(result) if is_error else as_text(result), is_error)


def as_text(result: Any) -> str:
    """A tool's result as the model gets it: text as it is, anything else as JSON."""
    return result if isinstance(result, str) else json.dumps(dump(result), ensure_ascii=False)


def refusal(error: ToolError) -> str:
    """A tool's error as the model gets it."""
    return f"Error: {error.message}"
