"""What /ready and the status page say about providers that rest."""

from __future__ import annotations

from kit.calls import make_deployment
from kit.clock import FakeClock

from fwd_server.errors import from_status
from fwd_server.health import Health
from fwd_server.routing import Endpoint, Routes
from fwd_server.web.health import State

OPENAI = Endpoint("openai", "http://up.test", on=True, turned_on_by="OPENAI_API_KEY")
GOOGLE = Endpoint("google", turned_on_by="GOOGLE_API_KEY")
OTHER = Endpoint("other", available=False)


def state(*limited: str) -> State:
    """A gateway whose openai has hit the rate limits of these models."""
    clock, health = FakeClock(), Health()
    for model in limited:
        health.failed(make_deployment("", model=model), from_status(429, retry_after_s=41.0), clock.monotonic())
    routes = Routes({endpoint.provider: endpoint for endpoint in (OPENAI, GOOGLE, OTHER)})
    return State(routes, clock, clock.monotonic(), lambda: (), health)


def test_ready_lists_what_rests() -> None:
    """G10: which model, and for how long."""
    ready = state("gpt-x").ready(details=True)
    assert ready["status"] == "ready"
    assert ready["resting"] == [{"provider": "openai", "model": "gpt-x", "seconds": 41.0}]
    assert [provider["state"] for provider in ready["providers"]] == ["resting", "off", "unavailable"]


def test_strangers_see_one_word() -> None:
    """S14: which providers there are is not everybody's business."""
    assert state("gpt-x").ready(details=False) == {"status": "ready"}


def test_the_page_says_what_rests() -> None:
    notes = [provider.note for provider in state("gpt-x", "gpt-y").status().providers]
    assert notes == ["gpt-x rests for 41 s and 1 more", "", "not spoken by this version"]


def test_nothing_rests() -> None:
    assert {provider.note for provider in state().status().providers} == {"", "not spoken by this version"}
    assert state().ready(details=True)["resting"] == []


def test_a_gateway_that_stops_is_unready() -> None:
    """R2: readiness goes first."""
    stopping = state()
    stopping.draining = True
    assert stopping.word() == "unready"
