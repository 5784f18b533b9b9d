"""Tornado's application behind our guard: calls go to a ``CallExchange``, everything else to its handlers.

Both are delegates of Tornado's own interface (``HTTPMessageDelegate``), so the application runs behind our server and
behind Tornado's. Ours hands over a light head, before any of Tornado's own objects are made.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from tornado import httputil
from tornado.routing import URLSpec
from tornado.web import Application, stream_request_body

from fwd_server.http1.server.limits import Refusal
from fwd_server.observe.hub import ObserverHub
from fwd_server.values import ids
from fwd_server.values.call import RequestEnd
from fwd_server.values.errors import GatewayError
from fwd_server.web.base import BaseHandler, not_found
from fwd_server.web.call_exchange import CallExchange, CallRoute, CallService
from fwd_server.web.guard import RequestContext, RequestGuard, is_loopback, too_large
from fwd_server.web.refusal import as_error, render_refused

DRAIN_BYTES: Final = 32 << 20
DRAIN_S: Final = 2.0
# Above every body: the application counts by itself, so that "too large" is an answer and not a cut connection.
UNLIMITED: Final = 1 << 62
_SLASHES: Final = re.compile(r"/{2,}")


class GatewayApplication(Application):
    """The application: ``calls`` by their exact paths, ``handlers`` for the rest."""

    def __init__(
        self,
        handlers: Iterable[URLSpec],
        guard: RequestGuard,
        hub: ObserverHub,
        calls: Mapping[str, CallRoute] | None = None,
        service: CallService | None = None,
        **settings: Any,
    ) -> None:
        routes = [*handlers, *(URLSpec(re.escape(path), CallPathHandler) for path in calls or ())]
        super().__init__(routes, default_handler_class=NotFoundHandler, **settings)
        # Tornado tries one regular expression after the other; a dictionary finds nearly every path at once.
        self._exact = {path: route for route in routes if (path := exact_path(route.regex.pattern)) is not None}
        self._guard = guard
        self._hub = hub
        self._calls = dict(calls or {})
        self._service = service
        self.admission = guard.admission
        self.cors = guard.cors

    # -- one request

    def start_request(self, server_conn: object, request_conn: httputil.HTTPConnection) -> httputil.HTTPMessageDelegate:
        """The delegate for a request; called by our server with the head at hand, by Tornado's before it is there."""
        # Only our own server reads the head before it asks for a delegate.
        head = getattr(request_conn, "head", None)
        if head is None:
            return _HeadWaiter(self, server_conn, request_conn)
        exchange = self.call_exchange(head.method, head.path, request_conn)
        return exchange or super().start_request(server_conn, request_conn)

    def call_exchange(
        self, method: str, path: str, connection: httputil.HTTPConnection, **stock: Any
    ) -> CallExchange | None:
        """The handler of a call; None for every other request."""
        route = self._calls.get(path) or self._calls.get(canonical_path(path))
        # Other methods on the path of a call get their 405 from an ordinary handler.
        if route is None or method != "POST" or self._service is None:
            return None
        return CallExchange(self._service, route, path, connection, **stock)

    def tornado_delegate(
        self, server_conn: object, request_conn: httputil.HTTPConnection
    ) -> httputil.HTTPMessageDelegate:
        """Tornado's own delegate for a request that is no call."""
        return super().start_request(server_conn, request_conn)

    def find_handler(self, request: httputil.HTTPServerRequest, **kwargs: Any) -> Any:
        """As Tornado's, which tries one pattern after the other; most paths are no patterns."""
        # Changed on the request itself, so that the route, the log line and the handler see one path (contract S3).
        request.path = canonical_path(request.path)
        route = self._exact.get(request.path)
        if route is None:
            return super().find_handler(request, **kwargs)
        return self.get_handler_delegate(request, route.handler_class, route.kwargs)

    def get_handler_delegate(
        self,
        request: httputil.HTTPServerRequest,
        target_class: type[Any],
        target_kwargs: dict[str, Any] | None = None,
        path_args: list[bytes] | None = None,
        path_kwargs: dict[str, bytes] | None = None,
    ) -> Any:
        """The delegate that serves a request, or the one that refuses it: called once the head is in."""
        headers, remote_ip = request.headers, request.remote_ip or ""
        request_id = ids.request_id(headers.get("x-request-id"))
        cors = self.cors.answer_headers(headers)
        peer = remote_ip
        try:
            # Before the key is looked for, because a browser sends a preflight without one.
            if self.cors.is_preflight(request.method, headers):
                target_class, target_kwargs, path_args, path_kwargs = PreflightHandler, {}, None, None
            peer = self._guard.peer_address(remote_ip, headers)
            needs_key = getattr(target_class, "needs_key", True)
            authenticated = self._guard.check_request(headers, peer, needs_key=needs_key)
            self._guard.check_body(headers, json=False)
        except GatewayError as error:
            return self.refusal_delegate(request, error, RequestContext(request_id, peer, cors=cors))
        caller = None if authenticated is None else authenticated.caller
        context = RequestContext(request_id, peer, caller, is_loopback(remote_ip), cors)
        connection: Any = request.connection
        # Tornado's own connections, which embedders may use, do not count who has authenticated.
        if caller is not None and hasattr(connection, "mark_authenticated"):
            connection.mark_authenticated()
        kwargs = {**(target_kwargs or {}), "context": context}
        delegate = super().get_handler_delegate(request, target_class, kwargs, path_args, path_kwargs)
        if caller is not None:
            self.admission.admit_call(request, self._guard.body_bound(headers))
        # Nothing to count: the request has no body.
        elif "Content-Length" not in headers and "Transfer-Encoding" not in headers:
            return delegate
        return _BodyCounter(
            delegate,
            self._guard.max_body,
            lambda error: self.refusal_delegate(request, error, context),
            lambda: self.admission.note_body_complete(request),
            lambda: self.admission.release_call(request),
        )

    def refusal_delegate(
        self, request: httputil.HTTPServerRequest, error: GatewayError, context: RequestContext
    ) -> httputil.HTTPMessageDelegate:
        """The delegate that answers with a failure."""
        return super().get_handler_delegate(request, RefusalHandler, {"error": error, "context": context})

    # -- what observers hear

    def log_request(self, handler: Any) -> None:
        """Tell the observers of a request that was no call."""
        request, context = handler.request, handler.context
        self._hub.request_ended(
            RequestEnd(
                id=context.id,
                status=handler.get_status(),
                # Cut, since a caller chooses both, and a log line must stay short.
                method=(request.method or "")[:20],
                path=request.path[:200],
                peer=context.peer,
                key=context.caller and context.caller.label,
                key_id=context.caller and context.caller.key_id,
                error=handler.error_code,
                total_ms=round(request.request_time() * 1000, 1),
            )
        )

    # No handler exists for a head that cannot be parsed, so the server asks for the bytes of the answer.
    def render_refusal(self, refusal: Refusal, remote_ip: str) -> tuple[list[tuple[str, str]], bytes]:
        """Headers and body for a request that never became one; the observers hear of it (contract T1, T37)."""
        error, request_id = as_error(refusal), ids.new_id("req_")
        self._hub.request_ended(RequestEnd(id=request_id, status=error.status, peer=remote_ip, error=error.code))
        return render_refused(error, request_id)


def canonical_path(path: str) -> str:
    """The path without doubled slashes, a slash at its end or a doubled version: programs join base URLs carelessly.

    Anthropic's append ``/v1/messages`` to a base URL, OpenAI's expect the ``/v1`` in it, and people mix them up.
    """
    if "//" in path or (path != "/" and path.endswith("/")):
        path = _SLASHES.sub("/", path).rstrip("/") or "/"
    return path[3:] if path.startswith("/v1/v1/") else path


def exact_path(pattern: str) -> str | None:
    """The one path that a route's pattern stands for; None where it stands for more."""
    bare = pattern.removesuffix("$")
    path = re.sub(r"\\(\W)", r"\1", bare)
    return path if re.escape(path) == bare else None


class _HeadWaiter(httputil.HTTPMessageDelegate):
    """Waits for the head of a request that Tornado's own server reads, and then passes it to whoever serves it."""

    def __init__(
        self, application: GatewayApplication, server_conn: object, connection: httputil.HTTPConnection
    ) -> None:
        self._application = application
        self._server_conn = server_conn
        self._connection = connection
        self._inner: httputil.HTTPMessageDelegate = httputil.HTTPMessageDelegate()
        self._head: Any = None

    def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> Awaitable[None] | None:
        self._head = (start_line, headers)
        path, _, _ = start_line.path.partition("?")
        exchange = self._application.call_exchange(start_line.method, path, self._connection, refuse=self._refuse_call)
        self._inner = exchange or self._application.tornado_delegate(self._server_conn, self._connection)
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()

    def _refuse_call(self, error: GatewayError, context: RequestContext) -> Awaitable[None] | None:
        """Tornado's server has to read what still comes of a body: a handler takes over that does."""
        start_line, headers = self._head  # only a call refuses, and only once it has its head
        request = httputil.HTTPServerRequest(
            connection=self._connection, server_connection=self._server_conn, start_line=start_line, headers=headers
        )
        self._inner = self._application.refusal_delegate(request, error, context)
        return self._inner.headers_received(start_line, headers)


class NotFoundHandler(BaseHandler):
    """Every path that leads nowhere."""

    needs_key = False

    def prepare(self) -> None:
        """Answer 404."""
        super().prepare()
        raise not_found(self.request)


class CallPathHandler(BaseHandler):
    """The path of a call, asked for in another way: only POST calls (``GatewayApplication.call_exchange``)."""

    allowed_methods = ("POST",)


class PreflightHandler(BaseHandler):
    """Answers a browser that asks, without a key, whether a page of another origin may call (contract T21)."""

    needs_key = False

    def options(self) -> None:
        """Say what is allowed."""
        for name, value in self.application.cors.preflight_headers(self.request.headers):
            self.set_header(name, value)
        self.set_status(204)
        self.finish()


@stream_request_body
class RefusalHandler(BaseHandler):
    """Answers with a failure.

    Our own server takes care that clients get to read it, whatever they still send. For Tornado's, what still
    comes of the body is thrown away first.
    """

    needs_key = False

    def initialize(self, error: GatewayError) -> None:
        """``error`` is the answer."""
        self._error = error
        self._drained = 0
        self._timer: asyncio.TimerHandle | None = None

    def prepare(self) -> None:
        """Answer now where no body follows, or none that is worth waiting for."""
        super().prepare()
        length = self.request.headers.get("Content-Length")
        chunked = "Transfer-Encoding" in self.request.headers
        waits = "Expect" in self.request.headers
        connection: Any = self.request.connection
        if hasattr(connection, "set_max_body_size"):
            connection.set_max_body_size(UNLIMITED)
        # Our own server reads on after a refusal by itself, so that the client is not reset while it still sends.
        lingers = hasattr(connection, "close_after_answer")
        # A client that expects 100 Continue has sent no body yet, so it reads the answer at once.
        if lingers or waits or not (chunked or int(length or 0)) or int(length or 0) > DRAIN_BYTES:
            self._send_refusal()  # to raise it costs more, and leaves a cycle to the garbage collector
        else:
            self._timer = asyncio.get_running_loop().call_later(DRAIN_S, self._send_refusal)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Throw a piece of the body away."""
        self._drained += len(chunk)
        if self._drained > DRAIN_BYTES:
            self._send_refusal()
        return None

    def _send_refusal(self) -> None:
        if not self._finished:
            self.send_error(exc_info=(type(self._error), self._error, None))

    async def _refuse_method(self, *_: Any, **__: Any) -> None:
        self._send_refusal()

    get = head = post = put = patch = delete = options = _refuse_method

    def on_finish(self) -> None:
        """The drain is over."""
        super().on_finish()
        if self._timer is not None:
            self._timer.cancel()


class _BodyCounter(httputil.HTTPMessageDelegate):
    """Counts a body while it comes; at the limit the refusal takes over from the handler (T4).

    ``complete`` is called when it is there; ``leave`` when the caller is gone before that, which no handler can tell.
    """

    def __init__(
        self,
        inner: Any,
        limit: int,
        refuse: Callable[[GatewayError], Any],
        complete: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        self._inner = inner
        self._limit = limit
        self._remaining = limit
        self._refuse = refuse
        self._complete = complete
        self._leave = leave
        self._head: Any = None

    def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> Awaitable[None] | None:
        self._head = (start_line, headers)
        waiting: Awaitable[None] | None = self._inner.headers_received(start_line, headers)
        return waiting

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._remaining -= len(chunk)
        waiting: Awaitable[None] | None
        # True for the first piece over the limit only; the refusal takes what still comes.
        if self._remaining < 0 <= self._remaining + len(chunk):
            self._inner.on_connection_close()
            self._inner = self._refuse(too_large(self._limit))
            waiting = self._inner.headers_received(*self._head)
        else:
            waiting = self._inner.data_received(chunk)
        return waiting

    def finish(self) -> None:
        self._complete()
        inner, self._inner = self._inner, None  # Tornado's delegate holds a copy of the body of its own
        inner.finish()

    def on_connection_close(self) -> None:
        self._leave()
        self._inner.on_connection_close()
