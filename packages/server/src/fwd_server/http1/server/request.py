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

from attrs import frozen
from tornado.httputil import HTTPHeaders, RequestStartLine

from fwd_server.http1.server.limits import Refusal, ServerLimits, malformed

_HEAD: Final = re.compile(
    rb"([A-Z]{1,20}) (/[!\"$-~]*) (HTTP/1\.[01])\r\n"  # every visible character but "#"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*)\r\n"
)
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
# Seen early, so that a client of another protocol is not kept waiting: a line that ends in one character, and NUL.
_BROKEN: Final = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\x00")
# Every size line, the first one apart, follows the line break that ends a chunk; so the first is given one too.
_SIZE: Final = re.compile(rb"\r\n(?:0\r\n\r\n|([1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n)")
_SIZE_BEGUN: Final = re.compile(rb"(?:\r(?:\n(?:0(?:\r(?:\n\r?)?)?|[1-9A-Fa-f][0-9A-Fa-f]{0,7}\r?)?)?)?")
_BODY_METHODS: Final = frozenset(("POST", "PUT", "PATCH"))
_FREE_FRAMING: Final = 16 << 10  # bytes of chunk sizes that need no bytes of body to go with them


class Headers(HTTPHeaders):
    """Tornado's, with a ``get`` that looks once: a call is asked for two dozen, most of which it does not have."""

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header, or ``default``."""
        return self[name] if name in self else default  # noqa: SIM401 (this is what `get` is)


@frozen
class Head:
    """A request up to its empty line; ``length`` is that of the body, None where it comes in chunks."""

    start: RequestStartLine
    headers: HTTPHeaders
    length: int | None
    keeps_alive: bool
    expects: bool  # whether the client waits for "100 Continue"


def parse_head(raw: bytes, limits: ServerLimits) -> Head:
    """The head in ``raw``, which ends with the first empty line. Raises Refusal."""
    found = _HEAD.fullmatch(raw)
    if found is None:
        raise malformed("The head of the request is not valid HTTP/1.1, or its target does not begin with a slash.")
    method, target, version, block = found[1].decode(), found[2], found[3].decode(), found[4]
    if len(target) > limits.target_bytes:
        raise _target_too_long(limits)
    if method == "CONNECT":
        raise Refusal(405, "method_not_allowed", "This is not a proxy: CONNECT is not allowed.")
    headers = _parse_headers(block.decode("latin-1").split("\r\n"), limits)
    _check_host(headers, version)
    tokens = [token.strip(" \t") for token in headers.get("Connection", "").lower().split(",")]
    keeps_alive = "close" not in tokens and (version == "HTTP/1.1" or "keep-alive" in tokens)
    start = RequestStartLine(method, target.decode("ascii"), version)
    return Head(start, headers, _parse_length(start, headers), keeps_alive, _parse_expect(headers, version))


def _parse_headers(lines: list[str], limits: ServerLimits) -> Headers:
    """The header lines, the last of which is empty."""
    count = len(lines) - 1
    if count > limits.header_lines:
        raise _headers_too_large(f"The request has {count} header lines; {limits.header_lines} are allowed.")
    headers = Headers()
    for line in lines[:count]:
        name, _, value = line.partition(":")
        headers[name] = value.strip(" \t")
    if len(headers) == count:
        return headers
    headers = Headers()  # some name is there twice, which needs the slower way
    for line in lines[:count]:
        name, _, value = line.partition(":")
        headers.add(name, value.strip(" \t"))
    return headers


def _check_host(headers: HTTPHeaders, version: str) -> None:
    """Exactly one valid Host; only HTTP/1.0 may come without (RFC 9112, 3.2)."""
    hosts = headers.get_list("Host")
    if not hosts and version == "HTTP/1.0":
        return
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if found is None or int(found[1] or 0) > 65_535:
        raise Refusal(400, "host_not_allowed", "The request needs exactly one valid Host header.")


def _parse_length(start: RequestStartLine, headers: HTTPHeaders) -> int | None:
    """How long the body is, None for chunks (RFC 9112, 6.3)."""
    lengths, codings = headers.get_list("Content-Length"), headers.get_list("Transfer-Encoding")
    if codings:
        _check_coding(codings, start.version, with_length=bool(lengths))
        return None
    if not lengths:
        if start.method in _BODY_METHODS:
            raise Refusal(411, "length_required", f"A {start.method} needs a Content-Length, also when it is 0.")
        return 0
    if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise malformed("The Content-Length is not one number of at most 15 digits.")
    return int(lengths[0])


def _check_coding(codings: list[str], version: str, *, with_length: bool) -> None:
    if with_length or version == "HTTP/1.0" or len(codings) > 1:
        raise malformed("Transfer-Encoding is allowed once, in HTTP/1.1 and without Content-Length.")
    if codings[0].lower() != "chunked":
        raise Refusal(501, "transfer_coding_not_implemented", "The only transfer coding is chunked.")


def _parse_expect(headers: HTTPHeaders, version: str) -> bool:
    """Whether the client waits to be asked for its body; HTTP/1.0 cannot (RFC 9110, 10.1.1)."""
    expectation = headers.get("Expect")
    if expectation is None or version == "HTTP/1.0":
        return False
    if expectation.lower() != "100-continue":
        raise Refusal(417, "expectation_failed", "The only expectation that can be met is 100-continue.")
    return True


class RequestReader:
    """The requests of one connection, cut from its bytes one at a time.

    ``feed`` it, take a head, then ``take`` from that head's body until it has ``ended``, then the next head.
    """

    __slots__ = ("_limits", "_searched", "body", "buffer")

    def __init__(self, limits: ServerLimits) -> None:
        self.buffer = bytearray()  # what has come and is not taken yet
        self.body: Body = LengthBody(0)
        self._limits = limits
        self._searched = 0

    def feed(self, data: bytes | memoryview) -> None:
        """Take the next bytes of the connection."""
        self.buffer += data

    def next_head(self) -> Head | None:
        """The next head, or None until it is all there. Raises Refusal, as soon as it can only become one."""
        buffer = self.buffer
        end = buffer.find(b"\r\n\r\n", self._searched) + 4
        if (end if end >= 4 else len(buffer)) > self._limits.header_bytes:
            raise self._too_long()
        if end < 4:
            self._check_begun()
            return None
        head = parse_head(bytes(buffer[:end]), self._limits)
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
