"""A caller language, as a value made of pure functions.

A dialect reads a request, renders a whole answer and an error, and makes a writer for each stream. No provider knows
which dialect the caller speaks, and no dialect knows which provider answers: between them travel ``ChatRequest``,
``ChatResponse`` and the events of a stream. A new caller language is one module here and one route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar

from attrs import field, frozen

from fwd_server.values.chat import Chunk, Json
from fwd_server.values.errors import GatewayError
from fwd_server.values.record import CallRecord

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


@frozen
class CallHead:
    """The parts of a request that a language may read besides its body: the path, and headers by lower-case name."""

    path: str = ""
    headers: Mapping[str, Any] = field(factory=dict)


NO_HEAD: Final = CallHead()


def own_status(error: GatewayError) -> int:
    """The status of a failure in a language that has OpenAI's."""
    return error.status


class StreamWriter(Protocol):
    """Frames one stream in the caller's language, from its first bytes to its end; made anew for each call.

    Each method returns the bytes to send, empty where there is nothing to say. ``write_end`` or ``write_error`` is the
    last one called.
    """

    @property
    def content_type(self) -> str:
        """The ``Content-Type`` of the answer."""
        ...

    def write_chunks(self, chunks: list[Chunk]) -> bytes:
        """The events for some chunks, in their order."""
        ...

    def write_keep_alive(self) -> bytes:
        """A sign of life that no client takes for content; may come before anything else."""
        ...

    def write_receipt(self, facts: Json) -> bytes:
        """The provider that answers, for a stream whose head was sent before it was known."""
        ...

    def write_end(self, facts: Json) -> bytes:
        """The true end, with the receipt before it (contract 3c: only a complete answer gets one)."""
        ...

    def write_error(self, error: GatewayError) -> bytes:
        """A failure after the head is out, in place of the end (contract G5)."""
        ...


@frozen
class Dialect(Generic[RequestT, ResponseT]):
    """A caller language for one operation.

    ``parse`` gets the body and the head, and raises BadRequest that names the field in the caller's own words.
    ``render`` and ``stream_writer`` get the request and the call's record, which says who answers; ``stream_writer`` is
    None for an operation that never streams. ``render_error`` gets the failure and the request's id; ``status_of``
    says with which status it goes out. ``id_headers`` carry the request's id beside ``x-request-id``. ``counts`` says
    that the call asks for nothing but the number of its tokens: ``render`` gets a ``TokenCount``.
    """

    name: str
    parse: Callable[[bytes, CallHead], RequestT]
    render: Callable[[ResponseT, RequestT, CallRecord], bytes]
    render_error: Callable[[GatewayError, str], bytes]
    stream_writer: Callable[[RequestT, CallRecord], StreamWriter] | None = None
    status_of: Callable[[GatewayError], int] = own_status
    id_headers: tuple[str, ...] = ()
    counts: bool = False
