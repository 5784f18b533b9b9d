"""A stream that has committed, from the upstream's callback to whoever sends it: no task and no future for a chunk.

An ``Exchange`` of the connection pool hands over each piece as it is read. It is decoded and given on in that same
callback, so it reaches the caller's socket before the loop turns to anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from attrs import define

from fwd_server.providers.base import StreamDecoder
from fwd_server.timer_wheel import WheelTimer, wheel_of
from fwd_server.upstream.send import UpstreamResponse
from fwd_server.values.chat import Chunk, End, StreamEvent
from fwd_server.values.errors import UpstreamError, upstream_failure

# Sends events; a future that is not done asks for no more until it is.
EventSink = Callable[[list[StreamEvent]], "asyncio.Future[None] | None"]


@define
class CommittedStream:
    """The events read so far, and the rest as it comes.

    ``decoder`` is None where ``head`` is all there is. ``ended`` is told how it ended: with the failure, or None for
    a good end; ``closed`` that nobody reads it any more, once.
    """

    response: UpstreamResponse
    decoder: StreamDecoder | None
    head: list[StreamEvent]
    ended: Callable[[UpstreamError | None], None] = lambda error: None
    closed: Callable[[], None] = lambda: None
    _timer: WheelTimer | None = None
    _expired: bool = False
    _sink: EventSink = lambda batch: None
    _last_event: asyncio.Future[End | UpstreamError] | None = None

    def end_after(self, seconds: float) -> None:
        """End after ``seconds``, however much still comes (F28)."""
        self._timer = wheel_of(asyncio.get_running_loop()).call_later(seconds, self._on_deadline)

    async def deliver_events(self, sink: EventSink) -> End | UpstreamError:
        """Hand ``take`` the events as they come; the very last is an End or an UpstreamError, always, and returned.

        Raises what ``take`` raises, or the future it returned; and what a decoder should never raise.
        """
        self._sink = sink
        last: asyncio.Future[End | UpstreamError] = asyncio.get_running_loop().create_future()
        self._last_event = last
        self._deliver_batch(self.head)
        # The head may hold the whole answer, for example a JSON body that was unfolded.
        if not last.done():
            self.response.start_reading(self._on_data, self._on_end)
        return await last

    def close(self) -> None:
        """Let go of the upstream: at once, if it has not finished."""
        if self._timer is not None:
            self._timer.cancel()
        if self._has_ended_well():
            self.response.await_end()
        else:
            self.response.close()
        self.closed()

    def _has_ended_well(self) -> bool:
        last = self._last_event
        if last is None or not last.done() or last.cancelled() or last.exception() is not None:
            return False
        return isinstance(last.result(), End)

    def _on_data(self, data: bytes) -> None:
        if self.decoder is not None:
            try:
                self._deliver_batch(self.decoder.feed(data))
            except Exception as error:  # noqa: BLE001 - it is raised where the end is waited for
                self._on_bug(error)

    def _on_end(self, error: UpstreamError | None) -> None:
        """The body has ended, or broke."""
        try:
            if error is not None:
                self._deliver_batch([self._as_midstream_error(error)])
            elif self.decoder is not None:
                self._deliver_batch(self.decoder.close() or [upstream_failure("upstream_truncated")])
        except Exception as bug:  # noqa: BLE001 - as above
            self._on_bug(bug)

    def _on_bug(self, bug: Exception) -> None:
        """Fail the call for a bug in this code. Raised from a callback it would end up in the pool."""
        self.response.close()
        if self._last_event is not None and not self._last_event.done():
            self._last_event.set_exception(bug)

    def _deliver_batch(self, batch: list[StreamEvent]) -> None:
        """Hand events on; what still comes after the last one, or after a failure to take one, is nobody's."""
        waiting = self._last_event
        if not batch or waiting is None or waiting.done():
            return
        last = batch[-1]
        # A decoder gives nothing after its End or error, so the last event of a batch tells which kind of batch it is.
        if isinstance(last, Chunk):
            self._pause_until(self._sink(batch))
            return
        # Told before the last event goes out, so that health is up to date when the caller asks again.
        self.ended(last if isinstance(last, UpstreamError) else None)
        self._sink(batch)
        waiting.set_result(last)

    def _pause_until(self, taken: asyncio.Future[None] | None) -> None:
        """Read no more before the caller has taken enough (contract R4)."""
        if taken is not None and not taken.done():
            self.response.pause()
            taken.add_done_callback(self._resume_reading)

    def _resume_reading(self, taken: asyncio.Future[None]) -> None:
        """The caller has read enough, or has disconnected, which ends the wait for the last event."""
        error = None if taken.cancelled() else taken.exception()
        if error is None:
            self.response.resume()
        elif self._last_event is not None and not self._last_event.done():
            self._last_event.set_exception(error)

    # Before the commit a reset may be retried and keeps its code; now the caller has half an answer.
    def _as_midstream_error(self, error: UpstreamError) -> UpstreamError:
        """The same failure as it is called once the stream has committed: a reset is then a cut (F8)."""
        if self._expired:
            return upstream_failure("deadline")
        return upstream_failure("upstream_truncated") if error.code == "upstream_reset" else error

    def _on_deadline(self) -> None:
        # Set first: closing may end the body with an error of its own, which is then told as the deadline.
        self._expired = True
        self.response.close()
        self._on_end(upstream_failure("deadline"))
