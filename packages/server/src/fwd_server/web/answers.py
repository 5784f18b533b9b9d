"""Answers as bytes: a head rendered in one go, and the two kinds of connection that can take it.

Our own server takes a head as bytes. Tornado's, which embedders and tests may use, takes it as values.
"""

from __future__ import annotations

import asyncio
import functools
import http
import time
from collections.abc import Iterable
from email.utils import formatdate
from typing import Any, Final, Protocol

from attrs import define
from tornado.httputil import HTTPConnection, HTTPHeaders, ResponseStartLine

# On every answer, whatever it is (contract S29, T24, T36).
SAFE_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
)
_SAFE: Final = "".join(f"{name}: {value}\r\n" for name, value in SAFE_HEADERS)
# A stream must not be kept back by a proxy: nginx asks for this header, caches for the other.
_SAFE_STREAM: Final = _SAFE.replace("no-store", "no-cache, no-store") + "X-Accel-Buffering: no\r\n"


def render_head(
    status: int, content_type: str, request_id: str, headers: Iterable[tuple[str, str]], *, streams: bool = False
) -> bytes:
    """The head of an answer up to its framing, which the connection adds.

    Raises ValueError for a value that would end its line, or is not Latin-1 (contract T18): most values are ours, but
    a head that is split by one of them would be read as two answers.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers]
    text = (
        f"{_start_line(status)}{http_date(int(time.time()))}Content-Type: {content_type}\r\n"
        f"X-Request-Id: {request_id}\r\n{_SAFE_STREAM if streams else _SAFE}{''.join(lines)}"
    )
    # Counting once is cheaper than checking every header, and finds the same.
    breaks = len(lines) + (10 if streams else 9)
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("A response header contains a line break or a NUL.")
    return text.encode("latin-1")


@functools.lru_cache(maxsize=64)
def _start_line(status: int) -> str:
    return f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase if status in _KNOWN else 'Unknown'}\r\n"


_KNOWN: Final = frozenset(int(status) for status in http.HTTPStatus)


# Two entries: the clock's second may change between two answers of the same turn.
@functools.lru_cache(maxsize=2)
def http_date(now: int) -> str:
    """The ``Date`` line of every answer in this second."""
    return f"Date: {formatdate(now, usegmt=True)}\r\n"


class AnswerConnection(Protocol):
    """Where a call writes its answer. Futures are done once the caller has read enough (contract R4)."""

    def send_answer(self, head: bytes, body: bytes) -> asyncio.Future[None]:
        """A whole answer, in one write."""
        ...

    def begin_stream(self, head: bytes, first: bytes = b"") -> asyncio.Future[None]:
        """The head of a stream, and its first bytes in the same write."""
        ...

    def write_chunk(self, data: bytes) -> asyncio.Future[None]:
        """More of a stream."""
        ...

    def end_stream(self, last: bytes = b"") -> None:
        """The last bytes of a stream, and its end."""
        ...

    def close_after_answer(self) -> None:
        """End the connection once this answer is out."""
        ...


@define
class TornadoConnection:
    """A request's connection of Tornado's own server, as ours would be called."""

    _inner: HTTPConnection

    def send_answer(self, head: bytes, body: bytes) -> asyncio.Future[None]:
        """A whole answer."""
        start, headers = _parse_head(head)
        headers["Content-Length"] = str(len(body))
        future = self._inner.write_headers(start, headers, body)
        self._inner.finish()
        return future

    def begin_stream(self, head: bytes, first: bytes = b"") -> asyncio.Future[None]:
        """The head of a stream, which Tornado sends in chunks."""
        return self._inner.write_headers(*_parse_head(head), first or None)

    def write_chunk(self, data: bytes) -> asyncio.Future[None]:
        """More of a stream."""
        return self._inner.write(data)

    def end_stream(self, last: bytes = b"") -> None:
        """The last bytes of a stream, and its end."""
        if last:
            self._inner.write(last)
        self._inner.finish()

    def close_after_answer(self) -> None:
        """Tornado's server has no public way to change its mind about this once the head is out."""
        connection: Any = self._inner
        connection._disconnect_on_finish = True


def _parse_head(head: bytes) -> tuple[ResponseStartLine, HTTPHeaders]:
    first, _, rest = head.decode("latin-1").partition("\r\n")
    version, status, reason = first.split(" ", 2)
    return ResponseStartLine(version, int(status), reason), HTTPHeaders.parse(rest)
