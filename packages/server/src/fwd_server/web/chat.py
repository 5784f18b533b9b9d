"""``POST /v1/chat/completions``: a call in, an answer out, whole or in pieces."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

from tornado.httputil import HTTPConnection, HTTPServerRequest

from fwd_server.callers.base import StreamWriter
from fwd_server.callers.openai_chat import OPENAI_CHAT, OpenAIStreamWriter
from fwd_server.values.chat import ChatRequest, Chunk, StreamEvent
from fwd_server.values.errors import GatewayError, UpstreamError, internal_error
from fwd_server.values.record import CallRecord
from fwd_server.web.calls import CallHandler
from fwd_server.web.receipt import receipt_facts


class ChatHandler(CallHandler):
    """Serves chat completions."""

    async def serve(self) -> None:
        """Read the call, have it answered, write the answer or relay it as it comes."""
        request = OPENAI_CHAT.parse(self.take_body())
        if request.stream:
            self.application.admission.check_stream()
        record = self.begin(request)
        if record is None:
            return
        if request.stream:
            await self._stream(record, request)
        else:
            response = await self.gateway.complete(record)
            self.set_facts(record)
            self.write_json(OPENAI_CHAT.render(response, request))

    # -- a stream

    async def _stream(self, record: CallRecord, request: ChatRequest) -> None:
        self.writer: StreamWriter = OpenAIStreamWriter(request)
        beat = _Heartbeat(self, self.times.keepalive_s)
        try:
            async with self.gateway.stream(record) as live:
                if self._headers_written:
                    self.write(self.writer.write_receipt(receipt_facts(record)))
                    self.flush()
                else:
                    self._begin(record)
                last = await live.flow(partial(self._relay, beat))
                if isinstance(last, UpstreamError):
                    self.break_off(last)
                else:
                    self._finish_stream(record)
        except GatewayError as error:
            self.end(error)
        finally:
            beat.stop()

    def _begin(self, record: CallRecord | None) -> None:
        self.set_header("Content-Type", self.writer.content_type)
        self.set_header("Cache-Control", "no-cache, no-store")
        self.set_header("X-Accel-Buffering", "no")
        if record is not None:
            self.set_facts(record)

    def _relay(self, beat: _Heartbeat, batch: list[StreamEvent]) -> asyncio.Future[None] | None:
        """Send what can be sent of some events; the future is done once the caller has taken enough."""
        frames = self.writer.write_chunks([event for event in batch if isinstance(event, Chunk)])
        if not frames:
            return None
        beat.heard()
        if not self._headers_written:
            self.write(frames)
            return self.flush()
        return cast(HTTPConnection, self.request.connection).write(frames)

    def _finish_stream(self, record: CallRecord) -> None:
        self.write(self.writer.write_end(receipt_facts(record, self.clock.monotonic())))
        self.finish()

    def break_off(self, error: GatewayError) -> None:
        """The failure as an event, no ``[DONE]``, and the end of the connection (contract G5)."""
        close_after(self.request)
        self.write(self.writer.write_error(error))
        self.finish()

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """As everywhere; a bug after the head is told as any other failure, for Tornado's end would look good."""
        if self._headers_written and not self._finished:
            self.break_off(internal_error())
        else:
            super().send_error(status_code, **kwargs)

    def keep_alive(self) -> None:
        """A sign of life while the provider thinks; the head goes out with the first (contract 3a)."""
        if self.disconnected or self._finished:
            return
        if not self._headers_written:
            self._begin(None)
        self.write(self.writer.write_keep_alive())
        self.flush()


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

    Tornado's own server, which tests and embedders may use, has no public way to change its mind about this.
    """
    connection: Any = request.connection
    if hasattr(connection, "close_after_answer"):
        connection.close_after_answer()
    else:
        connection._disconnect_on_finish = True
