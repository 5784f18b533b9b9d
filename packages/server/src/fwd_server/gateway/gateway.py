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
from fwd_server.gateway.dry_run import rehearse
from fwd_server.gateway.fallback import Coordinator
from fwd_server.gateway.relay import Stream, Take
from fwd_server.routing import planner as routing
from fwd_server.routing.planner import Routes
from fwd_server.values.call import Call, Outcome
from fwd_server.values.chat import ChatRequest, ChatResponse, Chunk, End, Json, StreamEvent
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsResponse
from fwd_server.values.errors import GatewayError, UpstreamError, internal
from fwd_server.values.record import Trip

Observer = Callable[[Outcome], None]


@frozen
class LiveAnswer:
    """A streamed answer that has begun, and how it came about so far."""

    trip: Trip
    _stream: Stream = field(repr=False)

    async def flow(self, take: Take) -> End | UpstreamError:
        """Hand ``take`` the events as they come; the last one, an End or the failure in its place, is returned too."""
        return await self._stream.flow(partial(self._pass, take))

    def _pass(self, take: Take, batch: list[StreamEvent]) -> asyncio.Future[None] | None:
        for event in batch:
            self._note(event)
        return take(batch)

    def _note(self, event: StreamEvent) -> None:
        if isinstance(event, Chunk):
            self.trip.sent(event)
        elif isinstance(event, End):
            self.trip.committed_usage = event.usage
        else:
            self.trip.error, self.trip.broke = event, True


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

    def begin(self, call: Call) -> Trip:
        """The record of a call, from now on."""
        return Trip(call, self._clock.monotonic())

    async def complete(self, trip: Trip) -> ChatResponse:
        """Answer a call in one piece. Raises GatewayError."""
        with self._settled(trip):
            response = await self._coordinator.complete(trip, self._plan(trip.call))
            trip.answered(response)
            return response

    async def embed(self, trip: Trip) -> EmbeddingsResponse:
        """Embed texts, by the model that was asked for and no other. Raises GatewayError."""
        with self._settled(trip):
            response = await self._coordinator.embed(trip, self._plan(trip.call))
            trip.committed_usage = response.usage
            return response

    @asynccontextmanager
    async def stream(self, trip: Trip) -> AsyncIterator[LiveAnswer]:
        """Answer a call in pieces: entered once the first content is there. Raises GatewayError before that."""
        with self._settled(trip):
            stream = await self._coordinator.stream(trip, self._plan(trip.call))
            try:
                yield LiveAnswer(trip, stream)
            finally:
                stream.close()

    def rehearse(self, call: Call) -> Json:
        """What would be sent for a call, without sending it. Raises GatewayError when there is no plan."""
        return rehearse(self._coordinator, self.begin(call), self._plan(call))

    def _plan(self, call: Call) -> tuple[Deployment, ...]:
        model = call.request.model
        fallback = call.fallback and (model is None or self._fallback_explicit)
        # Another model's vectors would be worse than none: they mean something else.
        return routing.plan(self.routes, model, fallback=fallback and isinstance(call.request, ChatRequest))

    @contextmanager
    def _settled(self, trip: Trip) -> Iterator[None]:
        try:
            yield
        except GatewayError as error:
            trip.error = error
            raise
        except asyncio.CancelledError:
            trip.left = trip.error is None  # a shutdown has noted itself before
            raise
        except OSError:
            trip.left = True  # what is sent to the caller failed, before anybody was told that it is gone
            raise
        except Exception:
            trip.error, trip.broke = internal(), trip.sent_tokens > 0
            raise
        finally:
            outcome = trip.outcome(self._clock.monotonic())
            for observer in self._observers:
                observer(outcome)
