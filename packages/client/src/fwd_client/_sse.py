"""Server-sent events from bytes, however they were cut.

Lines end with CR, LF or CRLF and nothing else: `str.splitlines` would also split on U+2028 and U+0085, which JSON
text may hold. https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field, frozen

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


@frozen
class Event:
    """One event: its data, lines joined by LF. Names and ids are not used by the gateway and not kept."""

    data: bytes


@frozen
class Comment:
    """A line that began with a colon; the gateway sends its receipt this way."""

    text: bytes


@define
class Decoder:
    """Feed it bytes as they come; it gives what is complete."""

    _partial: list[bytes] = field(factory=list, init=False)
    _data: list[bytes] = field(factory=list, init=False)
    _after_cr: bool = field(default=False, init=False)
    _at_start: bool = field(default=True, init=False)

    def feed(self, data: bytes) -> list[Event | Comment]:
        """The events and comments that these bytes complete, in order."""
        found = (self._take_line(line) for line in self._split_lines(data))
        return [item for item in found if item is not None]

    def _split_lines(self, data: bytes) -> list[bytes]:
        if not data:
            return []
        if self._after_cr:  # a CR ended the last line at once; an LF now is its second half
            data = data.removeprefix(b"\n")
        # CR, LF and CRLF all end a line, and a packet may end between the two bytes of CRLF.
        self._after_cr = data.endswith(b"\r")
        *lines, rest = _LINE_END.split(data)
        if lines:
            # Joined once: adding to one buffer is quadratic for a line of many packets.
            lines[0] = b"".join((*self._partial, lines[0]))
            self._partial.clear()
        if rest:
            self._partial.append(rest)
        return lines

    def _take_line(self, line: bytes) -> Event | Comment | None:
        if self._at_start:
            self._at_start = False
            # A byte order mark is allowed before the first line, and nowhere else.
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch_event()
        name, _, value = line.partition(b":")
        # One space belongs to the syntax, the others to the value.
        value = value.removeprefix(b" ")
        if not name:
            return Comment(value)
        if name == b"data":
            self._data.append(value)
        return None

    def _dispatch_event(self) -> Event | None:
        # An empty line without data before it ends a comment, and is no event.
        if not self._data:
            return None
        event = Event(b"\n".join(self._data))
        self._data.clear()
        return event
