"""The main path of a call, top to bottom in the order things happen.

A call opens a record on the way in. Policies admit it, a plan is made, attempts run until one commits, the policies
settle it while the caller still waits for the last byte, and the observers hear of it afterwards; always, however it
ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from functools import partial

from attrs import field, frozen

from fwd_server.clock import Clock
from fwd_server.gateway.dry_run import describe_plan
from fwd_server.gateway.fallback import FallbackRunner
from fwd_server.gateway.policy import Policy, PolicyChain
from fwd_server.gateway.relay import CommittedStream, EventSink
from fwd_server.observe.hub import ObserverHub
from fwd_server.routing import planner
from fwd_server.routing.planner import Routes
from fwd_server.values.call import Call
from fwd_server.values.chat import ChatRequest, ChatResponse, End, Json, StreamEvent
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsResponse
from fwd_server.values.errors import GatewayError, UpstreamError, internal_error
from fwd_server.values.record import CallRecord


@frozen
class StreamingAnswer:
    """A streamed answer that has begun, and how it came about so far."""

    record: CallRecord
    _stream: CommittedStream = field(repr=False)
    _policies: PolicyChain = field(repr=False)

    async def send_events(self, sink: EventSink) -> End | GatewayError:
        """Hand ``sink`` the events as they come, and settle the call; returns how it ended.

        An End means that the stream may be called complete: the provider said so, and every policy has settled.
        """
        last: End | GatewayError = await self._stream.deliver_events(partial(self._pass_on, sink))
        try:
            await self._policies.settle(self.record)
        except GatewayError as error:
            # The provider's failure came first and explains the settlement's; the other way round would hide the cause.
            last = last if isinstance(last, UpstreamError) else error
        return last

    def _pass_on(self, sink: EventSink, events: list[StreamEvent]) -> asyncio.Future[None] | None:
        for event in events:
            self.record.note_event(event)
        return sink(events)


class Gateway:
    """Serves calls."""

    def __init__(
        self,
        routes: Routes,
        fallback: FallbackRunner,
        clock: Clock,
        hub: ObserverHub,
        policies: Sequence[Policy] = (),
        fallback_explicit: bool = True,
    ) -> None:
        self.routes = routes
        self._fallback = fallback
        self._clock = clock
        self._hub = hub
        self._policies = tuple(policies)
        self._fallback_explicit = fallback_explicit

    def open_record(self, call: Call) -> CallRecord:
        """The record of a call, from now on."""
        record = CallRecord(call, self._clock.monotonic())
        self._hub.call_started(record)
        return record

    async def complete_call(self, record: CallRecord) -> ChatResponse | EmbeddingsResponse:
        """Answer a call in one piece. Raises GatewayError."""
        policies = PolicyChain(self._policies)
        try:
            waiting = policies.admit(record)
            if waiting is not None:
                await waiting
            response = await self._fallback.answer_call(record, self._plan_call(record.call))
            # Before settling: a policy charges what the record holds.
            record.note_answer(response)
            await policies.settle(record)
            return response
        # Cancellation included: a caller who disconnects must not keep a reserved budget.
        except BaseException as error:
            _note_failure(record, error)
            with contextlib.suppress(GatewayError):  # the call has failed already, and this is what the caller hears
                await policies.settle(record)
            raise
        finally:
            self._hub.call_ended(record, self._clock.monotonic())

    @contextlib.asynccontextmanager
    async def stream_call(self, record: CallRecord) -> AsyncIterator[StreamingAnswer]:
        """Answer a call in pieces: entered once the first content is there. Raises GatewayError before that."""
        policies = PolicyChain(self._policies)
        try:
            waiting = policies.admit(record)
            if waiting is not None:
                await waiting
            stream = await self._fallback.open_stream(record, self._plan_call(record.call))
            try:
                yield StreamingAnswer(record, stream, policies)
            finally:
                stream.close()
        except BaseException as error:
            _note_failure(record, error)
            with contextlib.suppress(GatewayError):  # the call has failed already, and this is what the caller hears
                await policies.settle(record)
            raise
        finally:
            self._hub.call_ended(record, self._clock.monotonic())

    def plan_dry_run(self, call: Call) -> Json:
        """What would be sent for a call, without sending it. Raises GatewayError when there is no plan."""
        return describe_plan(self._fallback.translator, call, self._plan_call(call))

    def _plan_call(self, call: Call) -> tuple[Deployment, ...]:
        model = call.request.model
        fallback = call.fallback and (model is None or self._fallback_explicit)
        # Another model's vectors would be worse than none: they mean something else.
        return planner.plan_call(self.routes, model, fallback=fallback and isinstance(call.request, ChatRequest))


def _note_failure(record: CallRecord, error: BaseException) -> None:
    """Write into the record why a call ended early."""
    if isinstance(error, GatewayError):
        if record.error is None:
            record.fail(error)
    elif isinstance(error, asyncio.CancelledError):
        # A cancelled task is the only sign that a caller has gone; there is no exception of its own for it.
        if record.error is None:  # a shutdown has noted its own error before it cancels
            record.disconnect()
    elif isinstance(error, OSError):
        record.disconnect()  # a write to the caller failed before anybody was told that it is gone
    else:
        record.fail(internal_error(), midstream=record.sent_tokens > 0)
