"""HTTP/1.1 requests, from bytes to heads and bodies: strict about framing, and without any IO.

The head must match one regular expression as a whole, and a chunked body one line at a time. Whatever two readers
could understand in two ways is refused rather than repaired (RFC 9112, 11.2; contract T1): only CRLF, no folding,
one Host, a length or chunks but never both, no chunk extensions, no trailers, only targets that begin with a slash.
That leaves a regular language, so llhttp, which the way back uses for chunks, is not needed here: it takes more
than we do, cannot say where a body ended, and costs more (docs/adr/0004-http-engine.md). It and h11 are what the
tests compare with.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tornado.httputil import HTTPHeaders, RequestStartLine

from fwd_server.http1.server.limits import Refusal, ServerLimits, malformed

_HEAD: Final = re.compile(
    rb"([A-Z]{1,20}) (/[!\"$-~]*) (HTTP/1\.[01])\r\n"  # every visible character but "#"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*)\r\n"
)
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_LENGTH_LINE: Final = re.compile(rb"\r\ncontent-length:[\t ]*([0-9]{1,15})\r\n", re.IGNORECASE)
# Seen early, so that a client of another protocol is not kept waiting: a line that ends in one character, and NUL.
_BROKEN: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\x00")
# Every size line, the first one apart, follows the line break that ends a chunk; so the first is given one too.
_SIZE: Final = re.compile(rb"\r\n(?:0\r\n\r\n|([1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n)")
_SIZE_BEGUN: Final = re.compile(rb"(?:\r(?:\n(?:0(?:\r(?:\n\r?)?)?|[1-9A-Fa-f][0-9A-Fa-f]{0,7}\r?)?)?)?")
_BODY_METHODS: Final = frozenset(("POST", "PUT", "PATCH"))
_MEMO_BYTES: Final = 4 << 10  # a longer head is not remembered: idle connections are many
_FREE_FRAMING: Final = 16 << 10  # bytes of chunk sizes that need no bytes of body to go with them


class Headers(HTTPHeaders):
    """Tornado's, with a ``get`` that looks once: a call is asked for two dozen, most of which it does not have."""

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header, or ``default``."""
        return self[name] if name in self else default  # noqa: SIM401 (this is what `get` is)


class HeadMemo:
    """What the layer above remembers of a head, for as long as its connection sends the same head again.

    ``value`` is None at first. The same bytes but for the digits of Content-Length give the same memo, so nothing that
    depends on the length, the time or other connections belongs here unless it is checked anew with each request.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Any = None


class Head:
    """A request up to its empty line.

    ``headers`` has lower-case names, and repeated ones joined by "," as Tornado joins them. It must not be changed,
    because the heads of one connection may share it. ``length`` is that of the body, None where it comes in chunks.
    ``path`` is the target up to "?", ``query`` what follows. ``expects``: whether the client waits for "100 Continue".
    """

    __slots__ = (
        "_lines",
        "expects",
        "headers",
        "keeps_alive",
        "length",
        "memo",
        "method",
        "path",
        "query",
        "target",
        "version",
    )

    def __init__(self, method: str, target: str, version: str, headers: dict[str, str], lines: list[str]) -> None:
        """``lines`` are those of the headers, of which ``tornado_headers`` are made."""
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.version = version
        self.headers = headers
        self.length: int | None = 0
        self.keeps_alive = False
        self.expects = False
        self.memo = HeadMemo()
        self._lines = lines

    @property
    def start(self) -> RequestStartLine:
        """The first line as Tornado's delegates want it."""
        return RequestStartLine(self.method, self.target, self.version)

    def tornado_headers(self) -> HTTPHeaders:
        """The headers as Tornado's delegates want them, made anew with each call."""
        headers, lines = Headers(), self._lines
        for line in lines:
            name, _, value = line.partition(":")
            headers[name] = value.strip(" \t")
        if len(headers) != len(lines):
            headers = Headers()  # some name is there twice, which needs the slower way
            for line in lines:
                name, _, value = line.partition(":")
                headers.add(name, value.strip(" \t"))
        if "content-length" in self.headers:
            headers["Content-Length"] = self.headers["content-length"]  # the lines may be those of an earlier head
        return headers

    def with_length(self, digits: str) -> Head:
        """The same head with another Content-Length."""
        head = Head.__new__(Head)
        head.method = self.method
        head.target = self.target
        head.path = self.path
        head.query = self.query
        head.version = self.version
        head.headers = {**self.headers, "content-length": digits}
        head.length = int(digits)
        head.keeps_alive = self.keeps_alive
        head.expects = self.expects
        head.memo = self.memo
        head._lines = self._lines
        return head


def parse_head(raw: bytes, limits: ServerLimits) -> Head:
    """The head in ``raw``, which ends with the first empty line. Raises Refusal."""
    found = _HEAD.fullmatch(raw)
    if found is None:
        raise malformed("The head of the request is not valid HTTP/1.1, or its target does not begin with a slash.")
    method, target, version, block = found[1].decode(), found[2].decode(), found[3].decode(), found[4]
    if len(target) > limits.target_bytes:
        raise _target_too_long(limits)
    if method == "CONNECT":
        raise Refusal(405, "method_not_allowed", "This is not a proxy: CONNECT is not allowed.")
    lines = block.decode("latin-1").split("\r\n")
    lines.pop()
    if len(lines) > limits.header_lines:
        raise _headers_too_large(f"The request has {len(lines)} header lines; {limits.header_lines} are allowed.")
    head = Head(method, target, version, {}, lines)
    repeated = _add_headers(head.headers, lines)
    _check_host(head, repeated)
    tokens = [token.strip(" \t") for token in head.headers.get("connection", "").lower().split(",")]
    head.keeps_alive = "close" not in tokens and (version == "HTTP/1.1" or "keep-alive" in tokens)
    head.length = _parse_length(head, repeated)
    head.expects = _parse_expect(head)
    return head


def _add_headers(headers: dict[str, str], lines: list[str]) -> set[str]:
    """Add the header lines to ``headers``, and return which names are there more than once."""
    repeated = set()
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name in headers:
            repeated.add(name)
            value = f"{headers[name]},{value}"
        headers[name] = value
    return repeated


def _check_host(head: Head, repeated: set[str]) -> None:
    """Exactly one valid Host; only HTTP/1.0 may come without (RFC 9112, 3.2)."""
    host = head.headers.get("host")
    if host is None and head.version == "HTTP/1.0":
        return
    found = None if host is None or "host" in repeated else _HOST.fullmatch(host)
    if found is None or int(found[1] or 0) > 65_535:
        raise Refusal(400, "host_not_allowed", "The request needs exactly one valid Host header.")


def _parse_length(head: Head, repeated: set[str]) -> int | None:
    """How long the body is, None for chunks (RFC 9112, 6.3)."""
    length, coding = head.headers.get("content-length"), head.headers.get("transfer-encoding")
    if coding is not None:
        if length is not None or head.version == "HTTP/1.0" or "transfer-encoding" in repeated:
            raise malformed("Transfer-Encoding is allowed once, in HTTP/1.1 and without Content-Length.")
        if coding.lower() != "chunked":
            raise Refusal(501, "transfer_coding_not_implemented", "The only transfer coding is chunked.")
        return None
    if length is None:
        if head.method in _BODY_METHODS:
            raise Refusal(411, "length_required", f"A {head.method} needs a Content-Length, also when it is 0.")
        return 0
    if "content-length" in repeated or _LENGTH.fullmatch(length) is None:
        raise malformed("The Content-Length is not one number of at most 15 digits.")
    return int(length)


def _parse_expect(head: Head) -> bool:
    """Whether the client waits to be asked for its body; HTTP/1.0 cannot (RFC 9110, 10.1.1)."""
    expectation = head.headers.get("expect")
    if expectation is None or head.version == "HTTP/1.0":
        return False
    if expectation.lower() != "100-continue":
        raise Refusal(417, "expectation_failed", "The only expectation that can be met is 100-continue.")
    return True


class RememberedHead:
    """The last head of a connection: its bytes with the digits of Content-Length cut out, and what they mean.

    An SDK sends the same head again and again but for the length. To compare the bytes takes a tenth of the time of
    reading them, and can only decide that they mean what they meant before: whatever differs is read anew
    (docs/adr/0005-head-memo-and-fast-readers.md).
    """

    __slots__ = ("_head", "_prefix", "_size", "_suffix")

    def __init__(self, raw: bytes, head: Head) -> None:
        """``raw`` was read as ``head``."""
        self._head = head
        found = None if head.length is None else _LENGTH_LINE.search(raw)
        if found is None:
            self._prefix, self._suffix = raw, b""
        else:
            self._prefix, self._suffix = raw[: found.start(1)], raw[found.end(1) :]
        self._size = len(raw)

    def match(self, buffer: bytes | bytearray, limit: int) -> tuple[Head, int] | None:
        """The head at the beginning of ``buffer`` and where it ends, if it is the same but for its length.

        A length of more than 15 digits, and a head of more than ``limit`` bytes, are left to the exact reader.
        """
        prefix, suffix = self._prefix, self._suffix
        if not buffer.startswith(prefix):
            return None
        start = len(prefix)
        if not suffix:
            return self._head, start
        end = buffer.find(b"\r", start, start + 16)
        if end < 0 or not buffer.startswith(suffix, end) or end + len(suffix) > limit:
            return None
        digits = buffer[start:end]
        return (self._head.with_length(digits.decode()), end + len(suffix)) if digits.isdigit() else None


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
        raw = bytes(buffer[:end])
        head = parse_head(raw, self._limits)
        self._remembered = RememberedHead(raw, head) if end <= _MEMO_BYTES else None
        return self._open_body(head, end)

    def _open_body(self, head: Head, end: int) -> Head:
        """Part from the bytes of a head, and prepare for its body."""
        buffer = self.buffer
        del buffer[:end]
        self._searched = 0
        self.body = ChunkedBody(buffer) if head.length is None else LengthBody(head.length)
        return head

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
            return _target_too_long(self._limits)
        return _headers_too_large(f"The head of the request is longer than {self._limits.header_bytes} bytes.")


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
            raise malformed("The body comes in too many too small chunks.")
        self.ended = size is None
        self._left = int(size or b"0", 16)


Body = LengthBody | ChunkedBody


def _target_too_long(limits: ServerLimits) -> Refusal:
    return Refusal(414, "target_too_long", f"The target of the request is longer than {limits.target_bytes} bytes.")


def _headers_too_large(message: str) -> Refusal:
    return Refusal(431, "headers_too_large", message)
