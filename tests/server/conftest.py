"""Values most server tests begin with: a call, an endpoint, a coordinator over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.calls import make_call
from kit.clock import FakeClock
from kit.fallbacks import TestedFallback, make_fallback
from kit.overheard import Listener, listening
from tornado.ioloop import IOLoop

from fwd_server.http1.client.pool import Pool
from fwd_server.providers import compatible
from fwd_server.upstream.send import Upstream
from fwd_server.values.record import CallRecord


@pytest.fixture(scope="session")
def listener() -> Iterator[Listener]:
    """Hears all that the gateway logs and answers."""
    with listening() as listener:
        yield listener


@pytest.fixture(autouse=True)
def no_key_is_heard(listener: Listener) -> Iterator[None]:
    """S12 to S14: no key of a provider is in any log line, answer or error's text of any test."""
    yield
    assert listener.take() == []


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pool(io_loop: IOLoop) -> Iterator[Pool]:
    """A pool on the test's loop, closed after it."""
    pool = Pool()
    yield pool
    io_loop.run_sync(pool.aclose)


@pytest.fixture
def walker(pool: Pool, clock: FakeClock) -> Callable[..., TestedFallback]:
    """Makes a fallback over OpenAI-compatible providers; its parameters are those of ``make_fallback``."""

    def make(**options: Any) -> TestedFallback:
        providers = {name: compatible.provider(name) for name in ("openai", "groq", "openrouter", "local")}
        return make_fallback(providers, Upstream(pool, clock), clock, **options)

    return make


@pytest.fixture
def record(clock: FakeClock) -> Callable[..., CallRecord]:
    """Opens the record of a call."""

    def begin(**body: Any) -> CallRecord:
        return CallRecord(make_call(**body), clock.monotonic())

    return begin
