"""Server-sent events and lines of JSON, decoded from bytes: any way of cutting the bytes gives the same events.

Text is never split as text: ``str.splitlines`` also breaks at U+2028, U+2029 and U+0085, which JSON may hold.
Lines end with CR, LF or CRLF, and a CR at the end of a piece ends its line at once, so nothing waits for a byte
that may never come. https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

# As long as a whole answer may be (contract T9, F26): a streamed picture is one event of several megabytes.
LONGEST_LINE: Final = 64 << 20
_BOM: Final = b"\xef\xbb\xbf"
_ENDS: Final = re.compile(rb"\r\n|\n|\r")


class LineTooLong(Exception):
    """A line, or the data of one event, is longer than the limit (contract F26)."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: its name ("" for most) and its data, the bytes of all its ``data`` lines joined by LF."""

    name: str
    data: bytes


def encode_event(data: bytes, name: str = "") -> bytes:
    """The bytes of one event."""
    head = b"event: " + name.encode() + b"\n" if name else b""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_ENDS.split(data))
    return head + b"data: " + data + b"\n\n"


class LineDecoder:
    """Pieces of bytes to whole lines, without their ends; at the end of the stream ``close`` gives the last one.

    A line may be as long as a whole answer, since a picture comes on one.
    """

    __slots__ = ("_after_cr", "_broken", "_longest", "_rest")

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._after_cr = False
        self._broken = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes, empty ones too. Raises LineTooLong, after the lines before that one."""
        if self._broken:
            raise LineTooLong
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        lines = _ENDS.split(data) if data.find(b"\r") >= 0 else data.split(b"\n")
        if len(lines) > 1:
            self._after_cr = data.endswith(b"\r")
            if self._rest:
                self._rest += lines[0]
                lines[0] = bytes(self._rest)
                self._rest = bytearray()  # not cleared: a long line's room would stay for the rest of the stream
        # A line in many small pieces is gathered, not copied again with each piece.
        self._rest += lines.pop()
        return self._check_lengths(lines)

    def close(self) -> list[bytes]:
        """The last line, if the stream ended without ending it."""
        if self._broken:
            raise LineTooLong
        rest = bytes(self._rest)
        self._rest.clear()
        return [rest] if rest else []

    def __bool__(self) -> bool:
        """Whether the next bytes are not the first of a line: one is unfinished, ended in CR, or was too long."""
        return bool(self._rest) or self._after_cr or self._broken

    def _check_lengths(self, lines: list[bytes]) -> list[bytes]:
        bad = next((i for i, line in enumerate(lines) if len(line) > self._longest), None)
        if bad is None and len(self._rest) > self._longest:
            bad = len(lines)
        if bad is not None:
            self._broken = True
            if bad == 0:
                raise LineTooLong
        return lines[:bad]


class EventDecoder:
    """Pieces of bytes to events. Comments, ``id`` and ``retry`` are swallowed; so is an event without data."""

    __slots__ = ("_broken", "_data", "_idle", "_lines", "_longest", "_name", "_size", "_start", "_started")

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._lines = LineDecoder(longest)
        self._start = b""  # the first bytes, until they cannot be a byte order mark any more
        self._started = False
        self._broken = False
        self._idle = False  # between two events, with nothing held back
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes. Raises LineTooLong, after the events before that line were given."""
        # What nearly every piece is: one whole event on one line.
        if self._idle and data.startswith(b"data: ") and len(data) <= self._longest:
            text = data[6:-2] if data.endswith(b"\n\n") else data[6:-4] if data.endswith(b"\r\n\r\n") else b""
            # Not "in": bytes try what is searched for as a number first, and swallow the exception that this raises.
            # For the two of them that took a tenth of a chunk's whole way.
            if text and text.find(b"\n") < 0 and text.find(b"\r") < 0:
                return [Event("", text)]
        return self._read_lines(data if self._started else self._skip_byte_order_mark(data))

    def close(self) -> list[Event]:
        """The event the stream broke off in, if any; who reads its data finds out whether it is whole.

        The standard says to discard it, but real servers forget the last blank line. Raises LineTooLong.
        """
        events = self._read_lines(self._start)
        self._start = b""
        for line in (*self._lines.close(), b""):
            self._read_line(line, events)
        return events

    def _skip_byte_order_mark(self, data: bytes) -> bytes:
        self._start += data
        if len(self._start) < len(_BOM) and _BOM.startswith(self._start):
            return b""
        data, self._start, self._started = self._start.removeprefix(_BOM), b"", True
        return data

    def _read_lines(self, data: bytes) -> list[Event]:
        if self._broken:
            raise LineTooLong
        events: list[Event] = []
        try:
            for line in self._lines.feed(data):
                self._read_line(line, events)
        except LineTooLong:
            self._broken = True
            if not events:
                raise
        self._idle = self._started and not (self._lines or self._data or self._name or self._broken)
        return events

    def _read_line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            self._dispatch_event(events)
        elif line.startswith(b"data:"):
            self._add_data(line[6:] if line[5:6] == b" " else line[5:])
        # Other fields (id, retry, comments) fall through: nothing here reconnects.
        elif line.startswith(b"event:"):
            self._name = line[6:].removeprefix(b" ").decode("utf-8", "replace")
        elif line == b"data":
            self._add_data(b"")
        elif line == b"event":
            self._name = ""

    def _add_data(self, data: bytes) -> None:
        # The line limit alone is not enough: an event may have any number of data lines.
        self._size += len(data) + 1
        if self._size > self._longest:
            raise LineTooLong
        self._data.append(data)

    def _dispatch_event(self, events: list[Event]) -> None:
        data = b"\n".join(self._data)
        if data:
            events.append(Event(self._name, data))
        self._name = ""
        self._data = []
        self._size = 0
