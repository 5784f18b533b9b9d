"""Answers in the shape of a class."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import define, frozen

from fwd_client._errors import ParseError
from fwd_client._partial import parse_partial
from fwd_client._receipt import Receipt, Receipted
from fwd_client._schema import class_schema, is_strict, load
from fwd_client._values import Chat, clip_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from fwd_client._async import AsyncStream
    from fwd_client._sync import Stream

P = TypeVar("P")


@frozen
class Parsed(Receipted, Generic[P]):
    """`value` is an instance of the class that was asked for, `chat` the answer it was read from."""

    value: P
    chat: Chat

    @property
    def receipt(self) -> Receipt:
        """The receipt of the call."""
        return self.chat.receipt


@frozen
class ParsedStream(Generic[P]):
    """A streamed answer in the shape of a class: `partials` while it grows, `final()` when it is complete."""

    into: type[P]
    stream: Stream

    @property
    def partials(self) -> Iterator[Any]:
        """The JSON value so far, each time it has grown; a number comes when it is complete."""
        growing = _Growing()
        return (value for delta in self.stream.text for value in growing.add(delta))

    def final(self) -> Parsed[P]:
        """Read to the end; an instance of the class, or `ParseError`."""
        return parsed(self.into, self.stream.final())


@frozen
class AsyncParsedStream(Generic[P]):
    """The same over an `AsyncStream`."""

    into: type[P]
    stream: AsyncStream

    @property
    def partials(self) -> AsyncIterator[Any]:
        """The JSON value so far, each time it has grown; a number comes when it is complete."""
        growing = _Growing()
        return (value async for delta in self.stream.text for value in growing.add(delta))

    async def final(self) -> Parsed[P]:
        """Read to the end; an instance of the class, or `ParseError`."""
        return parsed(self.into, await self.stream.final())


@define
class _Growing:
    """Gives each new value of a growing JSON text once."""

    text: str = ""
    value: Any = None

    def add(self, delta: str) -> list[Any]:
        """The value after this piece, if it is another one than before."""
        self.text += delta
        value = parse_partial(self.text)
        # Inside a word most pieces change nothing that can be read.
        if value == self.value:
            return []
        self.value = value
        return [value]


def response_format(cls: type[Any]) -> dict[str, Any]:
    """The `response_format` that asks for this class; strict unless the class has open parts."""
    schema = class_schema(cls)
    # The name is sent to the provider, which takes these characters only.
    name = re.sub(r"[^A-Za-z0-9_-]", "_", cls.__name__)[:64]
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": schema, "strict": is_strict(schema)},
    }


def parsed(cls: type[P], chat: Chat) -> Parsed[P]:
    """The answer as an instance of the class, or `ParseError` with what is wrong and where."""
    _check_complete(cls, chat)
    try:
        return Parsed(load(cls, json.loads(chat.text)), chat)
    except ValueError as error:
        raise ParseError(
            f"The answer is not a {cls.__name__}: {error}. It begins {clip_text(chat.text)!r}.", text=chat.text
        ) from error


def _check_complete(cls: type[Any], chat: Chat) -> None:
    # A refusal and a cut answer are no JSON; the parser's message would hide why.
    if chat.message.refusal:
        raise ParseError(f"The model refused: {chat.message.refusal}", text=chat.message.refusal)
    if chat.finish_reason == "length":
        raise ParseError(
            f"The answer was cut off at the token limit before the {cls.__name__} was complete.",
            hint="Raise max_completion_tokens.",
            text=chat.text,
        )
