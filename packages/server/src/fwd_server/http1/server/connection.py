"""One client's socket: requests are cut from its bytes, handed to Tornado one at a time, and answered in order.

Everything is driven by the transport's callbacks. There is no task, a future only while a handler waits for a slow
reader, and no timer: the server looks at ``expires`` and ``stalls`` of every connection twice a second.

Reading goes on while a handler runs, because otherwise nobody would notice that the client has left. What comes in the
meantime is kept, up to ``ServerLimits.buffer``. The end of file counts as leaving, though the client might still read
(contract D16).
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import Awaitable
from functools import partial
from typing import Any, Final, cast

from tornado.httputil import HTTPInputError
from tornado.iostream import StreamClosedError

from fwd_server.http1.server.host import ConnectionHost, PeerContext
from fwd_server.http1.server.limits import Refusal, late, malformed
from fwd_server.http1.server.reader import RequestReader
from fwd_server.http1.server.reply import NOBODY, Reply, closed_write
from fwd_server.http1.server.request import Head
from fwd_server.http1.server.states import State

_RESET = struct.pack("ii", 1, 0)  # struct linger: on, for no time
# What the kernel keeps of answers (Linux doubles it): for a stranger little, so that an answer it does not read keeps
# it from the next (contract T2, R4). With less than the loopback's largest packet, answers wait for delayed ACKs.
UNAUTHENTICATED_SNDBUF: Final = 64 << 10
SNDBUF: Final = 128 << 10
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# To look a member up in its enum costs as much as to call a function.
_IDLE, _BODY, _ANSWER, _PARTING, _LINGER, _CLOSING = (
    State.IDLE,
    State.BODY,
    State.ANSWER,
    State.PARTING,
    State.LINGER,
    State.CLOSING,
)


class Connection(asyncio.BufferedProtocol):
    """A socket of a client.

    ``scratch`` of the host receives what the socket reads and is copied from at once, so all connections share it.
    """

    __slots__ = (
        "_body_since",
        "_host",
        "_limits",
        "_lingered",
        "_loop",
        "_reading",
        "_requests",
        "_scratch",
        "_slow_since",
        "_taken",
        "_transport",
        "_unsent",
        "_waiter",
        "authenticated",
        "context",
        "expires",
        "reply",
        "since",
        "stalls",
        "state",
    )

    def __init__(self, host: ConnectionHost, protocol: str) -> None:
        self.state = _IDLE
        self.expires = math.inf  # when the client must have sent what it owes
        self.stalls = math.inf  # when it must have taken some of what it was sent
        self.since = 0.0
        self.authenticated = False
        self.reply: Reply | None = None
        self.context = PeerContext("", protocol, socket.AF_UNSPEC)
        self._host = host
        self._scratch = host.scratch
        self._limits = host.limits
        self._loop = asyncio.get_running_loop()
        self._requests = RequestReader(host.limits)
        self._transport: Any = None
        self._waiter: asyncio.Future[None] | None = None  # what handlers wait for while a client reads slowly
        self._unsent = 0
        self._taken = 0  # bytes, by a slow reader
        self._slow_since = 0.0
        self._body_since = 0.0
        self._reading = True
        self._lingered = 0  # bytes thrown away since the last answer

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; only to be asked for after ``connection_made``."""
        return cast(asyncio.Transport, self._transport)

    @property
    def idle(self) -> bool:
        """Whether it waits for a request of which nothing has come."""
        return self.state is _IDLE and not self._requests.buffer

    @property
    def closing(self) -> bool:
        """Whether its last answer is given."""
        return self.state in (_LINGER, _CLOSING, State.CLOSED) or self.transport.is_closing()

    # -- the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop when the connection is open."""
        self._transport = transport
        peer, sock = transport.get_extra_info("peername"), transport.get_extra_info("socket")
        remote_ip = peer[0] if isinstance(peer, tuple) else ""
        self.context = PeerContext(remote_ip, self.context.protocol, sock.family)
        # Any byte that waits must be noticed, because the time of a slow reader begins with it (contract T2).
        self.transport.set_write_buffer_limits(high=1)  # 0 would stop TLS for good
        self.since = self._loop.time()
        self.expires = self.since + self._limits.header_s
        self._host.made(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the loop before it reads."""
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop when it has read."""
        if self.state is _LINGER:
            # The last answer is given: what still comes is counted and dropped, never read as another request (contract
            # T4).
            self._lingered += nbytes
            if self._lingered > self._limits.linger_bytes:
                self.abort()
            return
        self._advance(self._scratch[:nbytes].tobytes())

    def eof_received(self) -> None:
        """Called by the loop at the client's end of file; the transport then closes itself."""
        self.state = _CLOSING
        self._leave()
        self._await_flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop when the socket is closed."""
        self.state = State.CLOSED
        self._leave()
        self.expires = self.stalls = math.inf
        if self._waiter is not None:
            waiter, self._waiter = self._waiter, None
            if not waiter.done():
                waiter.set_exception(StreamClosedError())
                # Retrieved once: a handler need not await its write, and asyncio would log the failure as never
                # retrieved.
                waiter.exception()
        # Told for every connection, also one without a request: Tornado's applications may keep state for it.
        self._host.application.on_close(self)
        self._host.lost(self)

    def pause_writing(self) -> None:
        """Called by the transport when it holds enough unsent bytes."""
        self._waiter = self._loop.create_future()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Called by the transport when it takes bytes again."""
        self.stalls = math.inf
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():  # a handler may have cancelled it
            waiter.set_result(None)
        # The next request of a pipeline waits until its client has taken the answers before it. A client that only
        # sends would otherwise fill our memory with answers (contract R4).
        if self.state is _IDLE and not self.closing:
            self._expect_request()

    # -- the reply's side

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Send bytes; the future is done once the client has taken enough of them."""
        transport = self._transport
        if transport.is_closing():
            return closed_write()
        transport.write(data)
        # Most writes need not wait: they share one future that is done, instead of making one each.
        return self._waiter or self._host.flushed

    def end_answer(self, reply: Reply) -> None:
        """Part from a request that is answered, but not before the handler is through with it.

        Where the rest is plain (the whole request was handed on, nothing came behind it, the connection is kept), there
        is nothing to wait for: no other request can begin before the loop reads again.
        """
        if self.state is _ANSWER and reply.keeps_alive and self._waiter is None and not self._requests.buffer:
            self.state = _IDLE
            self.reply = None
            reply.delegate = NOBODY  # it holds the reply: see Reply.part
            self.expires = self._loop.time() + self._limits.idle_s
        else:
            self.state = _PARTING
            self._loop.call_soon(self._part)

    def refuse(self, refusal: Refusal) -> None:
        """Answer in the place of the application, if nothing was answered yet, and end the connection."""
        reply, self.reply = self.reply, None
        if reply is not None:
            reply.leave()
        # The client would read an error page that follows half an answer as part of that answer.
        if reply is not None and reply.begun:
            self.abort()
        else:
            # Without a reply the head was never parsed, so the method is known from its bytes only.
            bodiless = self._requests.buffer.startswith(b"HEAD ") if reply is None else reply.head.method == "HEAD"
            self.write(self._host.render_refusal(refusal, self.context.remote_ip, bodiless=bodiless))
            self._linger()

    def mark_authenticated(self) -> None:
        """Count it no longer among the strangers of its address, and let more of its answers wait for it."""
        if not self.authenticated:
            self.authenticated = True
            self.transport.set_write_buffer_limits(high=self._limits.buffer)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SNDBUF)

    # -- the server's side

    def check_progress(self, now: float) -> None:
        """Called while something waits to be read: close the connection of a client that takes nothing of it.

        One that takes little may go on for as long as it likes if it has shown a key (contract R4), and needs a
        least rate if it has not (T2).
        """
        limits, unsent, before = self._limits, self.transport.get_write_buffer_size(), self._unsent
        self._unsent = unsent
        if unsent < before:
            self._taken += before - unsent
            self.stalls = now + limits.unread_s
        due = math.inf if self.authenticated else self._slow_since + limits.unread_s + self._taken / limits.read_rate
        if min(self.stalls, due) <= now:
            self._reset()

    def overdue(self) -> None:
        """Called when ``expires`` is over: say what for, if there is anybody to tell."""
        if self.closing:
            self.abort()
        elif self.reply is not None:
            self.refuse(late("body"))
        # An idle connection is closed without an answer: a 408 could meet a request on its way and pass for its answer.
        elif self.state is State.HEAD:
            self.refuse(late("head"))
        else:
            self.close()

    def close(self) -> None:
        """Close the socket once what was written is out."""
        if self.state is not State.CLOSED:
            self.state = _CLOSING
        self.expires = math.inf
        self.transport.close()
        self._await_flush()

    def abort(self) -> None:
        """Close the socket at once."""
        if self.state is not State.CLOSED:
            self.state = _CLOSING
        self.transport.abort()

    # -- inside

    def _advance(self, data: bytes = b"") -> None:
        """Do what can be done with the bytes that are there, and those of ``data``."""
        requests = self._requests
        try:
            # The common case, a whole request in one piece, is served without a detour by the buffer.
            if (
                self.state is _IDLE
                and data
                and self._waiter is None
                and (whole := requests.read_whole(data)) is not None
            ):
                self._serve_whole(*whole)
                return
            # Anything else goes through the buffer, and stays there while the answers before it are not taken (contract
            # R4).
            requests.feed(data)
            if self._transport.is_closing() or (self.reply is None and self._waiter is not None):
                return
            reply = self.reply or self._open_next()
            if reply is not None:
                self._read_body(reply)
        except Refusal as refusal:
            self.refuse(refusal)
        except HTTPInputError as error:
            # Tornado's delegates raise it, and quote the client's input, so the text is cut short.
            self.refuse(malformed(f"The request cannot be used: {str(error)[:200]!r}."))
        except BaseException:
            self.abort()  # the loop logs what went wrong, but cannot know that nobody will answer
            raise
        self._read_or_pause()

    def _open_next(self) -> Reply | None:
        """Hand the next head to the application, or wait for the rest of it."""
        head = self._requests.next_head()
        if head is not None:
            return self._open(head)
        if self._requests.buffer and self.state is _IDLE:
            self.state = State.HEAD
            # Set once, at the first byte: a client that sends a byte now and then gains no time (contract T2).
            self.expires = self._loop.time() + self._limits.header_s
        return None

    def _open(self, head: Head) -> Reply:
        """Hand a head to the application: the light one to a delegate that takes it, else Tornado's."""
        self.state = _BODY
        self.expires = math.inf
        self._body_since = 0.0
        # Known to the connection before the application is asked, which may answer or refuse in the same call.
        reply = self.reply = Reply(self, head, self._limits)
        delegate: Any = self._host.application.start_request(self, reply)
        reply.delegate = delegate
        head_received = getattr(delegate, "head_received", None)
        if head_received is not None:
            wait = head_received(head)
        else:
            wait = delegate.headers_received(head.start, head.tornado_headers())
        if wait is not None:
            self._hold(reply, wait)
        return reply

    def _serve_whole(self, head: Head, body: bytes) -> None:
        """Hand on a request that came in one piece. What is not plain about it goes the long way, by the buffer."""
        reply = self._open(head)
        if reply.held or reply.over or len(body) > reply.max_body:
            self._requests.put_back(head, body)
            self._read_body(reply)
            return
        # All of the body is here, so the connection may be kept even if the handler answers at once.
        reply.received = True
        if body:
            reply.body_got = len(body)
            wait = reply.delegate.data_received(body)
            if wait is not None:
                self._hold(reply, wait)
                return
        self._complete(reply)

    def _complete(self, reply: Reply) -> None:
        """Tell the delegate that it has the whole body, unless it has answered already."""
        if not reply.over:
            self.state = _ANSWER
            self.expires = math.inf
            reply.delivered = True
            reply.delegate.finish()

    def _read_body(self, reply: Reply) -> None:
        """Hand on what has come of the body, as long as the delegate takes it."""
        body = self._requests.body
        while not (reply.held or reply.over or reply.delivered):
            if reply.received:
                self._complete(reply)
            # Refused by the announced length, before any of it is kept (contract T4). The head's reader cannot do this:
            # the application may set another limit for each request.
            elif (reply.head.length or 0) > reply.max_body:
                raise _too_large(reply)
            elif piece := self._requests.take():
                reply.received = body.ended
                self._hand_on(reply, piece)
            else:
                reply.received = body.ended
                if not reply.received:
                    self._await_body(reply)
                    return

    def _hand_on(self, reply: Reply, piece: bytes) -> None:
        reply.body_got += len(piece)
        # A chunked body announces no length, so it is counted as it comes (contract T4).
        if reply.body_got > reply.max_body:
            raise _too_large(reply)
        wait = reply.delegate.data_received(piece)
        if wait is not None:
            self._hold(reply, wait)

    def _await_body(self, reply: Reply) -> None:
        """Ask for the body if the client waits to be asked, and give it its time."""
        if not self._body_since:
            self._body_since = self._loop.time()
            # A client that has sent some of the body, or was answered, no longer waits for this (RFC 9110, 10.1.1).
            if reply.head.expects and not reply.body_got and not reply.begun:
                self.write(_CONTINUE)
        self.expires = self._body_since + reply.body_s + reply.body_got / self._limits.body_rate

    def _hold(self, reply: Reply, wait: Awaitable[None]) -> None:
        """Read no further before the delegate is ready; its time is not the client's."""
        reply.held = True
        self.expires = math.inf
        asyncio.ensure_future(wait).add_done_callback(partial(self._release, reply, self._loop.time()))

    def _release(self, reply: Reply, held_since: float, done: asyncio.Future[None]) -> None:
        reply.held = False
        if not done.cancelled() and done.exception() is not None:
            self.abort()
            done.result()  # raises, so that the loop logs it
        if reply is self.reply:
            if self._body_since:
                self._body_since += self._loop.time() - held_since
            self._advance()

    def _part(self) -> None:
        """Part from the request that was answered, and from the client if one of the two wants to."""
        reply, self.reply = self.reply, None
        if reply is None:
            return
        reply.part()
        if reply.keeps_alive:
            self._await_next()
        # Closing a socket with unread bytes sends a reset, which may destroy the answer before the client has read it.
        # So it is closed at once only where nothing more comes (RFC 9112, 9.6).
        elif reply.received and not self._requests.buffer:
            self.close()
        else:
            self._linger()

    def _read_or_pause(self) -> None:
        """Read on unless too much waits for its turn; a head that is not complete never waits."""
        may_read = self.reply is None or len(self._requests.buffer) <= self._limits.buffer
        if may_read != self._reading and not self.transport.is_closing():
            self._reading = may_read
            (self.transport.resume_reading if may_read else self.transport.pause_reading)()

    def _await_next(self) -> None:
        """Go on to the next request, but not before the client has taken enough of the answers it has."""
        self.state = _IDLE
        if self._waiter is None:
            self._expect_request()

    def _expect_request(self) -> None:
        self.expires = self._loop.time() + self._limits.idle_s
        self._advance()

    def _linger(self) -> None:
        """End our side, and give the client time to read the answer while it still sends (contract T4).

        TLS cannot end one side alone: there the client sees the end when the time is over, or at its own.
        """
        # Whatever waits there will not be answered; only its connection is still needed.
        self._requests.buffer.clear()
        if self.transport.is_closing():
            return
        self.state = _LINGER
        self._read_or_pause()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.expires = self._loop.time() + self._limits.linger_s

    def _leave(self) -> None:
        """Stop the work for a client that has left (contract T7)."""
        reply, self.reply = self.reply, None
        if reply is not None:
            reply.leave()

    def _await_flush(self) -> None:
        """Give a closing connection the time of a slow reader to take what is left."""
        if self.transport.get_write_buffer_size() and self.stalls == math.inf:
            self._watch_reader()

    def _reset(self) -> None:
        """Close the socket with all that is under way, which the kernel would go on sending for minutes."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.abort()

    def _watch_reader(self) -> None:
        self._unsent, self._taken = self.transport.get_write_buffer_size(), 0
        self._slow_since = self._loop.time()
        self.stalls = self._slow_since + self._limits.unread_s


def _too_large(reply: Reply) -> Refusal:
    return Refusal(413, "request_too_large", f"The body is larger than {reply.max_body} bytes.")
