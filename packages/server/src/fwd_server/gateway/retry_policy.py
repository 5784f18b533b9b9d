"""When the only candidate is tried once more: pure decisions, tested as a table (contract G1)."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from fwd_server.values.errors import UpstreamError

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


def may_pass(error: UpstreamError) -> bool:
    """Whether the same deployment may answer if it is tried again soon: after a reset or a passing failure (G1)."""
    # A provider that asks for more time than we would wait is not tried again: it would only refuse again.
    soon = error.retry_after_s is None or error.retry_after_s <= RETRY_WAIT_S[1]
    return soon and (error.code == "upstream_reset" or error.upstream_status in _TRANSIENT_STATUSES)


def retry_wait(chance: float) -> float:
    """Seconds before the retry; ``chance`` from 0 to 1 spreads callers that failed together."""
    # Spread, or all callers that failed in one moment would come back in one moment.
    low, high = RETRY_WAIT_S
    return low + (high - low) * chance
