"""What follows a failure, as a table."""

from __future__ import annotations

import itertools

import pytest

from fwd_server.gateway.retry_policy import RETRY_WAIT_S, NextStep, next_step, retry_wait
from fwd_server.values.errors import UpstreamError, from_status, upstream_failure

RETRY, MOVE_ON, GIVE_UP = NextStep.RETRY, NextStep.MOVE_ON, NextStep.GIVE_UP

# failure: what follows for one of several candidates, and for an only one
TABLE = {
    "F1 refused": (upstream_failure("connect_failed"), MOVE_ON, GIVE_UP),
    "F8 reset": (upstream_failure("upstream_reset"), MOVE_ON, RETRY),
    "F2 connect timeout": (upstream_failure("connect_timeout"), MOVE_ON, GIVE_UP),
    "F7 timeout": (upstream_failure("upstream_timeout"), MOVE_ON, GIVE_UP),
    "F13 500": (from_status(500), MOVE_ON, RETRY),
    "F14 502": (from_status(502), MOVE_ON, RETRY),
    "F15 503": (from_status(503), MOVE_ON, RETRY),
    "F15 503, again in a minute": (from_status(503, retry_after_s=60.0), MOVE_ON, GIVE_UP),
    "F15 503, again at once": (from_status(503, retry_after_s=0.1), MOVE_ON, RETRY),
    "F16 529": (from_status(529), MOVE_ON, RETRY),
    "F11 429": (from_status(429), MOVE_ON, GIVE_UP),
    "F12 402": (from_status(402), MOVE_ON, GIVE_UP),
    "F18 401": (from_status(401), MOVE_ON, GIVE_UP),
    "F17 400": (from_status(400), GIVE_UP, GIVE_UP),
    "F17 422": (from_status(422), GIVE_UP, GIVE_UP),
    "F17 404": (from_status(404), GIVE_UP, GIVE_UP),
    "F20 unreadable": (upstream_failure("bad_payload"), MOVE_ON, GIVE_UP),
    "F28 deadline": (upstream_failure("deadline"), GIVE_UP, GIVE_UP),
}


def step(
    error: UpstreamError, *, left: int = 1, only: bool = False, retried: bool = False, named: bool = True
) -> NextStep:
    return next_step(error, attempts_left=left, only_candidate=only, retried=retried, model_named=named)


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    """G1, G2, F17."""
    error, among_others, alone = TABLE[name]
    assert step(error) is among_others
    assert step(error, only=True) is alone


@pytest.mark.parametrize("name", TABLE)
def test_nothing_follows_the_last_attempt_and_nothing_is_retried_twice(name: str) -> None:
    """G1: at most three attempts a call, and one retry of a deployment."""
    error = TABLE[name][0]
    for only, retried, named in itertools.product((True, False), repeat=3):
        assert step(error, left=0, only=only, retried=retried, named=named) is GIVE_UP
        assert step(error, only=True, retried=True, named=named) is GIVE_UP


def test_a_missing_model_moves_on_when_the_gateway_chose_it() -> None:
    """F17."""
    assert step(from_status(404), named=False) is MOVE_ON
    assert step(from_status(400), named=False) is GIVE_UP


def test_retries_are_spread() -> None:
    """Callers that failed together do not come back together."""
    assert [retry_wait(chance) for chance in (0.0, 1.0)] == list(RETRY_WAIT_S)
