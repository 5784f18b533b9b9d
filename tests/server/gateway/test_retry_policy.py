"""When the only candidate is tried once more, as a table."""

from __future__ import annotations

import pytest

from fwd_server.gateway.retry_policy import RETRY_WAIT_S, may_pass, retry_wait
from fwd_server.values.errors import from_status, upstream_failure

TABLE = {
    "F1 refused": (upstream_failure("connect_failed"), False),
    "F8 reset": (upstream_failure("upstream_reset"), True),
    "F2 connect timeout": (upstream_failure("connect_timeout"), False),
    "F7 timeout": (upstream_failure("upstream_timeout"), False),
    "F13 500": (from_status(500), True),
    "F14 502": (from_status(502), True),
    "F15 503": (from_status(503), True),
    "F15 503, again in a minute": (from_status(503, retry_after_s=60.0), False),
    "F15 503, again at once": (from_status(503, retry_after_s=0.1), True),
    "F16 529": (from_status(529), True),
    "F11 429": (from_status(429), False),
    "F12 402": (from_status(402), False),
    "F18 401": (from_status(401), False),
    "F17 400": (from_status(400), False),
    "F17 404": (from_status(404), False),
    "F20 unreadable": (upstream_failure("bad_payload"), False),
    "F28 deadline": (upstream_failure("deadline"), False),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    """G1: after a reset or a failure that may pass; what else follows is the plan's (test_laws)."""
    error, is_repeated = TABLE[name]
    assert may_pass(error) is is_repeated


def test_retries_are_spread() -> None:
    """Callers that failed together do not come back together."""
    assert [retry_wait(chance) for chance in (0.0, 1.0)] == list(RETRY_WAIT_S)
