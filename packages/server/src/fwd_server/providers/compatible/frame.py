"""The shape of frames that may be passed on as the bytes they came in: anything that does not match is parsed.

It adds text (or a piece of a tool call) to one choice and has none of the fields that must be renamed or stay behind.
msgspec finds that out in half a microsecond, without building the object.
"""

from __future__ import annotations

import functools
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

_USAGE: Final = b',"usage":null'


class Piece(msgspec.Struct, gc=False):
    """More of the arguments of a call that has its name."""

    arguments: str
    name: UnsetType = UNSET


class Fragment(msgspec.Struct, gc=False):
    """More of a call that has its id."""

    index: int
    function: Piece
    id: UnsetType = UNSET


class Delta(msgspec.Struct, gc=False):
    """What a frame adds to a choice; a field that is ``UNSET`` here must be absent, because it has to be rewritten."""

    content: str = ""
    reasoning_content: str = ""
    refusal: str = ""
    tool_calls: list[Fragment] | UnsetType = UNSET
    role: UnsetType = UNSET
    function_call: UnsetType = UNSET
    reasoning: UnsetType = UNSET
    reasoning_details: UnsetType = UNSET
    images: UnsetType = UNSET


class Choice(msgspec.Struct, gc=False):
    """A choice that goes on. Callers read its finish reason without looking whether it is there."""

    index: int
    delta: Delta
    finish_reason: None


class Frame(msgspec.Struct, gc=False):
    """A chunk that says nothing about usage or errors."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: UnsetType | None = UNSET
    error: UnsetType | None = UNSET


@functools.cache
def make_decoder(extras: frozenset[str]) -> msgspec.json.Decoder[Frame]:
    """A decoder of frames in which none of ``extras`` may be, at any level: made once for each row that streams."""
    absent = [(name, UnsetType, UNSET) for name in sorted(extras)]
    delta = msgspec.defstruct("Delta", absent, bases=(Delta,), gc=False)
    choice = msgspec.defstruct("Choice", [("delta", delta), *absent], bases=(Choice,), gc=False, kw_only=True)
    listed = list[choice]  # type: ignore[valid-type]
    frame = msgspec.defstruct("Frame", [("choices", listed), *absent], bases=(Frame,), gc=False, kw_only=True)
    return msgspec.json.Decoder(frame)


def read_frame(decoder: msgspec.json.Decoder[Frame], data: bytes) -> Frame | None:
    """The frame in ``data``, if it fits and has one choice; whether it can be read at all is not decided here."""
    try:
        frame = decoder.decode(data)
        if not data.isascii():
            data.decode()  # msgspec does not look into the strings it skips (contract F27)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return frame if len(frame.choices) == 1 else None


def relay_json(data: bytes, frame: Frame, *, wants_usage: bool) -> bytes | None:
    """The JSON to send on: with ``"usage": null`` if the caller asked for usage, without it if not.

    None if that cannot be done on the bytes. A JSON string cannot hold the bytes that are cut, since a quote in it
    has a backslash before it.
    """
    if data.find(b"\n") >= 0:  # not "in", as in wire/sse.py
        return None
    if (frame.usage is None) is not wants_usage:
        if wants_usage:
            data = data.rstrip()[:-1] + _USAGE + b"}"
        elif data.count(b'"usage"') == 1 and _USAGE in data:
            data = data.replace(_USAGE, b"")
        else:
            return None
    return data
