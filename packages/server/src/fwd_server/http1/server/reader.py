"""The requests of one connection, cut from its bytes: heads by the exact reader or by memory, and bodies of both kinds.

There are two speeds. A head that is the last one again but for the length, or but for some values that decide nothing,
is recognised (`RememberedHead`); every other is read exactly (`request.parse_head`). The fast way may only decline or
agree with the exact one: it refuses nothing, and what it takes the exact reader would have taken with the same result
(docs/adr/0005-two-speeds-one-meaning.md).

Chunked bodies come without extensions and trailers, in which readers differ and which no client of ours sends.
"""

from __future__ import annotations

import re
from typing import Final

from fwd_server.http1.server.limits import Refusal, ServerLimits, headers_too_large, malformed, target_too_long
from fwd_server.http1.server.request import HEADER_LINE, LENGTH, Head, parse_head

_LENGTH_LINE: Final = re.compile(rb"\r\ncontent-length:[\t ]*([0-9]{1,15})\r\n", re.IGNORECASE)
# Headers that decide how a request is framed and what becomes of its connection.
_DECISIVE: Final = frozenset(("host", "transfer-encoding", "connection", "expect"))
# Seen early, so that a client of another protocol is not kept waiting: a line that ends in one character, and NUL.
_BROKEN: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\x00")
# Every size line, the first one apart, follows the line break that ends a chunk; so the first is given one too.
_SIZE: Final = re.compile(rb"\r\n(?:0\r\n\r\n|([1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n)")
_SIZE_BEGUN: Final = re.compile(rb"(?:\r(?:\n(?:0(?:\r(?:\n\r?)?)?|[1-9A-Fa-f][0-9A-Fa-f]{0,7}\r?)?)?)?")
_MEMO_BYTES: Final = 4 << 10  # a longer head is not remembered: idle connections are many
_FREE_FRAMING: Final = 16 << 10  # bytes of chunk sizes that need no bytes of body to go with them


class RememberedHead:
    """The last head of a connection: its bytes with the digits of Content-Length cut out, and what they mean.

    An SDK sends the same head again and again but for the length. To compare the bytes costs a small part of reading
    them, and can only decide that they mean what they meant before: whatever differs is left to the exact reader
    (docs/adr/0005-two-speeds-one-meaning.md).
    """

    __slots__ = ("_digits", "_head", "_lines", "_prefix", "_suffix")

    def __init__(self, raw: bytes, head: Head) -> None:
        """``raw`` was read as ``head``."""
        self._head = head
        self._lines: list[str] | None = None
        line = None if head.length is None else _LENGTH_LINE.search(raw)
        if line is None:
            self._prefix, self._digits, self._suffix = raw, b"", b""
        else:
            self._prefix, self._digits, self._suffix = raw[: line.start(1)], line[1], raw[line.end(1) :]

    def match(self, data: bytes | bytearray, limit: int) -> tuple[Head, int] | None:
        """The head at the beginning of ``data`` and where it ends, if it is the same but for its length.

        A length of more than 15 digits, and a head of more than ``limit`` bytes, are left to the exact reader.
        """
        prefix, suffix = self._prefix, self._suffix
        if not data.startswith(prefix):
            return None
        start = len(prefix)
        if not suffix:
            return self._head, start
        end = data.find(b"\r", start, start + 16)
        if end < 0 or not data.startswith(suffix, end):
            return None
        digits = data[start:end]
        if digits != self._digits:
            if not digits.isdigit() or end + len(suffix) > limit:
                return None
            self._digits = bytes(digits)
            self._head = self._head.with_length(digits.decode())
        return self._head, end + len(suffix)

    def amend(self, raw: bytes) -> Head | None:
        """The head in ``raw`` if it differs from the remembered one only in values that do not concern framing.

        Request ids and trace ids change with every request of some clients. Every line is either the same as before or
        one well-formed header of the same name; that no name is repeated keeps the rest simple. The limits on lines
        and target hold because the remembered head kept them.
        """
        if self._lines is None:
            self._lines = (b"%b%b%b" % (self._prefix, self._digits, self._suffix)).decode("latin-1").split("\r\n")
        before, lines, head = self._lines, raw.decode("latin-1").split("\r\n"), self._head
        # A header that came, went or was repeated could decide something; so could another target.
        if len(lines) != len(before) or lines[0] != before[0] or len(head.headers) != len(before) - 3:
            return None
        changed: dict[str, str] = {}
        for line, old in zip(lines, before, strict=True):
            if line == old:
                continue
            name, _, value = line.partition(":")
            name = name.lower()
            if name in _DECISIVE or name != old.partition(":")[0].lower() or HEADER_LINE.fullmatch(line) is None:
                return None
            changed[name] = value.strip(" \t")
        length = changed.get("content-length", "0")
        if LENGTH.fullmatch(length) is None:
            return None
        return head.with_headers(changed, lines[1:-2], int(length) if "content-length" in changed else head.length)


class RequestReader:
    """The requests of one connection, cut from its bytes one at a time.

    ``feed`` it, take a head, then ``take`` from that head's body until it has ``ended``, then the next head.
    """

    __slots__ = ("_limits", "_remembered", "_searched", "body", "buffer")

    def __init__(self, limits: ServerLimits) -> None:
        self.buffer = bytearray()  # what has come and is not taken yet
        self.body: Body = LengthBody(0)
        self._limits = limits
        self._remembered: RememberedHead | None = None
        self._searched = 0

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the connection."""
        self.buffer += data

    def next_head(self) -> Head | None:
        """The next head, or None until it is all there. Raises Refusal, as soon as it can only become one."""
        buffer = self.buffer
        if self._remembered is not None and (found := self._remembered.match(buffer, self._limits.header_bytes)):
            return self._open_body(*found)
        end = buffer.find(b"\r\n\r\n", self._searched) + 4
        if (end if end >= 4 else len(buffer)) > self._limits.header_bytes:
            raise self._too_long()
        if end < 4:
            self._check_begun()
            return None
        return self._open_body(self._read_head(bytes(buffer[:end])), end)

    def _open_body(self, head: Head, end: int) -> Head:
        """Part from the bytes of a head, and prepare for its body."""
        buffer = self.buffer
        del buffer[:end]
        self._searched = 0
        self.body = ChunkedBody(buffer) if head.length is None else LengthBody(head.length)
        return head

    def read_whole(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and body of ``data`` if it is exactly one request and nothing waits. Raises Refusal.

        Else None, and ``data`` is to be fed.
        """
        if self.buffer:
            return None
        limit = self._limits.header_bytes
        match = None if self._remembered is None else self._remembered.match(data, limit)
        if match is None:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4 or end > limit:
                return None
            try:
                match = self._read_head(data[:end]), end
            except Refusal:
                self.feed(data)  # how a refusal is worded and framed depends on what came
                raise
        head, end = match
        return (head, data[end:]) if len(data) - end == head.length else None

    def _read_head(self, raw: bytes) -> Head:
        """Read a head that is not the last one again, and remember it."""
        head = None if self._remembered is None else self._remembered.amend(raw)
        if head is None:
            head = parse_head(raw, self._limits)
        self._remembered = RememberedHead(raw, head) if len(raw) <= _MEMO_BYTES else None
        return head

    def put_back(self, head: Head, body: bytes) -> None:
        """Let the body of a request that was read as a whole be taken like any other."""
        self.buffer += body
        self.body = LengthBody(head.length or 0)

    def take(self) -> bytes:
        """What has come of the body, b"" if nothing has. Raises Refusal for malformed chunks."""
        return self.body.take(self.buffer)

    def _check_begun(self) -> None:
        """Refuse a head that cannot become a valid one; each byte is looked at once."""
        buffer = self.buffer
        if buffer and (not b"A" <= buffer[:1] <= b"Z" or _BROKEN.search(buffer, self._searched)):
            raise malformed("This is not HTTP/1.1, or its lines do not end with CR and LF.")
        self._searched = max(0, len(buffer) - 3)

    def _too_long(self) -> Refusal:
        line = self.buffer.find(b"\r\n", 0, self._limits.target_bytes + 32)
        if line < 0:
            return target_too_long(self._limits)
        return headers_too_large(f"The head of the request is longer than {self._limits.header_bytes} bytes.")


class LengthBody:
    """A body whose length is known."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    @property
    def ended(self) -> bool:
        """Whether all of it was taken."""
        return not self.left

    def take(self, buffer: bytearray) -> bytes:
        """Cut from ``buffer`` what belongs to the body."""
        piece = bytes(buffer) if len(buffer) <= self.left else bytes(buffer[: self.left])
        del buffer[: len(piece)]
        self.left -= len(piece)
        return piece


class ChunkedBody:
    """A chunked body without extensions and trailers, in which readers differ and which no client of ours sends."""

    __slots__ = ("_content", "_framing", "_left", "ended")

    def __init__(self, buffer: bytearray) -> None:
        """``buffer`` holds what follows the head, and is given the line break that the first size line lacks."""
        buffer[:0] = b"\r\n"
        self.ended = False
        self._left = 0  # of the chunk begun
        self._content = 0
        self._framing = 0

    def take(self, buffer: bytearray) -> bytes:
        """Cut from ``buffer`` what belongs to the body, and return the content. Raises Refusal."""
        pieces: list[bytes | bytearray] = []
        position = 0
        while not self.ended and position < len(buffer):
            if self._left:
                piece = buffer[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                self._content += len(piece)
            elif (line := _SIZE.match(buffer, position)) is not None:
                position = line.end()
                self._open(line[1], len(line[0]))
            elif _SIZE_BEGUN.fullmatch(buffer, position):
                break
            else:
                raise malformed("The chunks of the body are malformed, or have extensions or trailers.")
        del buffer[:position]
        return b"".join(pieces)

    def _open(self, size: bytes | None, framing: int) -> None:
        """Begin a chunk; the last one has no size. More framing than content is an attack, not a stream."""
        self._framing += framing
        if self._framing > self._content + _FREE_FRAMING:
            raise malformed("The body is split into too many small chunks.")
        self.ended = size is None
        self._left = int(size or b"0", 16)


Body = LengthBody | ChunkedBody
