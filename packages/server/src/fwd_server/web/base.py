"""What every handler does: an id and the safe headers on each answer, errors in one shape, one log line.

A handler needs a key unless it says ``needs_key = False`` (contract S3: default deny), gets what it works with
through ``initialize``, and is given the ``RequestContext`` that the application checked before it read any body.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, ClassVar, Final

from tornado import httputil
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler

from fwd_server.callers.error_language import language_of
from fwd_server.observe import log
from fwd_server.values import ids
from fwd_server.values.errors import BadRequest, GatewayError, internal_error
from fwd_server.web.answers import SAFE_HEADERS, http_date
from fwd_server.web.guard import RequestContext

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class BaseHandler(RequestHandler):
    """The base of every handler. Keep handlers thin: this class is wide enough already."""

    needs_key: ClassVar[bool] = True
    allowed_methods: ClassVar[tuple[str, ...]] = ()  # besides those it implements

    def __init__(self, application: Any, request: httputil.HTTPServerRequest, **kwargs: Any) -> None:
        self.context: RequestContext = kwargs.pop("context", None) or RequestContext(
            ids.request_id(request.headers.get("x-request-id"))
        )
        self.task: asyncio.Task[None] | None = None
        self.disconnected = False
        self.error_code: str | None = None
        self.application: Any = application
        super().__init__(application, request, **kwargs)

    # Tornado calls this for every request and after every error.
    def clear(self) -> None:
        """As Tornado's, without naming the server, and with a date that is written once a second.

        It sets a private attribute of Tornado, because the public way costs three times as much on every answer; a test
        compares the two.
        """
        self._headers = httputil.HTTPHeaders()
        self._headers["Content-Type"] = "text/html; charset=UTF-8"
        self._headers["Date"] = http_date(int(time.time()))[len("Date: ") :].strip()
        self.set_default_headers()
        self._write_buffer: list[bytes] = []
        self._status_code = 200
        self._reason = "OK"

    def set_default_headers(self) -> None:
        """The headers of every answer; also after an error has cleared what was set."""
        headers = self._headers
        headers["X-Request-Id"] = self.context.id
        for name, value in SAFE_HEADERS:
            headers[name] = value
        for name, value in self.context.cors:
            headers[name] = value
        if not self.application.admission.keeps_connections:
            headers["Connection"] = "close"

    def compute_etag(self) -> None:
        """No answer is ever cached, so none has a tag."""

    def check_xsrf_cookie(self) -> None:
        """No cookies, so nothing to forge: a key in a header is needed for all that changes anything (T22)."""

    async def head(self, *args: Any, **kwargs: Any) -> None:
        """As GET, without a body."""
        result = self.get(*args, **kwargs)
        if result is not None:
            await result

    def write_json(self, body: bytes) -> None:
        """Answer with JSON."""
        self.set_header("Content-Type", "application/json")
        self.finish(body)

    def prepare(self) -> None:
        """Count among what runs, so that a stop can wait for it."""
        self.application.admission.add_running(self)

    def shut_down(self) -> None:
        """The gateway stops and waits no longer; for handlers that can say so to their caller."""

    def on_connection_close(self) -> None:
        """The caller is gone: so is the work for it, down to the upstream's connection (S19, T7)."""
        self.disconnected = True
        self._release()
        if self.task is not None:
            self.task.cancel()

    def on_finish(self) -> None:
        """The task is no longer this request's to cancel."""
        self.task = None
        self._release()

    def _release(self) -> None:
        self.application.admission.discard_running(self)
        self.application.admission.release_call(self.request)

    # -- errors

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every failure in the one shape of errors.py."""
        error = as_gateway_error(status_code, kwargs.get("exc_info"), self)
        # By path and headers, since there may be no request that could be read.
        language = language_of(self.request.path, self.request.headers)
        self.set_status(language.status_of(error))
        for name in language.id_headers:
            self.set_header(name, self.context.id)
        for name, value in error.all_headers():
            self.set_header(name, value)
        self.error_code = error.code or error.type
        self.write_json(language.render_error(error, self.context.id))

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """As Tornado's, with the status of a GatewayError, whose number it cannot know."""
        error = kwargs.get("exc_info", (None, None))[1]
        super().send_error(error.status if isinstance(error, GatewayError) else status_code, **kwargs)

    def log_exception(
        self, typ: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Only what is a bug of ours is worth more than the request's own line."""
        if not isinstance(value, (GatewayError, HTTPError, StreamClosedError, asyncio.CancelledError)):
            log.app.error("Bug: request %s failed.", self.context.id, exc_info=(typ, value, tb))  # type: ignore[arg-type]


def as_gateway_error(status: int, exc_info: ExcInfo | None, handler: RequestHandler) -> GatewayError:
    """What Tornado, or a bug, raised as one of our own failures."""
    error = exc_info[1] if exc_info else None
    if isinstance(error, GatewayError):
        return error
    if status == 404:
        return not_found(handler.request)
    if status == 405:
        return _method_not_allowed(handler)
    if status < 500:
        return BadRequest("The request is not valid HTTP for this path.", status=status)
    return internal_error()


# What the SDKs have methods for, and the gateway does not serve.
_LATER: Final = {
    "/v1/images/": "Images",
    "/v1/audio/": "Speech and transcriptions",
    "/v1/moderations": "Moderations",
    "/v1/messages/batches": "Batches",
    "/v1/batches": "Batches",
    "/v1/files": "Files",
    "/v1/uploads": "Uploads",
    "/v1/rerank": "Rankings",
    "/v2/rerank": "Rankings",
    "/v1/realtime": "Realtime sessions",
    "/v1/conversations": "Stored conversations",
    "/v1/responses": "Responses",
    "/v1/completions": "Legacy completions",
}


def not_found(request: httputil.HTTPServerRequest) -> GatewayError:
    """A path that leads nowhere, or to something that is not served yet."""
    later = next((words for begins, words in _LATER.items() if request.path.startswith(begins)), None)
    if later is not None:
        return BadRequest(
            f"{later} are not served yet. Chat completions, embeddings and Messages are; see /docs.",
            status=404,
            code="not_found",
        )
    return BadRequest(
        f"There is nothing at {request.path[:200]!r}. The API is under /v1; it is described at /docs.",
        status=404,
        code="not_found",
    )


def _method_not_allowed(handler: RequestHandler) -> GatewayError:
    allowed = [name for name in ("GET", "POST") if _implements_method(handler, name)]
    allowed += getattr(handler, "allowed_methods", ())
    allowed += ["HEAD"] if "GET" in allowed else []
    return BadRequest(
        f"{handler.request.method} is not allowed here; allowed: {', '.join(allowed) or 'nothing'}.",
        status=405,
        code="method_not_allowed",
        headers=(("Allow", ", ".join(allowed)),),
    )


def _implements_method(handler: RequestHandler, method: str) -> bool:
    name = method.lower()
    return getattr(type(handler), name) is not getattr(RequestHandler, name)
