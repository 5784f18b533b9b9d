"""A provider, as a value made of codecs. A codec is pure; it never awaits, and never asks for the time.

One attempt at one deployment is an ``Exchange``: it knows the request to send, and reads whatever comes back. It
remembers what the way back needs (renamed tools, usage that was asked for, the caller's options).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec
from attrs import field, frozen

from fwd_server.values.chat import ChatRequest, ChatResponse, Json, StreamEvent
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.embeddings import EmbeddingsRequest, EmbeddingsResponse
from fwd_server.values.errors import UpstreamError
from fwd_server.values.foreign import ForeignRequest
from fwd_server.values.secret import Secret
from fwd_server.values.usage import Usage

NewId = Callable[[str], str]  # prefix -> a fresh id that begins with it, as "call_" or "chatcmpl-"
Header = tuple[str, str | Secret]


class UpstreamRequest(msgspec.Struct, frozen=True):
    """What to send. ``path`` begins with "/" and is appended to the base URL of the deployment's endpoint.

    There is no host in it: nothing a caller sends can pick one (contract S11). A key stays a ``Secret`` until
    the last moment, so a request can be shown (``x-fwd-dry-run``) and logged without it. ``thinks`` says that the model
    may think for long before its first word, perhaps without showing it.
    """

    path: str
    headers: tuple[Header, ...]
    body: bytes
    method: str = "POST"
    stream: bool = False
    thinks: bool = False
    json_lines: bool = False  # whether the stream that is asked for is lines of JSON and not events


@frozen
class ScriptedResponse:
    """An answer that is played instead of fetched: pairs of delay in seconds and bytes (``echo``).

    ``ends`` says how it is over: "end" as an answer should, "cut" in the middle, "stall" with silence.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    steps: tuple[tuple[float, bytes], ...]
    ends: str = "end"
    stream: bool = False


@frozen
class AmendedRequest:
    """A changed request for one more try at the same deployment; it counts as an attempt.

    ``error`` is what the caller sees if that try is not made.
    """

    exchange: ChatExchange | EmbeddingsExchange
    error: UpstreamError


class StreamDecoder(Protocol):
    """Bytes of a streamed answer to events. After an ``End`` or an error it gives nothing more (F30)."""

    @property
    def usage(self) -> Usage | None:
        """Tokens as reported by the provider so far; None before the first report."""
        ...

    @property
    def progress(self) -> int:
        """Grows with every sign of work on the answer, shown or not; for one that shows all its work it stays 0."""
        ...

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that ``data`` completes, whatever way the bytes are cut (contract T10)."""
        ...

    def close(self) -> list[StreamEvent]:
        """The upstream's body is over: nothing if the end was seen, else its last events (F22, F23)."""
        ...


class ChatExchange(Protocol):
    """One attempt in one language."""

    @property
    def request(self) -> UpstreamRequest | ScriptedResponse:
        """What to send, or to play."""
        ...

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the fields the provider cannot take and that were left out."""
        ...

    def answer(self, body: bytes) -> ChatResponse:
        """Read a whole answer. Raises UpstreamError: unreadable (F20), or an error inside a 200 (F21)."""
        ...

    def decoder(self) -> StreamDecoder:
        """A decoder for the streamed answer."""
        ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | AmendedRequest:
        """Read a status that is not 200; ``headers`` have lower-case names."""
        ...


class ChatCodec(Protocol):
    """Chat completions in one provider's language."""

    def open(self, request: ChatRequest, deployment: Deployment, now: int, new_id: NewId) -> ChatExchange:
        """Translate a call. ``now`` is the time in whole seconds, for answers without one.

        Raises Refused when the provider cannot take something in the call (nothing was sent).
        """
        ...


class NativeCodec(Protocol):
    """A caller language that is the provider's own: the caller's bytes go there as they are, but for named edits."""

    def open(
        self, request: ForeignRequest, deployment: Deployment, now: int, new_id: NewId, *, moved: bool
    ) -> ChatExchange:
        """Pass a call on. ``moved`` says that the conversation was held with another model so far."""
        ...


class CountCodec(Protocol):
    """A provider's own count of a prompt's tokens, which costs nothing there."""

    def request(self, exchange: ChatExchange, model: str) -> UpstreamRequest | None:
        """What to send for the call of an exchange; None for one that cannot be counted."""
        ...

    def read(self, body: bytes) -> int | None:
        """The count in an answer."""
        ...


class EmbeddingsExchange(Protocol):
    """One attempt at embeddings in one language."""

    @property
    def request(self) -> UpstreamRequest | ScriptedResponse:
        """What to send, or to play."""
        ...

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the fields the provider cannot take and that were left out."""
        ...

    def answer(self, body: bytes) -> EmbeddingsResponse:
        """Read an answer. Raises UpstreamError."""
        ...

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError | AmendedRequest:
        """Read a status that is not 200; ``headers`` have lower-case names."""
        ...


class EmbeddingsCodec(Protocol):
    """Embeddings in one provider's language."""

    def open(self, request: EmbeddingsRequest, deployment: Deployment) -> EmbeddingsExchange:
        """Translate a call. Raises Refused when the provider cannot take something in it."""
        ...


# Response headers a provider may send on to the caller; everything else stays behind (contract T11).
# A closed list: other headers of a provider may name its hosts, set cookies or change how a client reads the body.
RATE_LIMIT_HEADERS = tuple(
    f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")
)


def rate_limits(headers: Mapping[str, str], now: int) -> Iterable[tuple[str, str]]:
    """A provider's limits where it names them as OpenAI does."""
    return [(name, headers[name]) for name in RATE_LIMIT_HEADERS if name in headers]


class ModelsCodec(Protocol):
    """A provider's own list of its models."""

    @property
    def live(self) -> bool:
        """Whether it may change at any moment, so that it is not worth keeping."""
        ...

    def request(self, endpoint: Endpoint) -> UpstreamRequest:
        """What to send for it."""
        ...

    def read(self, body: bytes) -> tuple[str, ...]:
        """The names in an answer, as they are called there. Raises UpstreamError."""
        ...


@frozen
class Provider:
    """A provider: its name, and a codec for each operation it has (None: it has no such operation).

    ``native`` are the caller languages it speaks itself, ``count`` counts the tokens of a prompt.
    ``limits`` reads its rate limits from the headers of an answer, under OpenAI's names; ``needs_bytes`` says of
    an image's URL that the provider does not open it, but takes what is there as a ``data:`` URL.
    """

    name: str
    chat: ChatCodec | None = None
    embeddings: EmbeddingsCodec | None = None
    models: ModelsCodec | None = None
    native: Mapping[str, NativeCodec] = field(factory=dict)
    count: CountCodec | None = None
    limits: Callable[[Mapping[str, str], int], Iterable[tuple[str, str]]] = rate_limits
    needs_bytes: Callable[[str], bool] = lambda url: False


def merge_body(body: Json, extra: Mapping[str, Any] | None) -> Json:
    """``extra`` merged deeply into a copy of ``body``; objects join, anything else is replaced."""
    if not extra:
        return body
    merged = dict(body)
    for key, value in extra.items():
        old = merged.get(key)
        # Lists are replaced as well: joining them would make it impossible to take an entry away.
        if isinstance(old, dict) and isinstance(value, Mapping):
            merged[key] = merge_body(old, value)
        else:
            merged[key] = value
    return merged


def present_fields(body: Mapping[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names`` that ``body`` has with a value: what leaving them out would lose."""
    return tuple(name for name in names if body.get(name) is not None)
