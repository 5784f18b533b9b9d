"""A ``Fallback`` put together as ``app.py`` does it, from the parts a test wants to choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from fwd_server.clock import Clock
from fwd_server.gateway.attempt import AttemptRunner
from fwd_server.gateway.fallback import FallbackRunner
from fwd_server.gateway.relay import CommittedStream
from fwd_server.gateway.retry_policy import RetryPolicy
from fwd_server.gateway.translation import Translator
from fwd_server.observe.hub import ObserverHub
from fwd_server.providers.base import Provider
from fwd_server.routing.plan import Plan
from fwd_server.routing.state import RoutingState
from fwd_server.upstream.images import ImageFetcher
from fwd_server.upstream.send import Upstream
from fwd_server.values.chat import ChatResponse
from fwd_server.values.deployment import Deployment
from fwd_server.values.embeddings import EmbeddingsResponse
from fwd_server.values.record import CallRecord
from kit.plans import plan_of


@frozen
class TestedFallback:
    """A ``FallbackRunner`` that is given deployments, to try them in their order."""

    __test__ = False

    runner: FallbackRunner
    state: RoutingState
    clock: Clock

    @property
    def translator(self) -> Translator:
        return self.runner.translator

    async def answer_call(
        self, record: CallRecord, deployments: Sequence[Deployment]
    ) -> ChatResponse | EmbeddingsResponse:
        return await self.runner.answer_call(record, self._plan(record, deployments))

    async def open_stream(self, record: CallRecord, deployments: Sequence[Deployment]) -> CommittedStream:
        return await self.runner.open_stream(record, self._plan(record, deployments))

    def _plan(self, record: CallRecord, deployments: Sequence[Deployment]) -> Plan:
        chosen = record.call.request.model is not None
        return plan_of(deployments, self.state, self.clock.monotonic(), chosen=chosen)


def make_fallback(
    providers: Mapping[str, Provider],
    upstream: Upstream,
    clock: Clock,
    *,
    state: RoutingState | None = None,
    images: ImageFetcher | None = None,
    rand: Callable[[], float] = lambda: 0.5,
    hub: ObserverHub | None = None,
    **limits: Any,
) -> TestedFallback:
    """``limits`` are those of RetryPolicy."""
    state = state or RoutingState()
    translator = Translator(providers, clock, lambda prefix: prefix + "1", fetches_images=images is not None)
    attempts = AttemptRunner(providers, upstream, clock, state, hub or ObserverHub())
    runner = FallbackRunner(translator, attempts, state, clock, RetryPolicy(**limits), images, rand)
    return TestedFallback(runner, state, clock)
