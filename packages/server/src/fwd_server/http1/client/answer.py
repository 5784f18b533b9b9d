"""One HTTP/1.1 answer, from bytes to head and body: strict about framing, and without any IO.

The head must match one regular expression as a whole; whatever two readers could understand in two ways is
refused rather than repaired (RFC 9112, 6.3 and 11). Bodies with a length are counted, chunked ones go through
llhttp, which sees a head of our own: the real one has been judged already, and llhttp is more lenient there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import httptools
from attrs import frozen

from fwd_server.http1.client.values import Limits, TransportError

_HEAD = re.compile(
    rb"HTTP/1\.[01] [1-5][0-9]{2}(?: [\t -~\x80-\xff]*)?\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*\r\n"
)
# A final status whose answer has a body. What else a head may say is as in _HEAD.
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 (?!204|304)[2-5][0-9]{2}(?: [\t -~\x80-\xff]*)?\r\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*\r\n"
)
_UNUSUAL = frozenset(("transfer-encoding", "content-encoding"))
_BARE_LF = re.compile(rb"(?<!\r)\n")
_LENGTH = re.compile(r"[0-9]{1,15}")
_KEEP_ALIVE = re.compile(r"timeout=([0-9]{1,6})", re.IGNORECASE)
_START = b"HTTP/1."
_CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNK_SIZE = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,6})\r\n")  # of a chunk with content and without extensions
_LAST_CHUNK = b"0\r\n\r\n"
_MAX_FRAMING = 16 * 1024  # bytes of chunk extensions or trailers without a byte of body


@frozen
class Head:
    """Status line and headers: lower-case names, repeated ones joined by ", "."""

    minor: int
    status: int
    headers: Mapping[str, str]

    @property
    def keeps_alive(self) -> bool:
        """Whether the upstream means to answer again on this connection; HTTP/1.0 is never trusted to."""
        connection = self.headers.get("connection")
        if connection is None:  # as HTTP/1.1 means it, and most servers write it
            return self.minor == 1
        return self.minor == 1 and "close" not in [token.strip() for token in connection.lower().split(",")]

    @property
    def keepalive_limit_s(self) -> float:
        """How long an idle connection is welcome: a second less than `Keep-Alive: timeout` says, if it does."""
        value = self.headers.get("keep-alive")
        hint = None if value is None else _KEEP_ALIVE.search(value)
        return math.inf if hint is None else int(hint[1]) - 1.0


def parse_head(raw: bytes, limits: Limits) -> Head:
    """Return the head in `raw`, which ends with the first empty line; raises TransportError `bad_response`."""
    if _HEAD.fullmatch(raw) is None:
        raise _bad(f"the head of the answer is malformed: {raw[:40]!r}")
    lines = raw.decode("latin-1").split("\r\n")[1:-2]
    if len(lines) > limits.header_lines:
        raise _bad(f"the answer has {len(lines)} header lines; {limits.header_lines} are allowed")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(raw[7] - 48, int(raw[9:12]), headers)


def read_plain(data: bytes, limits: Limits) -> tuple[Head, bytes] | None:
    """The head and the body of an answer that came whole and is plainly good; None leaves it to the exact reader.

    Most answers that are not streamed come in one piece: a head without anything unusual, and as many bytes as its
    Content-Length says. Headers that decide how a body ends or is encoded, repeated headers and all limits are left to
    ``Answer``, which alone refuses (docs/adr/0005-two-speeds-one-meaning.md).
    """
    end = data.find(b"\r\n\r\n") + 4
    if not 4 <= end <= limits.head or _PLAIN_HEAD.fullmatch(data, 0, end) is None:
        return None
    lines = data[: end - 4].decode("latin-1").split("\r\n")
    if len(lines) > limits.header_lines:
        return None
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")
    if len(headers) != len(lines) - 1 or not _UNUSUAL.isdisjoint(headers):
        return None
    length = headers.get("content-length", "")
    if _LENGTH.fullmatch(length) is None or len(data) - end != int(length) or len(data) - end > limits.body:
        return None
    return Head(1, int(data[9:12]), headers), data[end:]


class Answer:
    """The answer to one request, fed with bytes as they come.

    After each `feed`, look at `head` (None until the final head is in), `ended` and `error`.
    """

    __slots__ = (
        "_asked",
        "_body",
        "_buffer",
        "_informational",
        "_limits",
        "_method",
        "_received",
        "ended",
        "error",
        "head",
        "started",
    )

    def __init__(self, method: str, limits: Limits, asked: frozenset[str] = frozenset()) -> None:
        """`asked` holds the content codings the request allowed; any other is refused."""
        self.head: Head | None = None
        self.started = False
        self.ended = False
        self.error: TransportError | None = None
        self._method = method
        self._limits = limits
        self._asked = asked
        self._buffer: bytearray | None = None  # of a head that comes in pieces
        self._informational = 0
        self._received = 0
        self._body: _LengthBody | _ChunkedBody | _UntilClose | None = None

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another exchange: the answer ended, and nothing came after it."""
        head, body = self.head, self._body
        return self.ended and head is not None and body is not None and head.keeps_alive and body.clean

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the connection and return those of the body among them."""
        if not self.started:
            self.started = True
            plain = None if self._method == "HEAD" else read_plain(data, self._limits)
            if plain is not None:
                self.head, self.ended, self._body = plain[0], True, _LengthBody(0)
                return plain[1]
        try:
            if self._body is None:
                data = self._feed_head(data)
            return self._feed_body(self._body, data) if self._body is not None else b""
        except TransportError as error:
            self.error = error
            return b""

    def eof(self) -> None:
        """Note that the upstream closed: the true end of a body without a length, a cut of any other."""
        if self.head is None:
            self.error = TransportError("upstream_reset", "the upstream closed the connection before it answered")
        elif isinstance(self._body, _UntilClose):
            self.ended = True
        elif not self.ended:
            self.error = TransportError("upstream_truncated", "the upstream closed the connection inside its answer")

    def _feed_head(self, data: bytes) -> bytes:
        """Return what follows the final head, once it is in; informational heads are dropped on the way."""
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = bytearray()
        while (raw := self._cut_head(buffer, data)) is not None:
            data = bytes(buffer[len(raw) :])
            buffer.clear()
            head = parse_head(raw, self._limits)
            if head.status >= 200:
                self._body = self._open_body(head)
                self.head = head
                return data
            self._count_informational(head)
        return b""

    def _cut_head(self, buffer: bytearray, data: bytes) -> bytes | None:
        """Append `data` to the buffer and return the head in it, or None; each byte is searched only once."""
        seen = len(buffer)
        buffer += data
        end = buffer.find(b"\r\n\r\n", max(0, seen - 3)) + 4
        # Also while no end has come: a head that never ends must not fill the memory (F29).
        if max(end, len(buffer) if end < 4 else 0) > self._limits.head:
            raise _bad(f"the head of the answer is longer than {self._limits.head} bytes")
        if end >= 4:
            return bytes(buffer[:end])
        if not _START.startswith(buffer[:7]) or _BARE_LF.search(buffer, seen):
            raise _bad(f"the answer is not HTTP/1.1: {bytes(buffer[:40])!r}")
        return None

    def _count_informational(self, head: Head) -> None:
        self._informational += 1
        # 101 would change the protocol. An informational answer has no body (RFC 9110, 15.2), so one that announces a
        # body leaves open where the real answer begins.
        if head.status == 101 or not head.headers.keys().isdisjoint({"content-length", "transfer-encoding"}):
            raise _bad(f"an informational answer {head.status} that was not asked for or has a body")
        if self._informational > self._limits.informational_answers:
            raise _bad(f"more than {self._limits.informational_answers} informational answers")

    def _open_body(self, head: Head) -> _LengthBody | _ChunkedBody | _UntilClose:
        """Return how the body ends (RFC 9112, 6.3), refusing what could end in two ways."""
        coding, length = head.headers.get("transfer-encoding"), _parse_length(head)
        if coding is not None and (coding.lower() != "chunked" or head.minor == 0 or length is not None):
            raise _bad(f"the transfer coding {coding[:40]!r} does not fit the rest of the head")
        if self._method == "HEAD" or head.status in (204, 304):
            return _LengthBody(0)
        self._check_encoding(head.headers.get("content-encoding", ""))
        if coding is not None:
            return _ChunkedBody()
        if length is None:
            return _UntilClose()
        self._check_size(length)
        return _LengthBody(length)

    def _check_encoding(self, coding: str) -> None:
        """Refuse a coding that the request did not allow; a list without entries is none (RFC 9110, 8.4)."""
        if coding.strip(" \t,").lower() not in {"", "identity", *self._asked}:
            raise TransportError("bad_encoding", f"the answer is encoded as {coding[:40]!r}, unasked")

    def _check_size(self, size: int) -> None:
        if size > self._limits.body:
            raise TransportError("too_large", f"the answer is larger than {self._limits.body} bytes")

    def _feed_body(self, body: _LengthBody | _ChunkedBody | _UntilClose, data: bytes) -> bytes:
        self._received += len(data)
        if self._received > self._limits.body:
            self._check_size(self._received)
        piece = body.feed(data) if data else b""
        self.ended, self.error = body.ended, body.error
        return piece


class _LengthBody:
    """A body whose length is known, none included."""

    __slots__ = ("_left", "clean")
    error: TransportError | None = None

    def __init__(self, length: int) -> None:
        self._left = length
        self.clean = True

    @property
    def ended(self) -> bool:
        return not self._left

    def feed(self, data: bytes) -> bytes:
        if len(data) > self._left:
            self.clean = False
            data = data[: self._left]
        self._left -= len(data)
        return data


class _UntilClose:
    """A body that ends with the connection."""

    ended = False
    clean = False
    error: TransportError | None = None

    def feed(self, data: bytes) -> bytes:
        return data


class _ChunkedBody:
    """A chunked body; extensions and trailers are read and dropped.

    A piece that is exactly one chunk, as an event of a stream usually comes, is taken without llhttp, which waits for
    the size of a chunk before it as after it (docs/adr/0005-two-speeds-one-meaning.md).
    """

    __slots__ = ("_events", "_framing", "_parser", "_tail", "clean", "ended", "error")

    def __init__(self) -> None:
        self._events = _ParserEvents()
        self._parser = httptools.HttpResponseParser(self._events)
        # llhttp cannot begin inside a body, so it gets a fixed head; the real one is read by `parse_head`.
        self._parser.feed_data(_CHUNKED_HEAD)
        self._framing = 0
        self._tail = b""
        self.clean = False
        self.ended = False
        self.error: TransportError | None = None

    def feed(self, data: bytes) -> bytes:
        events = self._events
        if events.between and data.endswith(b"\r\n") and (size := _CHUNK_SIZE.match(data)) is not None:
            start = size.end()
            if len(data) - start - 2 == int(size[1], 16):
                self._framing = 0
                # Kept on the fast way as well, because the end of the body is judged by the last bytes.
                self._tail = data[-5:]
                return data[start:-2]
        failed = self._parse(data)
        self._tail = (self._tail + data[-5:])[-5:]
        # llhttp skips empty lines after the end in silence, hence the look at the last bytes.
        self.clean = events.messages == 1 and not failed and self._tail == _LAST_CHUNK
        self.ended = events.complete
        # Nothing of the next chunk's size has come: a whole size line would have been told, and no size ends so.
        events.between = events.between and not failed and not self.ended and data.endswith(b"\r\n")
        piece = events.take()
        self._framing = 0 if piece else self._framing + len(data)
        if not self.ended and (failed or self._framing > _MAX_FRAMING):
            self.error = _bad("the chunks of the answer are malformed")
        return piece

    def _parse(self, data: bytes) -> bool:
        """Return whether llhttp gave up on `data`, which after the end of the body is not our concern."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            return True
        return False


class _ParserEvents:
    """What llhttp calls while it reads chunks; apart from `_ChunkedBody`, so that no reference cycle forms.

    `between` says that the last thing llhttp told of is the end of a chunk, or of the head.
    """

    __slots__ = ("_pieces", "between", "complete", "messages")

    def __init__(self) -> None:
        self.messages = 0
        self.complete = False
        self.between = True
        self._pieces: list[bytes] = []

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_body(self, piece: bytes) -> None:
        # To llhttp, bytes after the end begin a second message; here they only make the connection unusable.
        if not self.complete:
            self._pieces.append(piece)

    def on_chunk_header(self) -> None:
        self.between = False

    def on_chunk_complete(self) -> None:
        self.between = True

    def on_message_complete(self) -> None:
        self.complete = True

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _parse_length(head: Head) -> int | None:
    """Return the Content-Length; a repeated equal number counts once (RFC 9110, 8.6)."""
    value = head.headers.get("content-length")
    if value is None:
        return None
    numbers = {number.strip(" \t") for number in value.split(",")}
    if len(numbers) != 1 or _LENGTH.fullmatch(number := numbers.pop()) is None:
        raise _bad(f"the content length {value[:40]!r} is not one number")
    return int(number)


def _bad(message: str) -> TransportError:
    return TransportError("bad_response", message)
