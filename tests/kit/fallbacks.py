"""A ``Fallback`` put together as ``app.py`` does it, from the parts a test wants to choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fwd_server.clock import Clock
from fwd_server.gateway.attempt import AttemptRunner
from fwd_server.gateway.fallback import FallbackRunner
from fwd_server.gateway.retry_policy import RetryPolicy
from fwd_server.gateway.translation import Translator
from fwd_server.observe.hub import ObserverHub
from fwd_server.providers.base import Provider
from fwd_server.routing.health import Health
from fwd_server.upstream.images import ImageFetcher
from fwd_server.upstream.send import Upstream


def make_fallback(
    providers: Mapping[str, Provider],
    upstream: Upstream,
    clock: Clock,
    *,
    health: Health | None = None,
    images: ImageFetcher | None = None,
    rand: Callable[[], float] = lambda: 0.5,
    hub: ObserverHub | None = None,
    **limits: Any,
) -> FallbackRunner:
    """``limits`` are those of RetryPolicy."""
    health = health or Health()
    translator = Translator(providers, clock, lambda prefix: prefix + "1", fetches_images=images is not None)
    attempts = AttemptRunner(providers, upstream, clock, health, hub or ObserverHub())
    return FallbackRunner(translator, attempts, health, clock, RetryPolicy(**limits), images, rand)
