"""The door: what is checked from the head of a request, before anything of its body is kept (contract T4, T23, S3).

The checks run on the very object the router dispatched, so nothing can be decided about another route than the
one that serves.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from attrs import Factory, frozen
from tornado import httputil
from tornado.routing import URLSpec
from tornado.web import Application, stream_request_body

from fwd_server.observe import log
from fwd_server.values import ids
from fwd_server.values.call import Caller
from fwd_server.values.errors import BadRequest, GatewayError
from fwd_server.web.admission import AdmissionController
from fwd_server.web.base import BaseHandler, RequestContext, not_found

DRAIN_BYTES: Final = 32 << 20
DRAIN_S: Final = 2.0
# Above every body: the door counts by itself, so that "too large" is an answer and not a cut connection.
UNLIMITED: Final = 1 << 62

Authenticate = Callable[[httputil.HTTPHeaders, str], Caller]
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]{1,253})(?::(\d{1,5}))?", re.IGNORECASE)
_LOOPBACK_NAMES: Final = frozenset({"localhost", "ip6-localhost"})


@frozen
class HostGuard:
    """Which Host values are ours (T23: a page rebound to this address still sends its own name).

    Bound to loopback, the loopback names are; ``allowed`` adds names, and switches the check on for any other
    address (in lower case).
    """

    bound_to_loopback: bool
    allowed: frozenset[str] = frozenset()

    def check(self, host: str | None) -> None:
        """Raises BadRequest: 400 for no or no valid Host, 421 for one that is not ours."""
        match = _HOST.fullmatch(host or "")
        if match is None or int(match[2] or 0) > 65_535:
            raise BadRequest("The request needs exactly one valid Host header.", code="host_not_allowed")
        name = match[1].lower().rstrip(".")
        if name in self.allowed or (self.bound_to_loopback and is_loopback(name)):
            return
        if self.bound_to_loopback or self.allowed:
            raise BadRequest(
                f"This gateway does not answer for the host {name!r}. Add it to FWD_ALLOWED_HOSTS if it should.",
                status=421,
                code="host_not_allowed",
            )


@functools.lru_cache(maxsize=4096)
def is_loopback(host: str) -> bool:
    """Whether a host, as a name or an address, can only be this machine."""
    if host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@frozen
class RequestGuard:
    """What every request passes."""

    hosts: HostGuard
    authenticate: Authenticate
    peer: Callable[[httputil.HTTPServerRequest], str]
    max_body: int
    admission: AdmissionController = Factory(AdmissionController)

    def peer_address(self, request: httputil.HTTPServerRequest) -> str:
        """Where a request comes from. Raises GatewayError."""
        try:
            return self.peer(request)
        except Exception as error:
            raise _authentication_crashed(error) from error

    def check_request(
        self, request: httputil.HTTPServerRequest, handler: type[Any], request_id: str, peer: str
    ) -> RequestContext:
        """Who is there. Raises GatewayError: the first thing that is wrong, the key before the body.

        Whoever needs a key is turned away even before that when there is no room (R3): that costs least.
        """
        self.hosts.check(",".join(request.headers.get_list("Host")) or None)
        caller = None
        if getattr(handler, "needs_key", True):
            self.admission.check_room(self.body_bound(request))
            caller = self._caller(request, peer)
        self._check_body(request, handler)
        return RequestContext(request_id, peer, caller, is_loopback(request.remote_ip or ""))

    def body_bound(self, request: httputil.HTTPServerRequest) -> int:
        """How long the body of a request can be, in bytes."""
        if "Transfer-Encoding" in request.headers:
            return self.max_body
        return min(int(request.headers.get("Content-Length") or 0), self.max_body)

    def _caller(self, request: httputil.HTTPServerRequest, peer: str) -> Caller:
        try:
            return self.authenticate(request.headers, peer)
        except GatewayError:
            raise
        except Exception as error:
            raise _authentication_crashed(error) from error

    def _check_body(self, request: httputil.HTTPServerRequest, handler: type[Any]) -> None:
        headers = request.headers
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise BadRequest("The body must not be compressed.", status=415, code="unsupported_media_type")
        if request.method == "POST" and getattr(handler, "takes_json", False):
            media = headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if media != "application/json":
                raise BadRequest(
                    f"The content type must be application/json, not {media[:80]!r}.",
                    status=415,
                    code="unsupported_media_type",
                )
        if int(headers.get("Content-Length") or 0) > self.max_body:
            raise too_large(self.max_body)


def _authentication_crashed(error: Exception) -> GatewayError:
    """A bug on the way to who is calling: said in the log by kind and place, for its text may quote the key (S5)."""
    bug = RuntimeError(type(error).__name__)
    log.app.error("A bug: a key could not be checked.", exc_info=(RuntimeError, bug, error.__traceback__))
    return GatewayError("The key cannot be checked now.", 503, code="internal")


def too_large(limit: int) -> BadRequest:
    """A body over the limit."""
    return BadRequest(
        f"The body is larger than {limit} bytes, the most this gateway takes.", status=413, code="request_too_large"
    )


class GatewayApplication(Application):
    """Tornado's application behind our door. ``line`` writes the log line of a request that was no call."""

    def __init__(self, handlers: Iterable[URLSpec], guard: RequestGuard, **settings: Any) -> None:
        routes = list(handlers)
        super().__init__(routes, default_handler_class=NotFoundHandler, **settings)
        self._exact = {path: route for route in routes if (path := exact_path(route.regex.pattern)) is not None}
        self._guard = guard
        self.admission = guard.admission

    def find_handler(self, request: httputil.HTTPServerRequest, **kwargs: Any) -> Any:
        """As Tornado's, which tries one pattern after the other; most paths are no patterns."""
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
        request_id = ids.request_id(request.headers.get("x-request-id"))
        peer = request.remote_ip or ""
        try:
            peer = self._guard.peer_address(request)
            context = self._guard.check_request(request, target_class, request_id, peer)
        except GatewayError as error:
            return self._refusal(request, error, RequestContext(request_id, peer))
        connection: Any = request.connection
        if context.caller is not None and hasattr(connection, "mark_authenticated"):
            connection.mark_authenticated()
        kwargs = {**(target_kwargs or {}), "context": context}
        delegate = super().get_handler_delegate(request, target_class, kwargs, path_args, path_kwargs)
        if context.caller is not None:
            self.admission.admit(request, self._guard.body_bound(request))
        elif "Content-Length" not in request.headers and "Transfer-Encoding" not in request.headers:
            return delegate
        return _BodyCounter(
            delegate,
            self._guard.max_body,
            lambda error: self._refusal(request, error, context),
            lambda: self.admission.note_body_complete(request),
            lambda: self.admission.release_call(request),
        )

    def _refusal(self, request: httputil.HTTPServerRequest, error: GatewayError, context: RequestContext) -> Any:
        return super().get_handler_delegate(request, RefusalHandler, {"error": error, "context": context})

    def log_request(self, handler: Any) -> None:
        """One line a request; a call has written its own from its outcome."""
        if not handler.reported:
            log.request_line(request_log_fields(handler))


def exact_path(pattern: str) -> str | None:
    """The one path that a route's pattern stands for; None where it stands for more."""
    bare = pattern.removesuffix("$")
    path = re.sub(r"\\(\W)", r"\1", bare)
    return path if re.escape(path) == bare else None


def request_log_fields(handler: BaseHandler) -> dict[str, Any]:
    """What the line of a request that was no call holds. The query stays out of it (S13)."""
    request, context = handler.request, handler.context
    fields = {
        "id": context.id,
        "key": context.caller and (context.caller.name or context.caller.shown),
        "peer": context.peer,
        "status": handler.get_status(),
        "method": (request.method or "")[:20],
        "path": request.path[:200],
        "error": handler.error_code,
        "total_ms": round(request.request_time() * 1000, 1),
    }
    return {name: value for name, value in fields.items() if value}


class NotFoundHandler(BaseHandler):
    """Every path that leads nowhere."""

    needs_key = False

    def prepare(self) -> None:
        """Say so."""
        super().prepare()
        raise not_found(self.request)


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
        lingers = hasattr(connection, "close_after_answer")
        if lingers or waits or not (chunked or int(length or 0)) or int(length or 0) > DRAIN_BYTES:
            self._answer()  # to raise it costs more, and leaves a cycle to the garbage collector
        else:
            self._timer = asyncio.get_running_loop().call_later(DRAIN_S, self._answer)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Throw a piece of the body away."""
        self._drained += len(chunk)
        if self._drained > DRAIN_BYTES:
            self._answer()
        return None

    def _answer(self) -> None:
        if not self._finished:
            self.send_error(exc_info=(type(self._error), self._error, None))

    async def _refuse(self, *_: Any, **__: Any) -> None:
        self._answer()

    get = head = post = put = patch = delete = options = _refuse

    def on_finish(self) -> None:
        """The drain is over."""
        super().on_finish()
        if self._timer is not None:
            self._timer.cancel()


class _BodyCounter(httputil.HTTPMessageDelegate):
    """Counts a body while it comes; at the limit the refusal takes over from the handler (T4).

    ``arrived`` is called when it is there; ``leave`` when the caller is gone before that, which no handler can tell.
    """

    def __init__(
        self,
        inner: Any,
        limit: int,
        refuse: Callable[[GatewayError], Any],
        arrived: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        self._inner = inner
        self._limit = limit
        self._left = limit
        self._refuse = refuse
        self._arrived = arrived
        self._leave = leave
        self._head: Any = None

    def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> Awaitable[None] | None:
        self._head = (start_line, headers)
        found: Awaitable[None] | None = self._inner.headers_received(start_line, headers)
        return found

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._left -= len(chunk)
        if self._left < 0 <= self._left + len(chunk):
            self._inner.on_connection_close()
            self._inner = self._refuse(too_large(self._limit))
            found: Awaitable[None] | None = self._inner.headers_received(*self._head)
            return found
        again: Awaitable[None] | None = self._inner.data_received(chunk)
        return again

    def finish(self) -> None:
        self._arrived()
        inner, self._inner = self._inner, None  # Tornado's delegate holds a copy of the body of its own
        inner.finish()

    def on_connection_close(self) -> None:
        self._leave()
        self._inner.on_connection_close()
