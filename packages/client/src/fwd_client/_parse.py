"""Answers in the shape of a class."""

from __future__ import annotations

import json
import re
from typing import Any, Generic, TypeVar

from attrs import frozen

from fwd_client._errors import ParseError
from fwd_client._schema import class_schema, is_strict, load
from fwd_client._values import Chat, Receipt, Receipted, clip

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


def response_format(cls: type[Any]) -> dict[str, Any]:
    """The `response_format` that asks for this class; strict unless the class has open parts."""
    schema = class_schema(cls)
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
            f"The answer is not a {cls.__name__}: {error}. It begins {clip(chat.text)!r}.", text=chat.text
        ) from error


def _check_complete(cls: type[Any], chat: Chat) -> None:
    if chat.message.refusal:
        raise ParseError(f"The model refused: {chat.message.refusal}", text=chat.message.refusal)
    if chat.finish_reason == "length":
        raise ParseError(
            f"The answer was cut off at the token limit before the {cls.__name__} was complete.",
            hint="Raise max_completion_tokens.",
            text=chat.text,
        )
