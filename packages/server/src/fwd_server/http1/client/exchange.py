"""One request and its answer on one connection: upload, answer, timeouts, backpressure.

A `Connection` lives as long as its socket and carries one `Exchange` at a time; an `Exchange` is cut off from
its connection the moment it ends, so a late byte or a late call of its owner can only meet a closed door (S28).
Everything is driven by the transport's callbacks and one timer; there is no task, and a future only while
somebody waits.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from fwd_server.http1.client.answer import Answer, Head
from fwd_server.http1.client.values import Code, Limits, Timeouts, TransportError
from fwd_server.timer_wheel import WheelTimer, wheel_of

# A body goes out in slices, so that an answer that comes early can stop the upload (F31).
_SLICE = 64 * 1024
_END_S = 0.5  # for the end of a body of which everything has been read
_NOTHING = memoryview(b"")


def _ignore(error: TransportError | None) -> None:
    """How it ends does not matter any more."""


class StaleConnection(TransportError):
    """A connection kept from an earlier exchange ended before any byte of an answer (F6): ask a fresh one."""


class Owner(Protocol):
    """Who is told what becomes of a connection."""

    def made(self, connection: Connection) -> None:
        """The connection is open."""

    def freed(self, connection: Connection) -> None:
        """Its exchange ended cleanly: it may carry another."""

    def lost(self, connection: Connection) -> None:
        """Its socket is closed, or as good as closed."""


class Connection(asyncio.BufferedProtocol):
    """A socket to an upstream.

    `scratch` receives what the socket reads and is copied from at once, so all connections of a loop share it.
    """

    __slots__ = (
        "_owner",
        "_scratch",
        "_transport",
        "exchange",
        "exchanges",
        "expires",
        "keepalive_limit_s",
        "loop",
        "wheel",
        "writable",
    )

    def __init__(self, owner: Owner, scratch: memoryview) -> None:
        self.exchange: Exchange | None = None
        self.exchanges = 0
        self.loop = asyncio.get_running_loop()
        self.wheel = wheel_of(self.loop)
        self.expires = 0.0  # when an idle one is no longer to be used
        self.keepalive_limit_s = math.inf  # how long the upstream keeps an idle one, as it says
        self.writable = True
        self._owner = owner
        self._scratch = scratch
        self._transport: asyncio.Transport | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; only to be asked for after `connection_made`."""
        return cast(asyncio.Transport, self._transport)

    @property
    def usable(self) -> bool:
        """Whether a request can be written, as far as this side knows."""
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        """Close the socket at once, failing the exchange it carries."""
        if self.exchange is not None:
            self.exchange.fail(TransportError("upstream_reset", "the connection was closed on this side"))
        else:
            self.transport.abort()

    def finish(self, reusable: bool) -> None:
        """Part from the exchange that just ended."""
        self.exchange = None
        transport = self.transport
        # Only a clean end makes it reusable (contract S28). If bytes of the request still wait, the upstream answered
        # without reading them, and what it will make of them is unknown.
        if reusable and not transport.is_closing() and not transport.get_write_buffer_size():
            self._owner.freed(self)
        else:
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop when the connection is open."""
        self._transport = cast(asyncio.Transport, transport)
        self._owner.made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the loop before it reads."""
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop when it has read; what nobody asked for ends the connection."""
        exchange = self.exchange
        if exchange is None:
            # An answer that nobody asked for would be taken for the answer to the next request (contract S28).
            self.abort()
        else:
            exchange.received(self._scratch[:nbytes].tobytes())

    def eof_received(self) -> None:
        """Called by the loop at the upstream's end of file; the transport then closes itself."""
        if self.exchange is not None:
            self.exchange.lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop when the socket is closed, with the reason if it was not our doing."""
        if self.exchange is not None:
            self.exchange.lost(exc)
        self._owner.lost(self)

    def pause_writing(self) -> None:
        """Called by the transport when it holds enough unsent bytes."""
        self.writable = False

    def resume_writing(self) -> None:
        """Called by the transport when it takes bytes again."""
        self.writable = True
        if self.exchange is not None:
            self.exchange.upload()


class Exchange:
    """A request being sent and answered."""

    __slots__ = (
        "_active",
        "_answer",
        "_began",
        "_buffered",
        "_connection",
        "_cut",
        "_done",
        "_error",
        "_flow",
        "_fresh",
        "_idles",
        "_limits",
        "_loop",
        "_paused",
        "_pieces",
        "_timeouts",
        "_timer",
        "_unsent",
        "_waiter",
        "_wheel",
    )

    def __init__(self, connection: Connection, answer: Answer, timeouts: Timeouts, limits: Limits) -> None:
        self._loop = connection.loop
        self._wheel = connection.wheel
        self._connection = connection
        self._answer = answer
        self._timeouts = timeouts
        self._limits = limits
        self._fresh = not connection.exchanges
        self._unsent = _NOTHING
        self._cut = False  # whether the upload was stopped by an early answer
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._began = False  # whether some of the body was handed out
        self._paused = False
        self._done = False
        self._error: TransportError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._flow: tuple[Callable[[bytes], None], Callable[[TransportError | None], None]] | None = None
        self._timer: WheelTimer | None = None
        self._idles = False  # whether silence is limited by now
        self._active = 0.0  # when the upstream, or our upload, last made progress

    # The owner's side.

    async def send(self, head: bytes, body: bytes) -> Response:
        """Send the request and return the answer as soon as its final head is in.

        Raises TransportError. However this ends otherwise, cancellation included, the socket is closed.
        """
        connection = self._connection
        if not connection.usable:
            raise TransportError("upstream_reset", "the connection was closed before the request was sent")
        connection.exchange = self
        connection.exchanges += 1
        if self._timeouts.first_byte_s is not None:
            self._set_timer(self._timeouts.first_byte_s)
        if len(body) <= _SLICE:
            self._active = self._loop.time()
            # One write: with TCP_NODELAY a second one would be a second packet.
            connection.transport.write(head + body)
        else:
            self._unsent = memoryview(body)[_SLICE:]
            connection.transport.write(head + body[:_SLICE])
            self.upload()
        while self._answer.head is None:
            if self._error is not None:
                raise self._error
            await self._wait()
        return Response(self, self._answer.head)

    async def read(self) -> bytes:
        """Return what has arrived of the body, waiting for it if need be; b"" at its true end."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._done:
                return b""
            await self._wait()
        return self._take()

    def whole_body(self) -> bytes | None:
        """Return the complete body if all of it is there and nothing of it was read, else None."""
        if not self._done or self._error is not None or self._began:
            return None
        return self._take() if self._pieces else b""

    def flow(self, take: Callable[[bytes], None], over: Callable[[TransportError | None], None]) -> None:
        """Hand every piece of the body to ``take`` as it comes, and at last its end to ``over``.

        It replaces ``read`` for what must not wait: no task runs, and no future is made. After ``close`` neither is
        called any more.
        """
        self._flow = (take, over)
        if self._pieces:
            take(self._take())
        self._deliver()

    def pause(self) -> None:
        """Read no more from the upstream; what its socket has given already is still handed on."""
        if not self._paused and not self._done:
            self._paused = True
            self._connection.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._resume()

    def close(self) -> None:
        """End the exchange now if it has not ended; what was not read is dropped."""
        self._flow = None
        if not self._done or self._pieces:
            self._pieces.clear()
            self.fail(TransportError("upstream_reset", "the answer was closed before it was read to its end"))

    def await_end(self) -> None:
        """Nothing more of the body is wanted, but its end may be on the way: if it comes soon, keep the connection.

        Many servers send the last chunk of a stream in a packet of its own, after the event that says it is over. A
        connection closed for that would have to be dialled again, with TLS, for the next stream.
        """
        if self._done or self._pieces:
            self.close()
            return
        self._flow = (self._drop_surplus, _ignore)
        self.resume()
        self._active = self._loop.time()
        self._set_timer(_END_S)

    def _drop_surplus(self, piece: bytes) -> None:
        self.close()

    # The connection's side.

    def upload(self) -> None:
        """Write as much of the body as the socket takes."""
        self._active = self._loop.time()
        while self._unsent and self._connection.writable and self._connection.usable:
            self._connection.transport.write(self._unsent[:_SLICE])
            self._unsent = self._unsent[_SLICE:]

    def received(self, data: bytes) -> None:
        """Take bytes of the answer."""
        answer, headless = self._answer, self._answer.head is None
        piece = answer.feed(data)
        # What nearly every piece of a stream is: more of a body that goes on, and that somebody takes at once.
        if piece and self._idles and self._flow is not None and not (answer.ended or answer.error or self._pieces):
            self._active = self._loop.time()
            self._flow[0](piece)
            return
        if piece:
            self._pieces.append(piece)
            self._buffered += len(piece)
        if answer.error is not None:
            self.fail(answer.error)
        elif answer.ended:
            # After a partial upload the upstream still waits for the rest, so the connection cannot carry another
            # request.
            self._end(answer.reusable and not self._unsent and not self._cut)
        elif answer.head is not None:
            self._go_on(answer.head if headless else None, piece)
        self._wake()

    def lost(self, exc: Exception | None) -> None:
        """Note that the upstream closed, or that the connection broke with `exc`."""
        answer = self._answer
        # Servers close idle connections when they like. A close that crosses our request is not a failure of the
        # provider (F6).
        if not answer.started and not self._fresh:
            self.fail(StaleConnection("upstream_reset", "a kept connection was closed by the upstream"))
        elif exc is not None:
            code: Code = "upstream_reset" if answer.head is None else "upstream_truncated"
            self.fail(TransportError(code, f"the connection broke: {exc.__class__.__name__}"))
        else:
            answer.eof()
            if answer.error is not None:
                self.fail(answer.error)
            self._end(False)

    def fail(self, error: TransportError) -> None:
        """End the exchange with an error, which the reader meets after the pieces that came before it."""
        # The first failure is the cause; the later ones follow from it.
        self._error = self._error or error
        self._end(False)

    # Inside.

    def _go_on(self, head: Head | None, piece: bytes) -> None:
        """Carry on with a body that has not ended; `head` is given when it has only just come in."""
        self._active = self._loop.time()
        failed = head is not None and head.status >= 300
        if failed:  # the upstream has decided: it will not read the rest (F31)
            self._cut = bool(self._unsent)
            self._unsent = _NOTHING
        if head is not None:
            self._set_timer(None)
        if not self._idles and (piece or failed):  # an answer may take long to begin, also after its head (F9)
            self._idles = True
            self._set_timer(self._timeouts.idle_s)
        # A `flow` has its own backpressure: its owner calls `pause`.
        if self._buffered > self._limits.buffer and self._flow is None:
            self.pause()

    def _take(self) -> bytes:
        self._began = True
        pieces = self._pieces
        piece = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._buffered = 0
        if self._paused:
            self._resume()
        return piece

    def _resume(self) -> None:
        self._paused = False
        self._active = self._loop.time()
        if self._connection.usable:
            self._connection.transport.resume_reading()

    def _end(self, reusable: bool) -> None:
        if self._done:
            return
        self._done = True
        if self._timer is not None:
            self._set_timer(None)
        self._unsent = _NOTHING
        # A kept connection must read, or it sees neither the upstream's close nor its next answer.
        if self._paused:
            self._resume()
        if reusable and self._answer.head is not None:
            self._connection.keepalive_limit_s = self._answer.head.keepalive_limit_s
        self._connection.finish(reusable)
        self._wake()

    async def _wait(self) -> None:
        """Wait until something happened; a cancelled wait closes the socket before anybody else runs."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._waiter = None

    def _deliver(self) -> None:
        """Hand on what is there, and the end after it. Whoever takes a piece may close the exchange."""
        if self._flow is not None and self._pieces:
            piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._buffered = 0
            self._flow[0](piece)
        if self._flow is not None and self._done:
            _, over = self._flow
            self._flow = None
            over(self._error)

    def _wake(self) -> None:
        if self._flow is not None:
            self._deliver()
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else self._wheel.call_later(seconds, self._tick, seconds)

    def _tick(self, seconds: float) -> None:
        """Fail after `seconds` seconds without progress; set again rather than moved with every piece."""
        # While reading is paused the caller is slow, not the upstream (contract R4).
        left = seconds if self._paused else self._active + seconds - self._loop.time()
        if left > 0:
            self._timer = self._wheel.call_later(left, self._tick, seconds)
        elif self._answer.head is None:
            self.fail(TransportError("upstream_timeout", f"no answer within {seconds:g} s"))
        else:
            self.fail(TransportError("upstream_stalled", f"nothing more of the answer for {seconds:g} s"))


class Response:
    """An answer from its head on; read it to its end or close it, best in `contextlib.closing`.

    Read to its end, the connection is kept for the next exchange. Closed before, or cut, stalled, malformed or
    too large, the connection is destroyed at once.
    """

    __slots__ = ("_exchange", "headers", "status")

    def __init__(self, exchange: Exchange, head: Head) -> None:
        self.status: int = head.status
        self.headers: Mapping[str, str] = head.headers
        self._exchange = exchange

    async def read(self) -> bytes:
        """Return the next piece of the body, b"" at its true end.

        Raises TransportError when the body was cut, stalled, malformed or too large, after the pieces before
        it. Cancelled, it closes the socket.
        """
        return await self._exchange.read()

    def whole_body(self) -> bytes | None:
        """Return the complete body if all of it is there and nothing of it was read, else None."""
        return self._exchange.whole_body()

    def flow(self, take: Callable[[bytes], None], over: Callable[[TransportError | None], None]) -> None:
        """From now on hand every piece to ``take`` as it comes, and at last None or the failure to ``over``."""
        self._exchange.flow(take, over)

    def pause(self) -> None:
        """Read no more from the upstream until ``resume``."""
        self._exchange.pause()

    def resume(self) -> None:
        """Read on."""
        self._exchange.resume()

    async def read_all(self, limit: int) -> bytes:
        """Return the whole body; raises TransportError as `read` does, `too_large` above `limit` bytes."""
        pieces, size = [], 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                self.close()
                raise TransportError("too_large", f"the answer is larger than {limit} bytes")
        return b"".join(pieces)

    def await_end(self) -> None:
        """Want nothing more of the body; keep the connection if the body's end comes within half a second."""
        self._exchange.await_end()

    def close(self) -> None:
        """Drop the rest of the answer, and with it the connection if the answer has not ended; idempotent."""
        self._exchange.close()
