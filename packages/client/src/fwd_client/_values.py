"""The answers: frozen classes that keep unknown fields in `extra`.

Null and absent are the same here: both are None, and `to_dict()` omits them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from fwd_client._receipt import Receipt, Receipted, Usage
from fwd_client._value import Value


@frozen
class Answer(Value, Receipted):
    """A whole answer of the gateway, with its receipt."""

    receipt: Receipt = field(factory=Receipt, repr=False, eq=False, kw_only=True)


@frozen
class FunctionCall(Value):
    """A function the model wants called; `arguments` is JSON text as the model wrote it."""

    name: str = ""
    arguments: str = ""

    def parsed(self) -> Any:
        """The arguments as Python values; `ValueError` when the model wrote invalid JSON."""
        return json.loads(self.arguments or "{}")


@frozen
class ToolCall(Value):
    """One call of a tool; answer it with a message of role `tool` that carries the same id."""

    id: str = ""
    type: str = "function"
    function: FunctionCall = field(factory=FunctionCall)


@frozen
class Message(Value):
    """The model's message; it can be used in `messages` as it is."""

    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None


@frozen
class Choice(Value):
    """One answer of possibly several (`n=`)."""

    index: int = 0
    message: Message = field(factory=Message)
    finish_reason: str | None = None
    logprobs: Any = field(default=None, repr=False)


@frozen(repr=False)
class Chat(Answer):
    """A whole answer. `text`, `message`, `tool_calls` and `finish_reason` are those of the first choice."""

    id: str = ""
    object: str = "chat.completion"
    created: int = 0
    model: str = ""
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None

    @property
    def message(self) -> Message:
        """The first choice's message, or an empty one."""
        return self.choices[0].message if self.choices else Message()

    @property
    def text(self) -> str:
        """The first choice's text, empty if the model only called tools."""
        return self.message.content or ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The first choice's tool calls."""
        return self.message.tool_calls or ()

    @property
    def finish_reason(self) -> str | None:
        """Why the first choice ended: stop, length, tool_calls, content_filter."""
        return self.choices[0].finish_reason if self.choices else None

    def __repr__(self) -> str:
        return _short_repr(
            self, text=clip_text(self.text), model=self.model, finish=self.finish_reason, request_id=self.request_id
        )


@frozen
class FunctionDelta(Value):
    """A piece of a function call."""

    name: str | None = None
    arguments: str | None = None


@frozen
class ToolCallDelta(Value):
    """A piece of the tool call number `index`."""

    index: int = 0
    id: str | None = None
    type: str | None = None
    function: FunctionDelta | None = None


@frozen
class Delta(Value):
    """What one chunk adds to one choice."""

    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] | None = None


@frozen
class ChunkChoice(Value):
    """A piece of one choice."""

    index: int = 0
    delta: Delta = field(factory=Delta)
    finish_reason: str | None = None
    logprobs: Any = field(default=None, repr=False)


@frozen(repr=False)
class Chunk(Value):
    """One event of a stream. The one with the usage has no choices."""

    id: str = ""
    object: str = "chat.completion.chunk"
    created: int = 0
    model: str = ""
    choices: tuple[ChunkChoice, ...] = ()
    usage: Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None

    @property
    def text(self) -> str:
        """The text this chunk adds to the first choice."""
        return "".join(choice.delta.content or "" for choice in self.choices if choice.index == 0)

    def __repr__(self) -> str:
        return _short_repr(self, text=clip_text(self.text), choices=len(self.choices), usage=self.usage)


@frozen(repr=False)
class Model(Answer):
    """A model that this key can use; `fwd` is what the gateway knows about it (provider, context, prices ...)."""

    id: str = ""
    object: str = "model"
    created: int = 0
    owned_by: str = ""
    fwd: Mapping[str, Any] = field(factory=dict)

    def __repr__(self) -> str:
        return _short_repr(self, id=self.id, owned_by=self.owned_by)


@frozen(repr=False)
class Models(Answer):
    """All models that this key can use; iterate over it."""

    object: str = "list"
    data: tuple[Model, ...] = ()

    def __iter__(self) -> Iterator[Model]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return _short_repr(self, count=len(self.data), first=[model.id for model in self.data[:3]])


@frozen
class Embedding(Value):
    """The vector of one text; `index` is the text's place in the input."""

    index: int = 0
    object: str = "embedding"
    embedding: tuple[float, ...] = field(default=(), repr=False)


@frozen(repr=False)
class Embeddings(Answer):
    """The vectors of all texts, in their order; iterate over it, or take `vectors`."""

    object: str = "list"
    data: tuple[Embedding, ...] = ()
    model: str = ""
    usage: Usage | None = None

    @property
    def vectors(self) -> list[tuple[float, ...]]:
        """The vectors alone."""
        # In the order of the texts, which the gateway keeps.
        return [one.embedding for one in self.data]

    def __iter__(self) -> Iterator[Embedding]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        size = len(self.data[0].embedding) if self.data else None
        return _short_repr(self, count=len(self.data), size=size, model=self.model, request_id=self.request_id)


@frozen
class PlannedCall(Value):
    """One provider of a plan: what it would be sent, keys as `$NAME`, or the `error` that excludes it.

    `dropped` names the fields it does not support; `request` has method, url, headers and body (None for `echo:`).
    """

    provider: str = ""
    model: str = ""
    dropped: tuple[str, ...] = ()
    request: Mapping[str, Any] | None = field(default=None, repr=False)
    error: Mapping[str, Any] | None = None


@frozen
class Plan(Answer):
    """What the gateway would do with a call, first choice first; nothing was sent to a provider."""

    object: str = "fwd.dry_run"
    plan: tuple[PlannedCall, ...] = ()

    def __iter__(self) -> Iterator[PlannedCall]:
        return iter(self.plan)

    def __len__(self) -> int:
        return len(self.plan)


@frozen(repr=False)
class Health(Answer):
    """The answer of `/health` or `/ready`; `ok` is whether its status was 200."""

    status: str = ""

    @property
    def ok(self) -> bool:
        """Whether the gateway is running, or with `ready()` whether it can answer calls."""
        return self.receipt.status == 200

    def __repr__(self) -> str:
        return _short_repr(self, status=self.status, ok=self.ok)


def clip_text(text: str, limit: int = 40) -> str:
    """The start of a text, for a repr."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _short_repr(value: object, **facts: Any) -> str:
    shown = ", ".join(f"{name}={fact!r}" for name, fact in facts.items() if fact is not None)
    return f"{type(value).__name__}({shown})"
