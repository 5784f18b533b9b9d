"""A decoder for streams of JSON objects: limits, unreadable texts and the end are the same for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import orjson

from fwd_server.values.chat import End, Json, StreamEvent
from fwd_server.values.errors import UpstreamError, upstream_failure
from fwd_server.values.usage import Usage
from fwd_server.wire import jsontext
from fwd_server.wire.sse import EventDecoder, LineTooLong


class Framing(Protocol):
    """Bytes to the JSON texts in them."""

    def feed(self, data: bytes) -> list[bytes]:
        """The texts that ``data`` completes. Raises LineTooLong."""
        ...

    def close(self) -> list[bytes]:
        """The rest at the end of the body."""
        ...


class EventData:
    """The data of server-sent events, whatever their names."""

    def __init__(self) -> None:
        self._events = EventDecoder()

    def feed(self, data: bytes) -> list[bytes]:
        """The data that ``data`` completes. Raises LineTooLong."""
        return [event.data for event in self._events.feed(data)]

    def close(self) -> list[bytes]:
        """The data of the event the stream broke off in."""
        return [event.data for event in self._events.close()]


class ObjectReader(Protocol):
    """One provider's objects to events."""

    @property
    def usage(self) -> Usage | None:
        """Tokens as far as the provider has reported them; None before that."""
        ...

    def read_object(self, value: Json) -> list[StreamEvent]:
        """The events of one object."""
        ...

    def finish_stream(self) -> list[StreamEvent]:
        """The events of the end of the body, when no end was read before it."""
        ...


class JsonStream:
    """A decoder for a stream of JSON objects: limits, unreadable texts and the end are the same for all.

    ``progress`` is the number of objects so far that show the provider at work on its answer, whether or not they gave
    an event: thinking that is not shown gives none. It starts at 0 and only grows. ``shows_progress`` says which
    objects count; by default all do.
    """

    def __init__(
        self,
        framing: Framing,
        reader: ObjectReader,
        shows_progress: Callable[[Json], bool] = lambda value: True,
    ) -> None:
        self.progress = 0
        self._framing = framing
        self._reader = reader
        self._shows_progress = shows_progress
        self._over = False

    @property
    def usage(self) -> Usage | None:
        """Tokens as far as the provider has reported them; None before that."""
        return self._reader.usage

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that ``data`` completes."""
        if self._over:
            return []
        try:
            texts = self._framing.feed(data)
        except LineTooLong:
            # Nothing after the first End or error counts: some servers send events after [DONE].
            self._over = True
            return [upstream_failure("too_large")]
        return self._read_texts(texts, "bad_payload")

    def close(self) -> list[StreamEvent]:
        """The body is over: what cannot be read now was cut off."""
        if self._over:
            return []
        events = self._read_texts(self._framing.close(), "upstream_truncated")
        if not self._over:
            self._over = True
            events += self._reader.finish_stream()
        return events

    def _read_texts(self, texts: list[bytes], unreadable: str) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for written in texts:
            if self._over:
                break
            # Blank lines between objects are keep-alives.
            if written.strip():
                events += self._read_text(written, unreadable)
            self._over = bool(events) and isinstance(events[-1], (End, UpstreamError))
        return events

    def _read_text(self, written: bytes, unreadable: str) -> list[StreamEvent]:
        try:
            # The other half of a character may come with the next object: ``ChunkWriter`` joins them.
            value = jsontext.loads(written, keep_halves=True)
        except orjson.JSONDecodeError:
            # Text that cannot be read in the middle of a body is broken; at the end it was cut off (contract F8, F27).
            return [upstream_failure(unreadable)]
        if not isinstance(value, dict):
            return [upstream_failure("bad_payload")]
        self.progress += self._shows_progress(value)
        return self._reader.read_object(value)
