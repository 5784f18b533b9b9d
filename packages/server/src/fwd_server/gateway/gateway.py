"""The main path of a call, top to bottom in the order things happen.

A call opens a trip on the way in and settles it on the way out, always, however it ends. What it became is one
frozen ``Outcome``, which everybody who reports on calls is handed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

from attrs import field, frozen

from fwd_server.clock import Clock
from fwd_server.gateway.dry_run import describe_plan
from fwd_server.gateway.fallback import Coordinator
from fwd_server.gateway.relay import EventSink, Stream
from fwd_server.routing import planner as routing
from fwd_server.routing.planner import Routes
from fwd_server.values.call import Call, Outcome
from fwd_server.values.chat import ChatRequest, ChatResponse, Chunk, End, Json, StreamEvent
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsResponse
from fwd_server.values.errors import GatewayError, UpstreamError, internal_error
from fwd_server.values.record import CallRecord

Observer = Callable[[Outcome], None]


@frozen
class StreamingAnswer:
    """A streamed answer that has begun, and how it came about so far."""

    record: CallRecord
    _stream: Stream = field(repr=False)

    async def flow(self, take: EventSink) -> End | UpstreamError:
        """Hand ``take`` the events as they come; the last one, an End or the failure in its place, is returned too."""
        return await self._stream.flow(partial(self._pass, take))

    def _pass(self, take: EventSink, batch: list[StreamEvent]) -> asyncio.Future[None] | None:
        for event in batch:
            self._note(event)
        return take(batch)

    def _note(self, event: StreamEvent) -> None:
        if isinstance(event, Chunk):
            self.record.note_chunk(event)
        elif isinstance(event, End):
            self.record.committed_usage = event.usage
        else:
            self.record.error, self.record.broke_midstream = event, True


class Gateway:
    """Serves calls: routes them, has them answered, and tells the observers how each one ended."""

    def __init__(
        self,
        routes: Routes,
        coordinator: Coordinator,
        clock: Clock,
        observers: Iterable[Observer] = (),
        fallback_explicit: bool = True,
    ) -> None:
        self.routes = routes
        self._fallback_explicit = fallback_explicit
        self._coordinator = coordinator
        self._clock = clock
        self._observers = tuple(observers)

    def open_record(self, call: Call) -> CallRecord:
        """The record of a call, from now on."""
        return CallRecord(call, self._clock.monotonic())

    async def complete(self, record: CallRecord) -> ChatResponse:
        """Answer a call in one piece. Raises GatewayError."""
        with self._settled(record):
            response = await self._coordinator.complete(record, self._plan(record.call))
            record.note_answer(response)
            return response

    async def embed(self, record: CallRecord) -> EmbeddingsResponse:
        """Embed texts, by the model that was asked for and no other. Raises GatewayError."""
        with self._settled(record):
            response = await self._coordinator.embed(record, self._plan(record.call))
            record.committed_usage = response.usage
            return response

    @asynccontextmanager
    async def stream(self, record: CallRecord) -> AsyncIterator[StreamingAnswer]:
        """Answer a call in pieces: entered once the first content is there. Raises GatewayError before that."""
        with self._settled(record):
            stream = await self._coordinator.stream(record, self._plan(record.call))
            try:
                yield StreamingAnswer(record, stream)
            finally:
                stream.close()

    def plan_dry_run(self, call: Call) -> Json:
        """What would be sent for a call, without sending it. Raises GatewayError when there is no plan."""
        return describe_plan(self._coordinator, self.open_record(call), self._plan(call))

    def _plan(self, call: Call) -> tuple[Deployment, ...]:
        model = call.request.model
        fallback = call.fallback and (model is None or self._fallback_explicit)
        # Another model's vectors would be worse than none: they mean something else.
        return routing.plan_call(self.routes, model, fallback=fallback and isinstance(call.request, ChatRequest))

    @contextmanager
    def _settled(self, record: CallRecord) -> Iterator[None]:
        try:
            yield
        except GatewayError as error:
            record.error = error
            raise
        except asyncio.CancelledError:
            record.was_disconnected = record.error is None  # a shutdown has noted itself before
            raise
        except OSError:
            record.was_disconnected = True  # what is sent to the caller failed, before anybody was told that it is gone
            raise
        except Exception:
            record.error, record.broke_midstream = internal_error(), record.sent_tokens > 0
            raise
        finally:
            outcome = record.to_outcome(self._clock.monotonic())
            for observer in self._observers:
                observer(outcome)
