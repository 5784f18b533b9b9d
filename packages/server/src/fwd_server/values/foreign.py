"""A chat call in another language than OpenAI's: what it becomes is decided for each deployment that is tried.

Between caller languages and providers travels the chat shape (``values/chat.py``). What a call becomes in it depends on
the target: whether its model reasons, which fields it has, whose signed reasoning it can read. A provider that speaks
the caller's own language gets the caller's own bytes instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define, field, frozen

from fwd_server.values.chat import ChatBody, ChatRequest, ChatResponse, Chunk, Json


@frozen
class TargetTraits:
    """The facts about a deployment that a caller language needs to word a call for it.

    ``provider`` is the row of its provider; ``reasons`` says that the model thinks and takes an effort, ``samples``
    that it takes sampling while it does; ``max_output`` is its cap on tokens, None where it is not known. ``takes`` are
    fields that only some providers have: ``top_k``, ``service_tier``, ``safety_identifier``, ``cache_control``.
    ``tool_media`` says that results of tools may hold pictures and files. ``cap`` names the cap on tokens.
    """

    provider: str
    model: str
    reasons: bool = False
    samples: bool = True
    max_output: int | None = None
    takes: frozenset[str] = frozenset()
    tool_media: bool = False
    cap: str = "max_tokens"


@frozen
class TokenCount:
    """How many tokens a prompt has; ``estimated`` says that the gateway counted, and not the provider."""

    tokens: int
    estimated: bool


@frozen
class ChatForm:
    """A call in the chat shape, for one target.

    ``dropped`` names what was left out, in the caller's words. ``answer`` is set where no provider is needed: a
    ``chat.completion`` object.
    """

    request: ChatRequest
    dropped: tuple[str, ...] = ()
    answer: Json | None = None


@define(eq=False)
class ForeignRequest(ChatRequest):
    """A chat call in a language of its own; ``raw`` are the caller's bytes and ``own`` is the object in them.

    ``language`` names the language, and ``headers`` are those that a provider of the same language gets as they are.
    ``body`` is that object too; ``view`` has what is asked of every call (limits, user), without its conversation.
    """

    language: str = ""
    own: Json = field(factory=dict, repr=False)
    headers: tuple[tuple[str, str], ...] = ()

    def __attrs_post_init__(self) -> None:
        self.model, self.stream = self.own.get("model"), self.own.get("stream") is True
        self.include_usage = True

    def chat_for(self, target: TargetTraits) -> ChatForm:
        """The call for one target. Raises BadRequest or Refused in the caller's words."""
        raise NotImplementedError

    def own_names(self, dropped: Iterable[str]) -> tuple[str, ...]:
        """Names of fields in the chat shape as the caller calls them; what the caller never wrote is left out."""
        raise NotImplementedError

    def texts(self) -> Iterator[str]:
        """Every text of the conversation, for estimates."""
        raise NotImplementedError

    def other_parts(self) -> Iterator[str]:
        """The ability that each part needs which is no text: image, file."""
        raise NotImplementedError

    def abilities(self) -> Iterator[str]:
        """What else it needs of a model: tools, json_schema."""
        raise NotImplementedError

    @property
    def estimate(self) -> int:
        """The gateway's own count of the prompt's tokens."""
        raise NotImplementedError

    def user(self) -> str | None:
        """Whom the caller names as its own user."""
        raise NotImplementedError

    @property
    def body(self) -> Json:
        """The caller's own object."""
        return self.own

    @property
    def view(self) -> ChatBody:
        """The parts of every call, whatever its language."""
        most = self.own.get("max_tokens")
        return ChatBody([], self.model, self.stream, max_tokens=most if type(most) is int else None, user=self.user())


class NativeChunk(Chunk, frozen=True):
    """Events of a provider that speaks the caller's language, in ``frame`` as they came.

    ``last`` says that nothing of the answer follows: what the gateway adds goes before it.
    """

    last: bool = False


@define
class NativeResponse(ChatResponse):
    """A whole answer in the caller's own language: ``raw`` goes out as it came."""


def selected_headers(
    headers: Mapping[str, Any], names: Iterable[str], longest: int = 4096
) -> tuple[tuple[str, str], ...]:
    """Those of ``names`` that a request has, where their values are visible ASCII and not longer than ``longest``."""
    found = ((name, str(headers[name])) for name in names if name in headers)
    return tuple((name, value) for name, value in found if value and len(value) <= longest and _is_plain(value))


def _is_plain(value: str) -> bool:
    return value.isascii() and value.isprintable()
