"""One call, from the head of its request to the last byte of its answer.

A ``CallExchange`` is one of Tornado's message delegates: the server calls it as head and body come in. It checks the
head, collects the body, and then runs the main path (``gateway.py``) in a task of its own, which ends at once when
the caller disconnects (contract T7, S19).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from attrs import frozen
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate
from tornado.iostream import StreamClosedError

from fwd_server.callers.base import NO_HEAD, CallHead, Dialect, StreamWriter
from fwd_server.callers.validation import refused_model
from fwd_server.clock import Clock
from fwd_server.gateway.gateway import Gateway
from fwd_server.metering.bounds import InputSize, measure_input
from fwd_server.observe import log
from fwd_server.observe.hub import ObserverHub
from fwd_server.upstream.loop_guard import LoopGuard
from fwd_server.values import ids
from fwd_server.values.call import Call, Caller, RequestEnd
from fwd_server.values.chat import ChatRequest, Chunk, StreamEvent
from fwd_server.values.embeddings import EmbeddingsRequest
from fwd_server.values.errors import BadRequest, GatewayError, UpstreamError, internal_error, upstream_failure
from fwd_server.values.record import CallRecord
from fwd_server.web.answers import AnswerConnection, TornadoConnection, render_head
from fwd_server.web.call_options import CallOptions, clean_user, read_options
from fwd_server.web.guard import CheckedHead, HeaderMap, RequestContext, RequestGuard, too_large
from fwd_server.web.heartbeat import Heartbeat
from fwd_server.web.receipt import fact_headers, receipt_facts
from fwd_server.wire import jsontext

_JSON: Final = "application/json"
# Until the head is checked.
_NO_CONTEXT: Final = RequestContext("")
_NO_OPTIONS: Final = CallOptions()


@frozen
class CallRoute:
    """How one path is served: in which caller language."""

    dialect: Dialect[Any, Any]


@frozen
class CallTimes:
    """Times of a call in seconds: the longest it may ask for, and the silence before a keep-alive (0: none)."""

    total_s: float = 600.0
    keepalive_s: float = 15.0


@frozen
class CallService:
    """What every call works with."""

    gateway: Gateway
    guard: RequestGuard
    clock: Clock
    times: CallTimes
    loop_guard: LoopGuard
    hub: ObserverHub


class CallExchange(HTTPMessageDelegate):
    """Serves one call.

    ``refuse`` answers in its place where the server cannot have an early answer written over a body that still comes
    (Tornado's own); our server can.
    """

    # One is made for every call, and it lives as long as a stream.
    __slots__ = (
        "_arrived",
        "_beat",
        "_begun",
        "_body",
        "_connection",
        "_context",
        "_dialect",
        "_disconnected",
        "_ending",
        "_head",
        "_inner",
        "_options",
        "_over",
        "_path",
        "_record",
        "_refuse",
        "_refused_model",
        "_service",
        "_size",
        "_task",
        "_writer",
    )

    def __init__(
        self,
        service: CallService,
        route: CallRoute,
        path: str,
        connection: Any,
        refuse: Callable[[GatewayError, RequestContext], Awaitable[None] | None] | None = None,
    ) -> None:
        self._service = service
        self._dialect = route.dialect
        self._path = path
        self._inner = connection
        self._connection: AnswerConnection = connection if refuse is None else TornadoConnection(connection)
        self._refuse = refuse
        self._context = _NO_CONTEXT
        self._refused_model: str | None = None
        self._options: CallOptions | GatewayError = _NO_OPTIONS
        self._head = NO_HEAD
        self._arrived = service.clock.monotonic()
        self._body: list[bytes] = []
        self._size = 0
        self._task: asyncio.Task[None] | None = None
        self._record: CallRecord | None = None
        self._ending: UpstreamError | None = None
        self._disconnected = False
        self._begun = False  # whether the head of the answer is out
        self._over = False  # whether the answer is complete, or given by somebody else

    # -- the request

    def headers_received(self, start_line: Any, headers: HTTPHeaders) -> Awaitable[None] | None:
        """Called by Tornado's server."""
        peer: Any = getattr(self._inner, "context", None)
        remote_ip = getattr(peer, "remote_ip", "") or ""
        return self._check_head(headers, remote_ip, None)

    def head_received(self, head: Any) -> Awaitable[None] | None:
        """Called by our server: ``head.memo`` belongs to heads of the same bytes on this connection."""
        return self._check_head(head.headers, self._inner.context.remote_ip, head.memo)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """A piece of the body."""
        if self._over:
            return None
        self._size += len(chunk)
        if self._size > self._service.guard.max_body:
            return self._turn_away(too_large(self._service.guard.max_body))
        self._body.append(chunk)
        return None

    def finish(self) -> None:
        """The body is there: serve the call."""
        if not self._over:
            self._service.guard.admission.note_body_complete(self)
            # Not by the loop's create_task: it makes a number up for every task's name.
            self._task = asyncio.Task(self._run_call(), loop=asyncio.get_running_loop(), name="call")

    def on_connection_close(self) -> None:
        """The caller is gone: so is the work for it, down to the upstream's connection (S19, T7)."""
        self._disconnected = True
        self._release_admission()
        if self._task is not None:
            self._task.cancel()

    # -- the head

    def _check_head(self, headers: HeaderMap, remote_ip: str, memo: Any) -> Awaitable[None] | None:
        """Let the request in, or answer with why not."""
        guard = self._service.guard
        size = guard.body_bound(headers)
        checked: CheckedHead | None = memo.value if memo is not None else None
        try:
            # A remembered head spares the checks, not the key: one that was revoked is refused with the very next call
            # (R7).
            if checked is None or not guard.authenticator.is_current(checked.authenticated):
                checked = self._check_anew(headers, remote_ip)
            else:
                guard.admission.check_room(size)
                guard.check_length(int(headers.get("content-length") or 0))
        except GatewayError as error:
            return self._turn_away(error)
        # SDKs repeat the same head for every call of a connection, so the result is kept with it.
        if memo is not None:
            memo.value = checked
        # An id the caller sent is part of the head; one of ours must be new for each call.
        request_id = checked.request_id or ids.new_id("req_")
        caller = checked.authenticated.caller
        self._context = RequestContext(request_id, checked.peer, caller, cors=checked.cors)
        self._options, self._head = checked.options, checked.head
        # Only our own server limits the connections of those who have not authenticated (contract T2).
        if self._refuse is None:
            self._inner.mark_authenticated()
        self._inner.set_close_callback(self.on_connection_close)
        guard.admission.begin_call(self, size)
        return None

    def _check_anew(self, headers: HeaderMap, remote_ip: str) -> CheckedHead:
        guard = self._service.guard
        request_id = ids.kept_id(headers.get("x-request-id"))
        self._context = RequestContext(request_id or ids.new_id("req_"), remote_ip)
        cors = guard.cors.answer_headers(headers)
        peer = guard.peer_address(remote_ip, headers)
        self._context = RequestContext(self._context.id, peer, cors=cors)
        authenticated = guard.check_request(headers, peer, needs_key=True)
        if authenticated is None:
            raise AssertionError("a call without a key")  # it is asked for two lines above
        guard.check_body(headers, json=True)
        options: CallOptions | GatewayError
        try:
            options = read_options(headers, self._service.loop_guard)
        except GatewayError as error:
            options = error  # a bad body comes first, as callers know it from OpenAI
        return CheckedHead(authenticated, peer, options, request_id, cors, CallHead(self._path, headers))

    def _turn_away(self, error: GatewayError) -> Awaitable[None] | None:
        """Answer before the body is there; what still comes of it is the server's to throw away."""
        self._release_admission()
        if self._refuse is not None:
            self._over = True
            return self._refuse(error, self._context)
        self._answer_failure(error)
        return None

    # -- the call

    async def _run_call(self) -> None:
        """Answer the call; when the caller disconnects, end quietly, because nobody listens."""
        try:
            await self._serve_call()
        except asyncio.CancelledError:
            if self._disconnected:
                return
            # Cancelled by neither the caller nor a shutdown: not ours to swallow.
            if self._ending is None:
                raise
            self._answer_failure(self._ending)
        # A write failed because the caller closed the connection. That is no error of anybody.
        except StreamClosedError:
            self._disconnected = True
        except GatewayError as error:
            self._answer_failure(error)
        except Exception:  # noqa: BLE001 - logged, and the caller gets an answer
            log.app.exception("Bug: request %s failed.", self._context.id)
            self._answer_failure(internal_error())
        finally:
            self._release_admission()

    async def _serve_call(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        # Up to 10 MiB a call would otherwise stay until the end of a stream.
        self._body = []  # what was read of it is kept, and not this as well (contract D13)
        try:
            request = self._dialect.parse(body, self._head)
        except BadRequest:
            # The log shows the model also of a call that was refused for its body.
            self._refused_model = refused_model(body)
            raise
        size = measure_input(body, request)
        # A plain call has no field in which it could ask for that.
        writes_1h = getattr(request, "plain", None) is None and b'"1h"' in body
        del body
        # Checked again after the body: memory may have become scarce while it was received.
        if request.stream:
            self._service.guard.admission.check_stream()
        call, options = self._build_call(request, size, writes_1h)
        if options.dry_run:
            self._send_json(200, jsontext.dumps(self._service.gateway.plan_dry_run(call)))
            self._note_request_end(200)
            return
        if self._dialect.counts:
            await self._count_tokens(call)
            return
        record = self._record = self._service.gateway.open_record(call)
        if isinstance(request, ChatRequest) and request.stream and self._dialect.stream_writer is not None:
            await self._serve_stream(record, self._dialect.stream_writer(request, record))
        else:
            response = await self._service.gateway.complete_call(record)
            self._send_json(200, self._dialect.render(response, request, record))

    def _build_call(self, request: Any, size: InputSize, writes_1h: bool) -> tuple[Call, CallOptions]:
        """The call that a request and its head make together. Raises GatewayError."""
        options, context, service = self._options, self._context, self._service
        if isinstance(options, GatewayError):
            raise options
        # A caller may ask for less time than the operator allows, never for more.
        total_s = service.times.total_s
        call = Call(
            id=context.id,
            caller=context.caller or Caller(),
            request=request,
            deadline_s=total_s if options.deadline_s is None else min(options.deadline_s, total_s),
            strict=options.strict,
            fallback=options.fallback,
            retry_count=options.retry_count,
            peer=context.peer,
            queued_ms=(service.clock.monotonic() - self._arrived) * 1000,
            via=options.via,
            requested_timeouts=options.requested_timeouts,
            text_bytes=size.text_bytes,
            media_tokens=size.media_tokens,
            writes_1h=writes_1h,
            user=options.user or _named_user(request),
            tags=options.tags,
            session=options.session,
        )
        return call, options

    async def _count_tokens(self, call: Call) -> None:
        """Answer with the number of tokens: no call of a model, so it has no receipt and is charged to nobody."""
        count = await self._service.gateway.count_tokens(call)
        body = self._dialect.render(count, call.request, CallRecord(call, self._arrived))
        self._send_json(200, body, [("x-fwd-estimated", "true")] if count.estimated else None)
        self._note_request_end(200)

    # -- a stream

    async def _serve_stream(self, record: CallRecord, writer: StreamWriter) -> None:
        # Started before the provider is called: a proxy in between counts the silence from the request on.
        beat = self._beat = Heartbeat(self._service.times.keepalive_s, lambda: self._keep_alive(writer))
        self._writer = writer
        try:
            async with self._service.gateway.stream_call(record) as answer:
                if self._begun:  # a keep-alive has taken the head with it: the receipt follows as an event
                    self._connection.write_chunk(writer.write_receipt(receipt_facts(record)))
                last = await answer.send_events(self._relay_events)
                if isinstance(last, GatewayError):
                    self._break_off(last)
                else:
                    self._end_stream(writer.write_end(receipt_facts(record, self._service.clock.monotonic())))
        finally:
            beat.stop_timer()

    def _relay_events(self, events: list[StreamEvent]) -> asyncio.Future[None] | None:
        """Send what can be sent of some events; the future is done once the caller has taken enough."""
        data = self._writer.write_chunks([event for event in events if isinstance(event, Chunk)])
        if not data:
            return None
        self._beat.note_sent()
        return self._connection.write_chunk(data) if self._begun else self._begin_stream(self._writer, data)

    def _begin_stream(self, writer: StreamWriter, first: bytes) -> asyncio.Future[None]:
        """The head, with the first bytes of the stream."""
        self._begun = True
        receipt = () if self._record is None or self._record.first_content_at is None else self._receipt_headers()
        self._close_if_full()
        headers = (*self._id_headers(), *receipt, *self._context.cors)
        head = render_head(200, writer.content_type, self._context.id, headers, streams=True)
        return self._connection.begin_stream(head, first)

    def _keep_alive(self, writer: StreamWriter) -> None:
        """A sign of life while the provider thinks; the head goes out with the first (contract 3a)."""
        if self._disconnected or self._over:
            return
        data = writer.write_keep_alive()
        if self._begun:
            self._connection.write_chunk(data)
        else:
            self._begin_stream(writer, data)

    def _break_off(self, error: GatewayError) -> None:
        """The failure as an event, no good end, and the end of the connection (contract G5)."""
        if not self._begun:
            self._answer_failure(error)
            return
        # A client that ignores error events notices at least that the connection ends.
        self._connection.close_after_answer()
        self._end_stream(self._writer.write_error(error))

    def _end_stream(self, last: bytes) -> None:
        if not self._begun:  # an answer without any event of its own
            self._begin_stream(self._writer, b"")
        self._over = True
        self._connection.end_stream(last)

    # -- answers

    def _answer_failure(self, error: GatewayError) -> None:
        """Answer with a failure: with its status, or as an event where the head is already out."""
        if self._over or self._disconnected:
            return
        if self._begun:
            self._break_off(error)
            return
        status = self._dialect.status_of(error)
        self._send_json(status, self._dialect.render_error(error, self._context.id), error.all_headers())
        if self._record is None:  # no call was begun, so no outcome will tell of it
            self._note_request_end(status, error)

    def _send_json(self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None) -> None:
        receipt = self._receipt_headers() if self._record is not None else ()
        self._close_if_full()
        more = (*self._id_headers(), *(headers or ()), *receipt, *self._context.cors)
        head = render_head(status, _JSON, self._context.id, more)
        self._begun = self._over = True
        self._connection.send_answer(head, body)

    def _receipt_headers(self) -> list[tuple[str, str]]:
        record = self._record
        return fact_headers(record, self._service.clock.monotonic()) if record is not None else []

    def _id_headers(self) -> tuple[tuple[str, str], ...]:
        """Where else this language's clients look for the request's id."""
        names = self._dialect.id_headers
        return tuple((name, self._context.id) for name in names) if names else ()

    def _close_if_full(self) -> None:
        """Keep no connection while the gateway stops or is short of memory."""
        if not self._service.guard.admission.keeps_connections:
            self._connection.close_after_answer()

    def _note_request_end(self, status: int, error: GatewayError | None = None) -> None:
        """Tell the observers of a request that became no call."""
        context, caller = self._context, self._context.caller or Caller()
        total_ms = (self._service.clock.monotonic() - self._arrived) * 1000
        self._service.hub.request_ended(
            RequestEnd(
                id=context.id,
                status=status,
                method="POST",
                path=self._path[:200],
                peer=context.peer,
                key=caller.label or None,
                key_id=caller.key_id or None,
                requested_model=self._refused_model,
                error=None if error is None else error.code or error.type,
                param=None if error is None else error.param,
                total_ms=round(total_ms, 1),
            )
        )

    # -- the end

    def shut_down(self) -> None:
        """The gateway stops and waits no longer: end what runs, and say so (contract D14)."""
        self._ending = upstream_failure("shutdown")
        # Noted before the task is cancelled: a cancellation alone would be recorded as a caller who left.
        if self._record is not None:
            self._record.fail(self._ending, midstream=self._begun)
        if self._task is not None:
            self._task.cancel()

    def _release_admission(self) -> None:
        """Count the call out; more than once does no harm."""
        self._service.guard.admission.end_call(self)


def _named_user(request: ChatRequest | EmbeddingsRequest) -> str:
    """The caller's own user as its body names it."""
    if isinstance(request, EmbeddingsRequest):
        return clean_user(request.view.user)
    if request.plain is not None:
        return clean_user(request.plain.user)
    # `safety_identifier` is OpenAI's newer name for `user`: https://platform.openai.com/docs/api-reference/chat/create
    return clean_user(request.view.safety_identifier or request.view.user)
