"""The head of a request to an upstream, as bytes: checked once, used for many requests."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from fwd_server.http1.client.origin_pool import OriginPool
from fwd_server.http1.client.values import Origin

Headers = Sequence[tuple[bytes, bytes]]

_REQUEST_HEAD = re.compile(rb"[A-Z]+ /[!-~]* HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n)*")
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n")
_OURS = frozenset((b"host", b"connection", b"content-length", b"transfer-encoding", b"upgrade", b"expect", b"te"))
_NOT_EXTRA = _OURS | {b"accept-encoding"}  # which codings are allowed is settled when the target is prepared
_BODY_METHODS = frozenset(("POST", "PUT", "PATCH"))


class PreparedTarget:
    """The part of a request that does not change: where it goes, and its head up to the length of the body.

    `codings` are the content codings it allows the answer. Of one pool: `lane` holds its connections.
    """

    __slots__ = ("_start", "codings", "lane", "method", "origin")

    def __init__(self, origin: Origin, method: str, start: bytes, codings: frozenset[str], lane: OriginPool) -> None:
        self.origin = origin
        self.method = method
        self.codings = codings
        self.lane = lane
        self._start = start  # it holds the key of the upstream: not for messages

    def encode_head(self, length: int, extra: Headers = ()) -> bytes:
        """Return the head of a request with a body of this length, and headers of its own.

        Raises ValueError for an extra header that would read as anything but one header, or that is not the caller's.
        """
        start = self._start
        if extra:
            start += b"".join([encode_header(name, value) for name, value in extra])
        if length or self.method in _BODY_METHODS:
            return b"%bcontent-length: %d\r\n\r\n" % (start, length)
        return start + b"\r\n"


def encode_header(name: bytes, value: bytes) -> bytes:
    """Return a header line; raises ValueError for what is not one, or is not the caller's to set (contract T18)."""
    line = b"%b: %b\r\n" % (name, value)
    if _HEADER.fullmatch(line) is None or name.lower() in _NOT_EXTRA:
        raise ValueError("an extra header contains invalid characters, or is one that the gateway sets itself")
    return line


@functools.lru_cache(maxsize=256)
def encode_start(
    origin: Origin, method: str, target: str, headers: tuple[tuple[bytes, bytes], ...]
) -> tuple[bytes, frozenset[str]]:
    """Return the head of a request up to its length, and the content codings it allows the answer.

    Raises ValueError when it would read as anything but this one request, or names a header that is the pool's.
    """
    names = {name.lower() for name, _ in headers}
    if not names.isdisjoint(_OURS):
        raise ValueError(f"the pool sets these headers itself: {sorted(names & _OURS)}")
    asked = b"accept-encoding" in names
    lines = [f"{method} {target} HTTP/1.1\r\nHost: {origin.host_header}".encode("ascii")]
    lines += [b"%b: %b" % header for header in headers]
    if not asked:
        lines.append(b"accept-encoding: identity")
    start = b"\r\n".join(lines) + b"\r\n"
    # A line break smuggled into a value would match as one more header: hence the count.
    if _REQUEST_HEAD.fullmatch(start) is None or start.count(b"\r\n") != len(lines) + 1:
        raise ValueError("a method, target or header contains invalid characters")
    return start, _codings(headers) if asked else frozenset()


def _codings(headers: Headers) -> frozenset[str]:
    """Return what the request's Accept-Encoding allows: tokens, their weights cut off."""
    values = ",".join(value.decode("latin-1") for name, value in headers if name.lower() == b"accept-encoding")
    return frozenset(token.partition(";")[0].strip().lower() for token in values.split(","))
