"""``POST /v1/chat/completions``: a call in, an answer out, whole or in pieces."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final

import orjson
from attrs import frozen
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError

from fwd_server.call import Call, Caller
from fwd_server.chat import ChatRequest, Chunk, End, Json, StreamEvent
from fwd_server.clock import Clock
from fwd_server.dialects import openai_chat
from fwd_server.errors import BadRequest, GatewayError, UpstreamError, broken
from fwd_server.gateway import Gateway, LiveAnswer
from fwd_server.ledger import Trip
from fwd_server.web.base import BaseHandler

_TRUE: Final = frozenset({"true", "1", "yes"})


@frozen
class ChatTimes:
    """Times of a call in seconds: the longest it may ask for, and the silence before a keep-alive (0: none)."""

    total_s: float = 600.0
    keepalive_s: float = 15.0


class ChatHandler(BaseHandler):
    """Serves chat completions."""

    takes_json = True

    def initialize(self, gateway: Gateway, clock: Clock, times: ChatTimes) -> None:
        """What it works with."""
        self.gateway = gateway
        self.clock = clock
        self.times = times
        self.trip: Trip | None = None
        self.ending: UpstreamError | None = None

    async def post(self) -> None:
        """Answer a call; when the caller leaves, end quietly, for nobody listens."""
        self.task = asyncio.current_task()
        try:
            await self._serve()
        except asyncio.CancelledError:
            if self.gone:
                return
            if self.ending is None:
                raise
            self._end(self.ending)
        except StreamClosedError:
            self.gone = True

    async def _serve(self) -> None:
        request = openai_chat.parse_request(self.request.body)
        call = self._call(request)
        if self.request.headers.get("x-fwd-dry-run", "").lower() in _TRUE:
            self.write_json(orjson.dumps(self.gateway.rehearse(call)))
            return
        self.trip = self.gateway.begin(call)
        self.reported = True
        if request.stream:
            await self._stream(self.trip, request)
        else:
            response = await self.gateway.complete(self.trip)
            self._set_facts(self.trip)
            self.write_json(openai_chat.render_response(response, request))

    def _call(self, request: ChatRequest) -> Call:
        headers = self.request.headers
        return Call(
            id=self.visit.id,
            caller=self.visit.caller or Caller(),
            request=request,
            deadline_s=self._deadline(headers.get("x-fwd-timeout")),
            strict=headers.get("x-fwd-strict", "").lower() in _TRUE,
            fallback=headers.get("x-fwd-fallback", "").lower() != "none",
            retry_count=_whole(headers.get("x-stainless-retry-count") or headers.get("x-fwd-retry-count")),
            peer=self.visit.peer,
        )

    def _deadline(self, given: str | None) -> float:
        if given is None:
            return self.times.total_s
        try:
            seconds = float(given)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise BadRequest(
                f"Invalid value for 'x-fwd-timeout': {given[:40]!r}; a number of seconds above 0 is allowed.",
                param="x-fwd-timeout",
            )
        return min(seconds, self.times.total_s)

    # -- a stream

    async def _stream(self, trip: Trip, request: ChatRequest) -> None:
        beat = _Heartbeat(self, self.times.keepalive_s)
        try:
            async with self.gateway.stream(trip) as live:
                if self._headers_written:
                    self.write(openai_chat.render_comment(facts(trip)))
                else:
                    self._begin(trip)
                await self._relay(live, request, beat)
        except GatewayError as error:
            self._end(error)
        finally:
            beat.stop()

    def _begin(self, trip: Trip | None) -> None:
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-cache, no-store")
        self.set_header("X-Accel-Buffering", "no")
        if trip is not None:
            self._set_facts(trip)

    async def _relay(self, live: LiveAnswer, request: ChatRequest, beat: _Heartbeat) -> None:
        last: StreamEvent | None = None
        while last is None:
            batch = await live.next()
            frames = [openai_chat.render_chunk(event, request) for event in batch if isinstance(event, Chunk)]
            if not isinstance(batch[-1], Chunk):
                last = batch[-1]
            if any(frames):
                beat.heard()
                self.write(b"".join(frames))
                await self.flush()
        if isinstance(last, End):
            self._finish_stream(live.trip)
        elif isinstance(last, UpstreamError):
            self._break_off(last)

    def _finish_stream(self, trip: Trip) -> None:
        self.write(openai_chat.render_comment(facts(trip, self.clock.monotonic())) + openai_chat.DONE)
        self.finish()

    def _end(self, error: GatewayError) -> None:
        """A failure has a status of its own, unless the head is already out."""
        if not self._headers_written:
            raise error
        self._break_off(error)

    def _break_off(self, error: GatewayError) -> None:
        """The failure as an event, no ``[DONE]``, and the end of the connection (contract G5)."""
        close_after(self.request)
        self.write(openai_chat.render_error_event(error))
        self.finish()

    def keep_alive(self) -> None:
        """A sign of life while the provider thinks; the head goes out with the first (contract 3a)."""
        if self.gone or self._finished:
            return
        if not self._headers_written:
            self._begin(None)
        self.write(openai_chat.KEEP_ALIVE)
        self.flush()

    def shut_down(self) -> None:
        """The gateway stops and waits no longer: end what runs, and say so (contract D14)."""
        self.ending = broken("shutdown")
        if self.trip is not None:
            self.trip.error, self.trip.broke = self.ending, self._headers_written
        if self.task is not None:
            self.task.cancel()

    # -- what every answer says about itself

    def failed_with(self, error: GatewayError) -> None:
        """Say who was asked, also when nobody answered."""
        if self.trip is not None:
            self._set_facts(self.trip)

    def _set_facts(self, trip: Trip) -> None:
        for name, value in fact_headers(trip, self.clock.monotonic()):
            self.set_header(name, value)


class _Heartbeat:
    """Calls ``handler.keep_alive`` after every ``seconds`` of silence; 0 turns it off."""

    def __init__(self, handler: ChatHandler, seconds: float) -> None:
        self._handler = handler
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._timer = self._loop.call_later(seconds, self._beat) if seconds > 0 else None

    def heard(self) -> None:
        """Something was sent just now."""
        self._last = self._loop.time()

    def stop(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        due = self._last + self._seconds
        if self._loop.time() >= due:
            self._handler.keep_alive()
            self._last = self._loop.time()
            due = self._last + self._seconds
        self._timer = self._loop.call_at(due, self._beat)


def close_after(request: HTTPServerRequest) -> None:
    """Close the connection once this answer is out, though its head did not say so.

    Tornado decides about this when it writes the head, and has no public way to change its mind.
    """
    connection: Any = request.connection
    connection._disconnect_on_finish = True


def fact_headers(trip: Trip, now: float) -> list[tuple[str, str]]:
    """The receipt of a call as headers (design: *Headers of a call*)."""
    found = [
        ("x-fwd-provider", trip.provider),
        ("x-fwd-model", trip.model),
        ("x-fwd-attempts", str(len(trip.attempts))),
        ("x-fwd-dropped", ",".join(trip.dropped)),
        ("x-fwd-upstream-request-id", trip.upstream_request_id),
        ("server-timing", ", ".join(f"{name};dur={ms}" for name, ms in timings(trip, now).items())),
        *trip.passed,
    ]
    return [(name, value) for name, value in found if value]


def facts(trip: Trip, now: float | None = None) -> Json:
    """The same as an object, for the comment in a stream; with ``now`` its end is included."""
    said: dict[str, Any] = {
        "request_id": trip.call.id,
        "provider": trip.provider,
        "model": trip.model,
        "attempts": len(trip.attempts),
        "dropped": list(trip.dropped) or None,
        "upstream_request_id": trip.upstream_request_id,
        "timings": None if now is None else timings(trip, now),
        "usage": None if now is None else _usage(trip),
    }
    return {name: value for name, value in said.items() if value is not None}


def _usage(trip: Trip) -> Json | None:
    usage = trip.settled_usage()
    if usage is None:
        return None
    return {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion, "estimated": usage.estimated}


def timings(trip: Trip, now: float) -> dict[str, float]:
    """Milliseconds from the call's start: the last attempt's own time, the first content, and all of it."""
    found = {
        "attempt": trip.attempts[-1].ms if trip.attempts else None,
        "first": None if trip.first is None else (trip.first - trip.started) * 1000,
        "total": (now - trip.started) * 1000,
    }
    return {name: round(ms, 1) for name, ms in found.items() if ms is not None}


def _whole(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 4 else None
