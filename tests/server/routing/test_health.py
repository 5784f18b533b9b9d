"""What rests, for how long, and who may try it again (contract G8, G10)."""

from __future__ import annotations

import pytest
from kit.calls import make_deployment

from fwd_server.routing.health import FAULTS, Health
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import UpstreamError, from_status, upstream_failure

ONE = make_deployment("http://one.test", "openai")
TWO = make_deployment("http://two.test", "groq")
PLAN = (ONE, TWO)


def failing(times: int = FAULTS, now: float = 0.0, status: int = 500) -> Health:
    """A health that has seen the first deployment fail."""
    health = Health()
    for _ in range(times):
        health.note_failure(ONE, from_status(status), now)
    return health


def order(health: Health, now: float) -> tuple[Deployment, ...]:
    """What rests comes last."""
    return tuple(sorted(PLAN, key=lambda deployment: health.resting_until(deployment, now) is not None))


def test_nothing_rests_at_first() -> None:
    health = Health()
    assert not health.records
    assert order(health, 0.0) == PLAN
    assert health.cooling_down(0.0) == []


@pytest.mark.parametrize(
    "fault", [from_status(500), from_status(503), upstream_failure("connect_failed"), upstream_failure("bad_payload")]
)
def test_the_third_fault_in_a_row_rests_it(fault: UpstreamError) -> None:
    """G10: three 5xx or connection faults, 10 s."""
    health = Health()
    for _ in range(2):
        health.note_failure(ONE, fault, 0.0)
    assert order(health, 0.0) == PLAN
    health.note_failure(ONE, fault, 0.0)
    assert order(health, 9.9) == (TWO, ONE)
    assert order(health, 10.0) == PLAN


def test_a_good_answer_between_faults_forgets_them() -> None:
    health = failing(2)
    health.note_success(ONE)
    health.note_failure(ONE, from_status(500), 0.0)
    assert health.cooling_down(0.0) == []


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_provider_that_refuses_a_call_is_up(status: int) -> None:
    """F17: the caller's fault is no fault of the provider."""
    health = failing(2)
    health.note_failure(ONE, from_status(status), 0.0)
    health.note_failure(ONE, from_status(500), 0.0)
    assert health.cooling_down(0.0) == []


def test_a_callers_own_deadline_is_no_fault() -> None:
    """Nobody may rest a provider for others with a short x-fwd-timeout."""
    health = Health()
    for _ in range(10):
        health.note_failure(ONE, upstream_failure("deadline"), 0.0)
    assert health.cooling_down(0.0) == []


def test_rests_double_up_to_a_minute() -> None:
    """G10: 10, 20, 40, 60, 60."""
    health, now, rests = failing(), 0.0, []
    for _ in range(5):
        (rest,) = health.cooling_down(now)
        rests.append(rest[1])
        now += rest[1]
        health.note_attempt(ONE, now)
        health.note_failure(ONE, from_status(500), now)
    assert rests == [10, 20, 40, 60, 60]


def test_faults_of_calls_from_before_the_rest_do_not_lengthen_it() -> None:
    """Fifty calls that fail together are one reason to rest, not fifty."""
    assert failing(50).cooling_down(0.0) == [(("openai", "gpt-x"), 10.0)]


def test_one_call_tries_a_due_deployment() -> None:
    """G10: one probe at the end of a rest; the others go on elsewhere until it is back."""
    health = failing()
    health.note_attempt(ONE, 10.0)
    assert order(health, 10.0) == (TWO, ONE)
    health.note_success(ONE)
    assert order(health, 10.0) == PLAN
    assert health.cooling_down(10.0) == []


def test_a_probe_whose_caller_left_gives_its_place_back() -> None:
    health = failing()
    health.note_attempt(ONE, 10.0)
    health.release_probe(ONE)
    assert order(health, 10.0) == PLAN
    assert health.cooling_down(10.0) == [], "what is due is up"


def test_an_attempt_at_a_resting_deployment_is_no_probe() -> None:
    """It was the last one left; the end of its rest stays open to a probe."""
    health = failing()
    health.note_attempt(ONE, 5.0)
    assert order(health, 10.0) == PLAN


def test_another_model_of_the_provider_does_not_rest() -> None:
    """A limit is a model's own."""
    assert failing().resting_until(make_deployment("http://one.test", "openai", "other"), 0.0) is None


def test_nothing_is_ever_removed() -> None:
    """G10: all rest, so all are asked, in their order."""
    health = failing()
    for _ in range(FAULTS):
        health.note_failure(TWO, from_status(500), 0.0)
    assert order(health, 0.0) == PLAN


def test_what_is_remembered_is_bounded() -> None:
    """Callers choose models: the oldest makes room."""
    health = Health(most=3)
    for number in range(10):
        for _ in range(FAULTS):
            health.note_failure(make_deployment("http://one.test", "openai", f"m{number}"), from_status(500), 0.0)
    assert [place[1] for place, _ in health.cooling_down(0.0)] == ["m7", "m8", "m9"]


def test_nothing_known_can_be_released_or_tried() -> None:
    health = Health()
    health.note_attempt(ONE, 0.0)
    health.release_probe(ONE)
    assert health.cooling_down(0.0) == []
