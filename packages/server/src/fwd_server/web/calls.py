"""What the handlers of calls share: from a request's head to a ``Call``, and the end of every one of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Final

import orjson
from attrs import frozen
from tornado.iostream import StreamClosedError

from fwd_server.clock import Clock
from fwd_server.gateway.gateway import Gateway
from fwd_server.upstream.loop_guard import HEADER, LoopGuard
from fwd_server.values.call import Call, Caller
from fwd_server.values.chat import ChatRequest
from fwd_server.values.embeddings import EmbeddingsRequest
from fwd_server.values.errors import BadRequest, GatewayError, UpstreamError, upstream_failure
from fwd_server.values.record import CallRecord
from fwd_server.web.base import BaseHandler
from fwd_server.web.receipt import fact_headers

_FLAG: Final = {"": False, **dict.fromkeys(("false", "0", "no"), False), **dict.fromkeys(("true", "1", "yes"), True)}
_FALLBACK: Final = {"": True, "none": False}
# The headers that ask for less time, written as Tornado keeps them, and what each is called in ``Timeouts``.
_TIMES: Final = {
    "X-Fwd-Connect-Timeout": "connect_s",
    "X-Fwd-First-Byte-Timeout": "first_byte_s",
    "X-Fwd-First-Event-Timeout": "first_event_s",
    "X-Fwd-Idle-Timeout": "idle_s",
    "X-Fwd-Timeout": "total_s",
}


@frozen
class CallTimes:
    """Times of a call in seconds: the longest it may ask for, and the silence before a keep-alive (0: none)."""

    total_s: float = 600.0
    keepalive_s: float = 15.0


class CallHandler(BaseHandler):
    """Serves one operation; what it is, its subclass says in ``serve``."""

    takes_json = True

    def initialize(self, gateway: Gateway, clock: Clock, times: CallTimes, loop_guard: LoopGuard) -> None:
        """What it works with."""
        self.gateway = gateway
        self.clock = clock
        self.times = times
        self.loop_guard = loop_guard
        self.record: CallRecord | None = None
        self.ending: UpstreamError | None = None

    async def post(self) -> None:
        """Answer a call; when the caller leaves, end quietly, for nobody listens."""
        self.task = asyncio.current_task()
        try:
            await self.serve()
        except asyncio.CancelledError:
            if self.disconnected:
                return
            if self.ending is None:
                raise
            self.end(self.ending)
        except StreamClosedError:
            self.disconnected = True

    async def serve(self) -> None:
        """Read the call, have it answered, write the answer. Raises GatewayError."""
        raise NotImplementedError

    def take_body(self) -> bytes:
        """The body, once: what was read of it is kept, and not this as well (contract D13)."""
        body, self.request.body = self.request.body, b""
        return body

    def begin(self, request: ChatRequest | EmbeddingsRequest) -> CallRecord | None:
        """The trip of a call; None when only the plan was wanted, which is then the answer."""
        call = self.call(request)
        if self._header_choice("x-fwd-dry-run", _FLAG, "true or false"):
            self.write_json(orjson.dumps(self.gateway.plan_dry_run(call)))
            return None
        self.record = self.gateway.open_record(call)
        self.reported = True
        return self.record

    def call(self, request: ChatRequest | EmbeddingsRequest) -> Call:
        """The call that a request and its head make together. Raises BadRequest."""
        headers = self.request.headers
        requested_timeouts = self._requested_timeouts()
        return Call(
            id=self.context.id,
            caller=self.context.caller or Caller(),
            request=request,
            deadline_s=min(requested_timeouts.pop("total_s", math.inf), self.times.total_s),
            strict=self._header_choice("x-fwd-strict", _FLAG, "true or false"),
            fallback=self._header_choice("x-fwd-fallback", _FALLBACK, "none"),
            retry_count=_whole(headers.get("x-stainless-retry-count") or headers.get("x-fwd-retry-count")),
            peer=self.context.peer,
            queued_ms=self.request.request_time() * 1000,
            via=self.loop_guard.check_incoming(headers.get(HEADER)),
            requested_timeouts=requested_timeouts,
        )

    def _header_choice(self, name: str, meanings: Mapping[str, bool], allowed: str) -> bool:
        """What a header means. Raises BadRequest: a misspelled dry run must not become a call that costs money."""
        given = self.request.headers.get(name, "").lower()
        if given not in meanings:
            raise BadRequest(f"Invalid value for '{name}': {given[:40]!r}; {allowed} is allowed.", param=name)
        return meanings[given]

    def _requested_timeouts(self) -> dict[str, float]:
        """The times the caller asks for, in seconds; few do, so the headers are looked through once."""
        headers = self.request.headers
        if _TIMES.keys().isdisjoint(headers):
            return {}
        return {time: _seconds(name, headers[name]) for name, time in _TIMES.items() if name in headers}

    # -- the ends

    def end(self, error: GatewayError) -> None:
        """A failure has a status of its own, unless the head is already out."""
        if not self._headers_written:
            raise error
        self.break_off(error)

    def break_off(self, error: GatewayError) -> None:
        """A failure when the head is already out; for operations that stream."""
        raise error

    def shut_down(self) -> None:
        """The gateway stops and waits no longer: end what runs, and say so (contract D14)."""
        self.ending = upstream_failure("shutdown")
        if self.record is not None:
            self.record.error, self.record.broke_midstream = self.ending, self._headers_written
        if self.task is not None:
            self.task.cancel()

    # -- what every answer says about itself

    def failed_with(self, error: GatewayError) -> None:
        """Say who was asked, also when nobody answered."""
        if self.record is not None:
            self.set_facts(self.record)

    def set_facts(self, record: CallRecord) -> None:
        """Put the receipt into the headers; its values are plain, so they need not be looked at one by one."""
        headers = self._headers
        for name, value in fact_headers(record, self.clock.monotonic()):
            headers[name] = value


def _seconds(name: str, given: str) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        name = name.lower()
        allowed = "a number of seconds above 0 is allowed"
        raise BadRequest(f"Invalid value for {name!r}: {given[:40]!r}; {allowed}.", param=name)
    return seconds


def _whole(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 4 else None
