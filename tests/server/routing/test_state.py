"""What is remembered of attempts: in flight, latencies, cooldowns, limits of accounts."""

from __future__ import annotations

import math

import pytest

from fwd_server.routing.account_limits import AccountUsage
from fwd_server.routing.latency import LatencyTracker
from fwd_server.routing.needs import Ask
from fwd_server.routing.state import RoutingState
from fwd_server.routing.table import NO_LIMITS, Instance, Lane, Limits, ProviderKey, Seat
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import from_status, upstream_failure

PLACE = ("p", "https://p.example", "m")


def seat(key_limits: Limits = NO_LIMITS, lane_limits: Limits = NO_LIMITS) -> Seat:
    endpoint = Endpoint("p", "https://p.example", enabled=True)
    instance = Instance("p", (ProviderKey("k", endpoint, "id", limits=key_limits),))
    return Lane("p:m", instance, "m", limits=lane_limits, timed=True).seats[0]


def test_an_attempt_is_in_flight_until_its_stream_is_over() -> None:
    """Not until its commit: least busy has to mean that."""
    state, one = RoutingState(), seat()
    first, second = (state.begin_attempt(one, Ask(tokens=10), 0.0) for _ in range(2))
    state.note_answer(first.seat, 0.5, 1.0, stream=True)
    assert state.inflight(one.lane) == 2
    state.end_attempt(first, 20, 5.0)
    state.end_attempt(second, None, 6.0)
    assert state.inflight(one.lane) == 0


def test_limits_of_the_key_and_of_the_deployment_both_count() -> None:
    """RT16: the tighter one decides; what was reserved too much is free when the call is settled."""
    state, one = RoutingState(), seat(Limits(rpm=2, tpm=1000), Limits(concurrency=1))
    attempt = state.begin_attempt(one, Ask(tokens=900), 0.0)
    assert state.limit_wait_s(one, Ask(tokens=10), 0.0) == 1.0, "one call at once"
    state.end_attempt(attempt, 100, 1.0)
    assert state.limit_wait_s(one, Ask(tokens=900), 1.0) == 0.0
    assert state.limit_wait_s(one, Ask(tokens=901), 1.0) == 60.0
    state.begin_attempt(one, Ask(tokens=10), 1.0)
    assert state.limit_wait_s(one, Ask(tokens=10), 1.0) == 60.0, "two requests a minute"
    assert state.limit_wait_s(one, Ask(tokens=1001), 100.0) == math.inf


def test_a_refused_call_uses_nothing_up() -> None:
    """Asking for room counts nothing."""
    usage = AccountUsage(Limits(rpm=1, tpm=10))
    for _ in range(5):
        assert usage.wait_s(5, 0.0) == 0.0
    usage.admit(5, 0.0)
    assert usage.wait_s(5, 0.0) == 61.0


def test_a_reload_keeps_what_keeps_its_identity() -> None:
    """RT5: counts go on under new limits; what is gone is forgotten, and what still runs ends as it began."""
    state, old = RoutingState(), seat(Limits(rpm=1))
    running = state.begin_attempt(old, Ask(tokens=1), 0.0)
    state.note_failure(running.seat, from_status(429, "no"), 1.0, stream=False)
    state.note_failure(running.seat, upstream_failure("upstream_timeout"), 1.0, stream=False)
    new = seat(Limits(rpm=3))
    state.keep_only([new.lane.instance], [new.lane])
    assert state.resting_until(new, 2.0) == 6.0
    assert state.limit_wait_s(new, Ask(tokens=1), 2.0) == 0.0
    assert state.latency_s(new.lane, 1.0, stream=False) == 1.0
    state.keep_only([], [])
    assert state.resting_until(new, 2.0) is None
    assert state.latency_s(new.lane, 1.0, stream=False) == 0.001
    state.end_attempt(running, 1, 3.0)
    assert state.inflight(new.lane) == 0


def test_a_failure_of_the_key_leaves_the_deployment_alone() -> None:
    """With another key it may answer at once; any other failure is the deployment's (G8)."""
    state, one = RoutingState(), seat()
    for _ in range(5):
        attempt = state.begin_attempt(one, Ask(tokens=1), 0.0)
        state.note_failure(attempt.seat, from_status(401, "no"), 0.0, stream=False)
        state.end_attempt(attempt, None, 0.0)
    assert not state.health.records
    assert state.keys.cooldowns
    fresh = RoutingState()
    alarms = []
    for _ in range(3):
        attempt = fresh.begin_attempt(one, Ask(tokens=1), 0.0)
        alarms.append(fresh.note_failure(attempt.seat, upstream_failure("upstream_reset"), 0.0, stream=False))
        fresh.end_attempt(attempt, None, 0.0)
    assert not fresh.keys.cooldowns
    assert fresh.resting_until(one, 1.0) == 10.0
    assert alarms == [False] * 3


@pytest.mark.parametrize("stream", [True, False])
def test_a_slow_answer_counts_at_once_and_a_fast_one_slowly(stream: bool) -> None:
    """PeakEWMA; figures of streams and of whole answers are kept apart."""
    latencies = LatencyTracker()
    assert latencies.latency_s(PLACE, 0.0, stream=stream) == 0.001
    latencies.note_answer(PLACE, 4.0, 0.0, stream=stream)
    assert latencies.latency_s(PLACE, 0.0, stream=stream) == 4.0
    latencies.note_answer(PLACE, 0.5, 1.0, stream=stream)
    assert 3.0 < latencies.latency_s(PLACE, 1.0, stream=stream) < 4.0
    assert latencies.latency_s(PLACE, 1.0, stream=not stream) == 0.001


def test_a_deployment_that_was_slow_is_tried_again_within_three_minutes() -> None:
    """RT13: without any answer its figure fades by e each minute."""
    latencies = LatencyTracker()
    latencies.note_failure(PLACE, 0.0, stream=True)
    latencies.note_failure(PLACE, 0.0, stream=True)
    assert latencies.latency_s(PLACE, 0.0, stream=True) == 2.0
    assert latencies.latency_s(PLACE, 180.0, stream=True) < 0.1


def test_a_long_answer_is_not_a_slow_one() -> None:
    """A whole answer's time counts for each 50 tokens of it."""
    latencies = LatencyTracker()
    latencies.note_answer(PLACE, 10.0, 0.0, stream=False, tokens=1000)
    assert latencies.latency_s(PLACE, 0.0, stream=False) == 0.5
