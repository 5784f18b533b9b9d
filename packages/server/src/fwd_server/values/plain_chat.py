"""A chat call that is plainly good, decoded straight from its bytes; everything else is the exact reader's.

Most calls are a model, a conversation of texts and a few numbers. These Structs accept just that, and decline
everything else by raising: unknown fields, tools, pictures, null. What they accept, the exact reader accepts with the
same meaning; it alone refuses and words the refusal. A property test holds the two together, and another that every
type here is the one of ``ChatBody``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec

from fwd_server.values.chat import MAX_MESSAGES


class PlainPart(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A part that is a text."""

    type: Literal["text"]
    text: str


class PlainMessage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message without calls, names or anything else."""

    role: Literal["system", "user", "assistant"]
    content: str | list[PlainPart]


class PlainStreamOptions(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Whether the usage is wanted at the end of a stream."""

    include_usage: bool = False


class PlainChat(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of a plain call. Fields as in ``ChatBody``; None stands for a field that is not there."""

    messages: Annotated[list[PlainMessage], msgspec.Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: str
    stream: bool = False
    stream_options: PlainStreamOptions | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    user: str | None = None

    def texts(self) -> Iterator[str]:
        """Every text of the conversation."""
        for message in self.messages:
            if isinstance(message.content, str):
                yield message.content
            else:
                yield from (part.text for part in message.content if part.text)


# The fields that some providers rename or do not take, with values that show whether one does so.
OPTIONAL_FIELDS: Final = {
    "max_completion_tokens": (1,),
    "max_tokens": (1,),
    "temperature": (0.0, 0.5, 1, 2),
    "top_p": (0.0, 0.5, 1),
    "seed": (1,),
    "frequency_penalty": (0.0, 0.5),
    "presence_penalty": (0.0, 0.5),
    "user": ("x",),
}
