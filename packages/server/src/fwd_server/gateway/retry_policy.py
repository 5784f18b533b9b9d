"""What follows a failed attempt: pure decisions, tested as a table (contract G1, F17)."""

from __future__ import annotations

import enum
from typing import Final

from attrs import frozen

from fwd_server.values.errors import CALLERS_FAULT, MODELS_FAULT, UpstreamError

RETRY_WAIT_S: Final = (0.2, 0.5)  # before an only candidate is tried again: anywhere between
# 529 is Anthropic's "overloaded": https://docs.anthropic.com/en/api/errors. 501 and 505 do not pass by waiting.
_TRANSIENT_STATUSES: Final = frozenset({500, 502, 503, 504, 529})


@frozen
class RetryPolicy:
    """How often, how long and how much, whichever provider is tried.

    ``attempts`` of one call in all (G1); ``stream_s`` seconds from the commit to the end of a stream (F28), because
    those before the commit are the provider's (``Endpoint.timeouts``); ``answer_bytes`` of one answer (F26).
    """

    attempts: int = 3
    stream_s: float = 1800.0
    answer_bytes: int = 64 << 20


class NextStep(enum.Enum):
    """What to do after a failure."""

    RETRY = "retry"  # the same deployment, after a short wait
    MOVE_ON = "move_on"  # the next deployment of the plan
    GIVE_UP = "give_up"


def next_step(
    error: UpstreamError, *, attempts_left: int, only_candidate: bool, retried: bool, model_named: bool
) -> NextStep:
    """Decide what follows ``error``.

    The caller's own fault fails everywhere, so it ends the call; so does a missing model or a full context, unless
    the gateway chose the model. Everything else moves on. A deployment that is the only candidate is tried once more
    after a reset or a passing failure, since there is nothing to move on to.
    """
    if is_final(error, model_named=model_named) or attempts_left <= 0:
        return NextStep.GIVE_UP
    if only_candidate:
        return NextStep.RETRY if not retried and may_pass(error) else NextStep.GIVE_UP
    return NextStep.MOVE_ON


def is_final(error: UpstreamError, *, model_named: bool) -> bool:
    """Whether no other provider is tried after ``error``."""
    if error.code == "deadline" or error.kind in CALLERS_FAULT:
        return True
    return error.kind in MODELS_FAULT and model_named


def may_pass(error: UpstreamError) -> bool:
    """Whether the same deployment may answer if it is tried again soon: after a reset or a passing failure (G1)."""
    # A provider that asks for more time than we would wait is not tried again: it would only refuse again.
    soon = error.retry_after_s is None or error.retry_after_s <= RETRY_WAIT_S[1]
    return soon and (error.code == "upstream_reset" or error.upstream_status in _TRANSIENT_STATUSES)


def retry_wait(chance: float) -> float:
    """Seconds before the retry; ``chance`` from 0 to 1 spreads callers that failed together."""
    low, high = RETRY_WAIT_S
    return low + (high - low) * chance
