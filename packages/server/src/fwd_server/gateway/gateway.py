"""The main path of a call, top to bottom in the order things happen.

A call opens a record on the way in. A plan is made, policies admit the call, attempts run until one commits, the
policies settle it while the caller still waits for the last byte, and the observers hear of it afterwards; always,
however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from attrs import field, frozen

from fwd_server.clock import Clock
from fwd_server.gateway.concealing import Concealment
from fwd_server.gateway.counting import TokenCounter
from fwd_server.gateway.dry_run import describe_plan
from fwd_server.gateway.fallback import FallbackRunner
from fwd_server.gateway.needs import RequestNeeds
from fwd_server.gateway.parameters import check_denied
from fwd_server.gateway.policy import Policy, PolicyChain
from fwd_server.gateway.relay import CommittedStream, EventSink
from fwd_server.observe.hub import ObserverHub
from fwd_server.routing.plan import Plan
from fwd_server.routing.planner import Routes, plan_model
from fwd_server.routing.state import RoutingState
from fwd_server.values.call import Call
from fwd_server.values.chat import ChatRequest, ChatResponse, End, Json, StreamEvent
from fwd_server.values.embeddings import EmbeddingsResponse
from fwd_server.values.errors import GatewayError, UpstreamError, internal_error
from fwd_server.values.foreign import TokenCount
from fwd_server.values.record import CallRecord


@frozen
class StreamingAnswer:
    """A streamed answer that has begun, and how it came about so far."""

    record: CallRecord
    _stream: CommittedStream = field(repr=False)
    _policies: PolicyChain = field(repr=False)
    _concealment: Concealment | None = None

    async def send_events(self, sink: EventSink) -> End | GatewayError:
        """Hand ``sink`` the events as they come, and settle the call; returns how it ended.

        An End means that the stream is complete: the provider has said so, and every policy has settled.
        """
        last: End | GatewayError = await self._stream.deliver_events(partial(self._pass_on, sink))
        try:
            await self._policies.settle(self.record)
        except GatewayError as error:
            # The provider's failure came first and explains the settlement's; the other way round would hide the cause.
            last = last if isinstance(last, UpstreamError) else error
        if self._concealment is not None and isinstance(last, GatewayError):
            return self._concealment.conceal_error(last)
        return last

    def _pass_on(self, sink: EventSink, events: list[StreamEvent]) -> asyncio.Future[None] | None:
        for event in events:
            self.record.note_event(event)
        return sink(events if self._concealment is None else [*map(self._concealment.conceal_event, events)])


class Gateway:
    """Serves calls. ``fallback_explicit`` is FWD_FALLBACK_EXPLICIT; ``random_bits`` gives numbers of so many bits."""

    def __init__(
        self,
        routes: Routes,
        state: RoutingState,
        fallback: FallbackRunner,
        clock: Clock,
        hub: ObserverHub,
        policies: Sequence[Policy] = (),
        fallback_explicit: bool = True,
        random_bits: Callable[[int], int] = random.getrandbits,
        *,
        counter: TokenCounter,
    ) -> None:
        self.routes = routes
        self._state = state
        self._fallback = fallback
        self._random_bits = random_bits
        self._clock = clock
        self._hub = hub
        self._policies = tuple(policies)
        self._fallback_explicit = fallback_explicit
        self._counter = counter

    def open_record(self, call: Call) -> CallRecord:
        """The record of a call, from now on."""
        record = CallRecord(call, self._clock.monotonic())
        self._hub.call_started(record)
        return record

    async def complete_call(self, record: CallRecord) -> ChatResponse | EmbeddingsResponse:
        """Answer a call in one piece. Raises GatewayError."""
        policies = PolicyChain(self._policies)
        try:
            plan = self._plan_call(record)
            waiting = policies.admit(record)
            if waiting is not None:
                await waiting
            response = await self._fallback.answer_call(record, plan)
            # Before settling: a policy charges what the record holds.
            record.note_answer(response)
            await policies.settle(record)
            concealment = _concealment(record)
            return response if concealment is None else concealment.conceal_answer(response)
        # Cancellation included: a caller who disconnects must not keep a reserved budget.
        except BaseException as error:
            await self._fail(record, policies, error)
            raise
        finally:
            self._hub.call_ended(record, self._clock.monotonic())

    @contextlib.asynccontextmanager
    async def stream_call(self, record: CallRecord) -> AsyncIterator[StreamingAnswer]:
        """Answer a call in pieces: entered once the first content is there. Raises GatewayError before that."""
        policies = PolicyChain(self._policies)
        try:
            plan = self._plan_call(record)
            waiting = policies.admit(record)
            if waiting is not None:
                await waiting
            stream = await self._fallback.open_stream(record, plan)
            try:
                yield StreamingAnswer(record, stream, policies, _concealment(record))
            finally:
                stream.close()
        except BaseException as error:
            await self._fail(record, policies, error)
            raise
        finally:
            self._hub.call_ended(record, self._clock.monotonic())

    async def count_tokens(self, call: Call) -> TokenCount:
        """The tokens of a call's prompt. Raises GatewayError when there is no such model."""
        return await self._counter.count(call, self._make_plan(call, self._clock.monotonic()).meant)

    def plan_dry_run(self, call: Call) -> Json:
        """Show what would be sent for a call, without sending it. Raises GatewayError when there is no plan."""
        plan = self._make_plan(call, self._clock.monotonic())
        if plan.model.reveal:
            return describe_plan(self._fallback.translator, call, plan)
        # Which deployments there are is what the operator does not reveal.
        return {"object": "fwd.dry_run", "model": plan.model.name, "plan": []}

    def _plan_call(self, record: CallRecord) -> Plan:
        plan = self._make_plan(record.call, record.started)
        model = plan.model
        record.note_plan(plan, None if model.reveal else model.name, model.headers)
        return plan

    def _make_plan(self, call: Call, now: float) -> Plan:
        """The table is read here, once for each call: a reload changes nothing for those that run (RT2)."""
        request, routes = call.request, self.routes
        # Another model's vectors would be worse than none: they mean something else.
        fallback = call.fallback and isinstance(request, ChatRequest)
        model = routes.find_model(request.model, fallback=fallback)
        if fallback and model.chosen and not self._fallback_explicit:
            fallback = False
        if model.denied:
            check_denied(request, model.denied)
        needs = RequestNeeds(call, fallback=fallback)
        return plan_model(routes, model, needs, self._state, now, self._random_bits(64))

    async def _fail(self, record: CallRecord, policies: PolicyChain, error: BaseException) -> None:
        """A call has ended early: note why, settle it, and raise what its caller may see of it, where that differs."""
        _note_failure(record, error)
        with contextlib.suppress(GatewayError):  # the call has failed already, and this is what the caller hears
            await policies.settle(record)
        concealment = _concealment(record)
        if concealment is not None and isinstance(error, GatewayError):
            raise concealment.conceal_error(error) from error


def _concealment(record: CallRecord) -> Concealment | None:
    """What hides the deployments of a call from its caller; None where they may be known."""
    if record.shown_as is None or record.plan is None:
        return None
    models = frozenset(one.model for one in record.plan.deployments() if one.model)
    return Concealment(record.shown_as, record.call.id, models)


def _note_failure(record: CallRecord, error: BaseException) -> None:
    """Write into the record why a call ended early."""
    if isinstance(error, GatewayError):
        if record.error is None:
            record.fail(error)
    elif isinstance(error, asyncio.CancelledError):
        # Cancellation is the only sign that a caller has disconnected; there is no special exception for it.
        if record.error is None:  # a shutdown has noted its own error before it cancels
            record.disconnect()
    elif isinstance(error, OSError):
        record.disconnect()  # a write to the caller failed before the disconnect was noticed
    else:
        record.fail(internal_error(), midstream=record.sent_tokens > 0)
