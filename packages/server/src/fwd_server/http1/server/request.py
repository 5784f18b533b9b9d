"""The head of an HTTP/1.1 request, read exactly: strict about framing, and without any IO.

The head must match one regular expression as a whole. Whatever two readers could understand in two ways is refused
rather than repaired (RFC 9112, 11.2; contract T1): only CRLF, no folding, one Host, a length or chunks but never both,
only targets that begin with a slash. That leaves a regular language, so llhttp is not needed here: it takes more than
we do, cannot say where a body ended, and costs more (docs/adr/0004-http-engine.md). The tests compare with it and with
h11.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final

from tornado.httputil import HTTPHeaders, RequestStartLine

from fwd_server.http1.server.limits import Refusal, ServerLimits, headers_too_large, malformed, target_too_long

# Every step is decided by its next byte, so the expression never backtracks (contract T38).
_HEAD: Final = re.compile(
    rb"([A-Z]{1,20}) (/[!\"$-~]*) (HTTP/1\.[01])\r\n"  # every visible character but "#"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*)\r\n"
)
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
LENGTH: Final = re.compile(r"[0-9]{1,15}")
HEADER_LINE: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*")
_lower = functools.lru_cache(maxsize=1000)(str.lower)  # clients use the same few names again and again
_BODY_METHODS: Final = frozenset(("POST", "PUT", "PATCH"))


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
        "plain",
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
        self.plain = version == "HTTP/1.1" and method != "HEAD"  # whether an answer needs no second look
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
        """The same head with another Content-Length, and the same memo."""
        head = self.with_headers({"content-length": digits}, self._lines, int(digits))
        head.memo = self.memo
        return head

    def with_headers(self, changed: dict[str, str], lines: list[str], length: int | None) -> Head:
        """A head with other values of some headers, none of which decides anything but the length."""
        # Without __init__, which would split the target again.
        head = Head.__new__(Head)
        head.method = self.method
        head.target = self.target
        head.path = self.path
        head.query = self.query
        head.version = self.version
        head.headers = {**self.headers, **changed}
        head.length = length
        head.keeps_alive = self.keeps_alive
        head.expects = self.expects
        head.plain = self.plain
        head.memo = HeadMemo()
        head._lines = lines
        return head


def parse_head(raw: bytes, limits: ServerLimits) -> Head:
    """The head in ``raw``, which ends with the first empty line. Raises Refusal."""
    match = _HEAD.fullmatch(raw)
    if match is None:
        raise malformed("The head of the request is not valid HTTP/1.1, or its target does not begin with a slash.")
    method, target, version, block = match[1].decode(), match[2].decode(), match[3].decode(), match[4]
    if len(target) > limits.target_bytes:
        raise target_too_long(limits)
    if method == "CONNECT":
        raise Refusal(405, "method_not_allowed", "This is not a proxy: CONNECT is not allowed.")
    lines = block.decode("latin-1").split("\r\n")
    lines.pop()
    if len(lines) > limits.header_lines:
        raise headers_too_large(f"The request has {len(lines)} header lines; {limits.header_lines} are allowed.")
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
        name, value = _lower(name), value.strip(" \t")
        if name in headers:
            repeated.add(name)
            # Joined as a list (RFC 9110, 5.3). Headers that must stand alone are refused by `repeated` below.
            value = f"{headers[name]},{value}"
        headers[name] = value
    return repeated


def _check_host(head: Head, repeated: set[str]) -> None:
    """Exactly one valid Host; only HTTP/1.0 may come without (RFC 9112, 3.2)."""
    host = head.headers.get("host")
    if host is None and head.version == "HTTP/1.0":
        return
    match = None if host is None or "host" in repeated else _HOST.fullmatch(host)
    if match is None or int(match[1] or 0) > 65_535:
        raise Refusal(400, "host_not_allowed", "The request needs exactly one valid Host header.")


def _parse_length(head: Head, repeated: set[str]) -> int | None:
    """How long the body is, None for chunks (RFC 9112, 6.3)."""
    length, coding = head.headers.get("content-length"), head.headers.get("transfer-encoding")
    if coding is not None:
        # Two framings are how requests are smuggled: one server of a chain believes the first, another the second
        # (contract T1).
        if length is not None or head.version == "HTTP/1.0" or "transfer-encoding" in repeated:
            raise malformed("Transfer-Encoding is allowed once, in HTTP/1.1 and without Content-Length.")
        if coding.lower() != "chunked":
            raise Refusal(501, "transfer_coding_not_implemented", "The only transfer coding is chunked.")
        return None
    if length is None:
        if head.method in _BODY_METHODS:
            raise Refusal(411, "length_required", f"A {head.method} request needs a Content-Length, even if it is 0.")
        return 0
    if "content-length" in repeated or LENGTH.fullmatch(length) is None:
        raise malformed("The Content-Length is not one number of at most 15 digits.")
    return int(length)


def _parse_expect(head: Head) -> bool:
    """Whether the client waits to be asked for its body; HTTP/1.0 cannot (RFC 9110, 10.1.1)."""
    expectation = head.headers.get("expect")
    if expectation is None or head.version == "HTTP/1.0":
        return False
    if expectation.lower() != "100-continue":
        raise Refusal(417, "expectation_failed", "The only supported expectation is 100-continue.")
    return True
