"""The providers' own lists: asked when somebody looks, for a second at most, and kept for an hour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from kit.clock import FakeClock
from kit.fakeup import WAIT_FOR_CLOSE, Fakeup, Seen, Step, closed_port, error_answer, json_answer
from tornado.ioloop import IOLoop

from fwd_server.http1.client.pool import Pool
from fwd_server.providers import PROVIDERS
from fwd_server.upstream.discovery import ModelDiscovery
from fwd_server.upstream.send import Upstream
from fwd_server.values.deployment import Endpoint

pytestmark = pytest.mark.gen_test
LIST = json_answer({"data": [{"id": "a"}], "models": [{"name": "a"}]})
Make = Callable[..., ModelDiscovery]


@pytest.fixture
def make(pool: Pool, clock: FakeClock, io_loop: IOLoop) -> Iterator[Make]:
    """Makes a roster; ``wait_s`` is how long it waits."""
    made: list[ModelDiscovery] = []

    def discovery(wait_s: float = 30.0) -> ModelDiscovery:
        upstream = Upstream(pool, clock)
        made.append(ModelDiscovery(PROVIDERS, upstream, clock, wait_s))
        return made[-1]

    yield discovery
    for one in made:
        io_loop.run_sync(one.aclose)


def endpoint(up: Fakeup, provider: str = "openai") -> Endpoint:
    return Endpoint(provider, up.url, enabled=True)


async def test_nobody_is_asked_before_somebody_looks(make: Make) -> None:
    """Contract S23."""
    with Fakeup(lambda seen: [LIST]) as up:
        assert make().listed_names(endpoint(up)) == ()
        assert up.seen == []


async def test_a_list_is_kept_for_an_hour(make: Make, clock: FakeClock) -> None:
    with Fakeup(lambda seen: [LIST]) as up:
        discovery = make()
        for seconds in (0, 3599, 1):
            clock.move(seconds)
            await discovery.refresh_lists([endpoint(up)])
        assert discovery.listed_names(endpoint(up)) == ("a",)
        assert not discovery.knows_all(endpoint(up))
        assert len(up.seen) == 2


async def test_a_live_list_is_asked_for_every_time(make: Make) -> None:
    """What Ollama has today is all it has."""
    answers = iter([LIST, json_answer({"models": []})])
    with Fakeup(lambda seen: [next(answers)]) as up:
        discovery, ollama = make(), endpoint(up, "ollama")
        await discovery.refresh_lists([ollama])
        assert (discovery.listed_names(ollama), discovery.knows_all(ollama)) == (("a",), True)
        await discovery.refresh_lists([ollama])
        assert (discovery.listed_names(ollama), discovery.knows_all(ollama)) == ((), True)


async def test_a_live_list_that_fails_is_forgotten(make: Make) -> None:
    answers = iter([LIST, error_answer(500)])
    with Fakeup(lambda seen: [next(answers)]) as up:
        discovery, ollama = make(), endpoint(up, "ollama")
        await discovery.refresh_lists([ollama])
        await discovery.refresh_lists([ollama])
        assert (discovery.listed_names(ollama), discovery.knows_all(ollama)) == ((), False)


async def test_after_a_failure_the_old_list_stands_and_the_provider_is_left_alone(make: Make, clock: FakeClock) -> None:
    answers = iter([LIST, error_answer(401), error_answer(500)])
    with Fakeup(lambda seen: [next(answers)]) as up:
        discovery = make()
        for seconds in (0, 3600, 59, 1):
            clock.move(seconds)
            await discovery.refresh_lists([endpoint(up)])
        assert discovery.listed_names(endpoint(up)) == ("a",)
        assert len(up.seen) == 3


async def test_a_provider_that_is_not_there_is_as_good_as_none(make: Make) -> None:
    nowhere = Endpoint("openai", f"http://127.0.0.1:{closed_port()}/v1", enabled=True)
    discovery = make()
    await discovery.refresh_lists([nowhere, Endpoint("echo", enabled=True), Endpoint("unknown", enabled=True)])
    assert discovery.listed_names(nowhere) == ()


async def test_nobody_waits_for_a_slow_list(make: Make) -> None:
    """It goes on being asked for, once, and is there the next time."""
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slowly(seen: Seen) -> Iterator[Step]:
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result(30)
        yield LIST

    with Fakeup(slowly) as up:
        discovery = make(wait_s=0.01)
        await discovery.refresh_lists([endpoint(up)])
        await discovery.refresh_lists([endpoint(up)])
        assert discovery.listed_names(endpoint(up)) == ()
        released.set()
        while not discovery.listed_names(endpoint(up)):
            await discovery.refresh_lists([endpoint(up)])
        assert len(up.seen) == 1


async def test_a_close_ends_what_is_being_asked(make: Make) -> None:
    with Fakeup(lambda seen: [WAIT_FOR_CLOSE]) as up:
        discovery = make(wait_s=0.01)
        await discovery.refresh_lists([endpoint(up)])
        await discovery.aclose()
        assert discovery.listed_names(endpoint(up)) == ()
