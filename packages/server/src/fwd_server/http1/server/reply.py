"""One request as Tornado's handlers see it: how its answer is framed and written.

A ``Reply`` is cut off from its socket the moment its answer ends or cannot, so that a late write of a handler can
only meet a closed door, never the next answer (S28).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPOutputError,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError

from fwd_server.http1.server.limits import Refusal, ServerLimits
from fwd_server.http1.server.request import Head

_LAST_CHUNK = b"0\r\n\r\n"
_BODILESS = (b"204", b"304")
_STATUS_AT = len(b"HTTP/1.1 ")
NOBODY = HTTPMessageDelegate()


class Carrier(Protocol):
    """The connection, as a reply needs it."""

    context: Any

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Send bytes; the future is done once the client has taken enough of them."""

    def end_answer(self, reply: Reply) -> None:
        """The answer is complete."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer in the reply's place, and end the connection."""

    def abort(self) -> None:
        """Close the socket at once."""

    def mark_authenticated(self) -> None:
        """Count the connection no longer among the strangers of its address."""


class Reply(HTTPConnection):
    """The connection object of one request (``request.connection``)."""

    # A reply is made for every request, and slots are faster and smaller than a dictionary.
    __slots__ = (
        "_carrier",
        "_chunked",
        "_left",
        "_on_close",
        "begun",
        "body_got",
        "body_s",
        "context",
        "delegate",
        "delivered",
        "head",
        "held",
        "keeps_alive",
        "max_body",
        "received",
    )

    def __init__(self, carrier: Carrier, head: Head, limits: ServerLimits) -> None:
        self.context = carrier.context
        self.head = head
        self.max_body = limits.body_bytes
        self.body_s = limits.body_s
        self.keeps_alive = head.keeps_alive
        self.received = head.length == 0  # whether all of the body has come
        self.begun = False  # whether the head of the answer is out
        self.body_got = 0
        self.held = False  # whether the delegate asked for time before it takes more of the body
        self.delivered = False  # whether the delegate was told that the body is complete
        self.delegate: HTTPMessageDelegate = NOBODY
        self._carrier: Carrier | None = carrier
        self._on_close: Callable[[], None] | None = None
        self._chunked = False
        self._left: int | None = None  # bytes of the answer yet to come, where it said how many

    @property
    def over(self) -> bool:
        """Whether nothing can be written any more."""
        return self._carrier is None

    # -- what handlers call

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Have ``callback`` called when the client leaves before the answer is complete."""
        self._on_close = callback

    def set_max_body_size(self, max_body_size: int) -> None:
        """Take a body of this size for this request; to be called before any of it is read."""
        self.max_body = max_body_size

    def set_body_timeout(self, timeout: float) -> None:
        """Seconds this request's body may take, on top of its time at the least rate."""
        self.body_s = timeout

    def close_after_answer(self) -> None:
        """End the connection once this answer is out, though its head may not have said so."""
        self.keeps_alive = False

    def mark_authenticated(self) -> None:
        """Note that the caller has authenticated (contract T2)."""
        if self._carrier is not None:
            self._carrier.mark_authenticated()

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None]:
        """Write the head and the first piece of the body in one go.

        Raises ValueError for a head that is not one, after closing the connection: Tornado counts the head as
        written, so no other answer can take its place.
        """
        carrier = self._carrier
        if carrier is None:
            return closed_write()
        if not isinstance(start_line, ResponseStartLine) or start_line.code < 200:
            # 101 and the other informational answers: a handler for WebSockets would write one.
            return self._refuse_upgrade(carrier)
        self.begun = True
        try:
            self._frame_answer(start_line.code, headers)
            head = encode_head(start_line, headers)
        except ValueError:
            self._abort(carrier)
            raise
        return carrier.write(head + self._frame(carrier, chunk or b""))

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Write a piece of the body. Raises HTTPOutputError for more than the head promised."""
        carrier = self._carrier
        return closed_write() if carrier is None else carrier.write(self._frame(carrier, chunk))

    def finish(self) -> None:
        """End the answer. Raises HTTPOutputError for less than the head promised."""
        carrier = self._carrier
        if carrier is None:
            return
        # On a kept connection the client would take the first bytes of the next answer for the missing ones.
        if self._left or not self.begun:
            self._fail(carrier, f"Tried to write {self._left or 'all its'} bytes less than Content-Length")
        if self._chunked:
            carrier.write(_LAST_CHUNK)
        self._end_answer(carrier)

    # -- what delegates without a RequestHandler call

    def send_answer(self, head: bytes, body: bytes) -> asyncio.Future[None]:
        """Send a whole answer in one write, and end it.

        Args:
            head: status line and headers as they go out, each with its CRLF, without the empty line and without
                Content-Length, Transfer-Encoding and Connection, which are added. Its values must have been checked
                for line breaks where they entered (contract T18).
            body: left out for HEAD and for a status without a body (204, 304).
        """
        carrier = self._open_answer()
        if carrier is None:
            return closed_write()
        if self.keeps_alive and self.head.plain and not head.startswith(_BODILESS, _STATUS_AT):
            # The usual answer of HTTP/1.1 needs no Connection line, and goes out in one write.
            done = carrier.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        else:
            done = carrier.write(self._frame_unusual(head, body))
        self._end_answer(carrier)
        return done

    def begin_stream(self, head: bytes, first: bytes = b"") -> asyncio.Future[None]:
        """Send the head of an answer of unknown length, as for ``send_answer``, with its first piece in one write."""
        carrier = self._open_answer()
        if carrier is None:
            return closed_write()
        framing = b""
        if self.head.method == "HEAD" or head.startswith(_BODILESS, _STATUS_AT):
            self._left = 0
        elif self.head.version == "HTTP/1.1":
            self._chunked, framing = True, b"Transfer-Encoding: chunked\r\n"
        else:
            self.keeps_alive = False  # only the end of the connection can end the body (RFC 9112, 6.3)
        return carrier.write(b"%b%b%b\r\n%b" % (head, framing, self._connection_line(), self._frame_piece(first)))

    def write_chunk(self, data: bytes) -> asyncio.Future[None]:
        """Send a piece of a stream."""
        carrier = self._carrier
        if carrier is None:
            return closed_write()
        if not self.begun:
            self._fail(carrier, "Tried to write to a stream that has not been started")
        return carrier.write(self._frame_piece(data))

    def end_stream(self, last: bytes = b"") -> asyncio.Future[None]:
        """Send the last piece of a stream with the stream's end in one write, and end the answer."""
        carrier = self._carrier
        if carrier is None:
            return closed_write()
        if not self.begun:
            self._fail(carrier, "Tried to end a stream that has not been started")
        done = carrier.write(self._frame_piece(last) + _LAST_CHUNK if self._chunked else self._frame_piece(last))
        self._end_answer(carrier)
        return done

    def detach(self) -> NoReturn:
        """Refused: the socket is never given away. Raises HTTPOutputError, after the client was told."""
        if self._carrier is not None:
            self._refuse_upgrade(self._carrier)
        raise HTTPOutputError("This server keeps its sockets: a connection cannot be detached or upgraded.")

    # -- what the connection calls

    def leave(self) -> None:
        """The client is gone, or is answered by somebody else: cut off, and tell who works for it."""
        self._carrier = None
        callback, self._on_close = self._on_close, None
        # Before the body is complete no handler runs; `part` then tells the delegate instead.
        if self.delivered and callback is not None:
            callback()
        self.part()

    def part(self) -> None:
        """Let go of the delegate, which is told if the rest of the body will not come.

        It holds the request, and that this object: without the cut each of them would wait for the garbage collector.
        """
        delegate, self.delegate = self.delegate, NOBODY
        if not self.delivered:
            self.delivered = True
            delegate.on_connection_close()

    # -- inside

    def _open_answer(self) -> Carrier | None:
        """The carrier, None once nothing can be written; settle whether the connection goes on after this answer."""
        carrier = self._carrier
        if carrier is not None:
            if self.begun:
                self._fail(carrier, "Tried to answer twice")
            self.begun = True
            # The rest of this request's body would be read as the next request.
            if not self.received:
                self.keeps_alive = False
        return carrier

    def _end_answer(self, carrier: Carrier) -> None:
        self._carrier = self._on_close = None
        carrier.end_answer(self)

    def _frame_unusual(self, head: bytes, body: bytes) -> bytes:
        """A whole answer to what is not plain: no body for HEAD, nor a length for 204, and a word on the connection."""
        bodiless = head.startswith(_BODILESS, _STATUS_AT)
        framing = b"" if bodiless else b"Content-Length: %d\r\n" % len(body)
        content = b"" if bodiless or self.head.method == "HEAD" else body
        return b"%b%b%b\r\n%b" % (head, framing, self._connection_line(), content)

    def _connection_line(self) -> bytes:
        if not self.keeps_alive:
            return b"Connection: close\r\n"
        return b"Connection: keep-alive\r\n" if self.head.version == "HTTP/1.0" else b""

    def _frame_piece(self, piece: bytes) -> bytes:
        """A piece of a stream as it goes out: nothing where the answer has no body (HEAD)."""
        if self._chunked:
            # A chunk of no bytes would end the body.
            return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        return b"" if self._left == 0 else piece

    def _frame_answer(self, code: int, headers: HTTPHeaders) -> None:
        """Settle how the answer ends and what becomes of the connection, and say so in the head."""
        if self.head.method == "HEAD" or code in (204, 304):
            self._left = 0
        elif "Content-Length" in headers:
            self._left = _parse_length(headers["Content-Length"])
        elif self.head.version == "HTTP/1.1" and "Transfer-Encoding" not in headers:
            self._chunked = True
            headers["Transfer-Encoding"] = "chunked"
        else:
            self.keeps_alive = False
        if not self.received or "close" in headers.get("Connection", "").lower():
            self.keeps_alive = False
        if not self.keeps_alive:
            headers["Connection"] = "close"
        elif self.head.version == "HTTP/1.0":
            headers["Connection"] = "keep-alive"

    def _frame(self, carrier: Carrier, chunk: bytes) -> bytes:
        if self._chunked:
            return b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b""
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                self._fail(carrier, "Tried to write more data than Content-Length")
        return chunk

    def _fail(self, carrier: Carrier, message: str) -> NoReturn:
        self._abort(carrier)
        raise HTTPOutputError(message)

    def _abort(self, carrier: Carrier) -> None:
        self._carrier = None
        carrier.abort()

    def _refuse_upgrade(self, carrier: Carrier) -> asyncio.Future[None]:
        self._on_close = None  # whoever asked knows
        carrier.refuse(Refusal(501, "upgrade_not_implemented", "This server only speaks HTTP/1.1."))
        return closed_write()


def _parse_length(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"Only integer Content-Length is allowed: {value[:40]!r}")
    return int(value)


def encode_head(start: ResponseStartLine, headers: HTTPHeaders) -> bytes:
    """The head of an answer as bytes. Raises ValueError for what would end a line, or is not Latin-1."""
    lines = [f"HTTP/1.1 {start.code} {start.reason}", *[f"{name}: {value}" for name, value in headers.get_all()]]
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    # A line break in a value would begin a header of somebody else's choice (contract T18). One count over the whole
    # text is enough, and cheaper than a look at each value.
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("A response header contains a line break or a NUL.")
    return (text + "\r\n\r\n").encode("latin-1")


def closed_write() -> asyncio.Future[None]:
    """What a write gives when nobody can read it any more; not to await it is no error."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(StreamClosedError())
    future.exception()
    return future
