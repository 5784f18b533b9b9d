"""One call from start to end, retries included, without I/O.

`exchange` is a generator: it yields what to do (`Send` or `Retry`) and is sent the outcome (a `Reply`, or the error in
its place). The two clients drive it, one with `await` and one without, so the logic exists once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

from attrs import evolve, field, frozen

from fwd_client._decode import status_error
from fwd_client._errors import APIConnectionError, APIError, APITimeoutError
from fwd_client._operations import Operation, Reply
from fwd_client._options import Options, missing_key
from fwd_client._version import __version__

T = TypeVar("T")

RETRIED_STATUSES: Final = frozenset({408, 409, 429})
FIRST_DELAY_S: Final = 0.5
LONGEST_DELAY_S: Final = 8.0
LONGEST_REQUESTED_DELAY_S: Final = 120.0
SHORTEST_S: Final = 0.001
GRACE_S: Final = 0.5
"""How much longer than the gateway this side waits: its 504 has more detail than our own timeout."""


@frozen
class Send:
    """Send this request; the driver adds the key. Times are in seconds, `deadline` is a moment of the clock or inf."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    stream: bool
    attempt: int
    connect_s: float | None
    read_s: float | None
    deadline: float


@frozen
class Retry:
    """A failed call is about to be repeated, after a wait.

    `error` is what went wrong, `delay_s` the wait in seconds, `number` counts the repetitions from 1, and
    `max_retries` is how many there may be.
    """

    error: APIError
    delay_s: float
    number: int
    max_retries: int


Step = Send | Retry
Outcome = Reply | APIConnectionError | None


@frozen
class World:
    """What decisions depend on: a monotonic clock, and a random number between 0 and 1."""

    clock: Callable[[], float]
    chance: Callable[[], float]


def run_exchange(operation: Operation[T], options: Options, world: World) -> Generator[Step, Outcome, T]:
    """Send the operation, and repeat it after failures that may pass, until it is answered or the error is final."""
    # Said here and not by the gateway: its 401 cannot know that no key was set.
    if operation.needs_key and options.key is None:
        raise missing_key(options)
    start, limits = world.clock(), options.timeout
    end = start + _limit_seconds(limits.total)
    # Until a stream begins, and no longer, a retry gives the caller nothing twice.
    begin = min(end, start + _limit_seconds(limits.first_token)) if operation.stream else end
    attempt = 0
    while True:
        outcome = yield _build_request(operation, options, attempt, world.clock(), begin, end)
        if isinstance(outcome, Reply) and operation.is_answer(outcome.status):
            return _read_answer(operation, evolve(outcome, retries=attempt))
        # From here on there is no answer: it is tried again, or raised.
        error = _read_failure(outcome)
        delay = retry_delay(error, attempt, options.max_retries, world.chance())
        # A wait beyond the deadline would end in a timeout that hides the true error.
        if delay is None or world.clock() + delay >= begin:
            raise error
        attempt += 1
        yield Retry(error, delay, attempt, options.max_retries)


def _limit_seconds(limit: float | None) -> float:
    return math.inf if limit is None else limit


def _build_request(
    operation: Operation[T], options: Options, attempt: int, now: float, begin: float, end: float
) -> Send:
    """The next try: the answer has to begin and to end by these moments."""
    # A whole answer comes after a long silence, so only streams have a limit for it.
    silence = min(end - now, _limit_seconds(options.timeout.idle if operation.stream else None))
    return Send(
        method=operation.method,
        url=options.base_url + operation.path,
        headers=_build_headers(operation, options, attempt, begin - now),
        body=operation.body,
        stream=operation.stream,
        attempt=attempt,
        connect_s=options.timeout.connect,
        read_s=max(silence, SHORTEST_S) + GRACE_S if silence < math.inf else None,
        deadline=end + GRACE_S,
    )


def _build_headers(operation: Operation[T], options: Options, attempt: int, left: float) -> dict[str, str]:
    headers = {
        "accept": "text/event-stream" if operation.stream else "application/json",
        # So that the operator's log tells which version called.
        "user-agent": f"fwd-client/{__version__}",
        **operation.headers,
    }
    if operation.body is not None:
        # The count is written to the gateway's log: it tells repeated calls from new ones.
        headers |= {"content-type": "application/json", "x-fwd-retry-count": str(attempt)}
        # The gateway ends the call with our deadline, instead of working for nobody.
        headers |= {"x-fwd-timeout": f"{max(left, SHORTEST_S):.3f}"} if left < math.inf else {}
    # Last, so that a caller's own header wins over ours.
    return headers | {name.lower(): value for name, value in options.headers.items()}


def _read_failure(outcome: Outcome) -> APIError:
    if isinstance(outcome, Reply):
        return status_error(outcome.status, outcome.headers, outcome.body)
    if outcome is None:
        raise TypeError("a Send must be answered with a Reply or an error")
    return outcome


def _read_answer(operation: Operation[T], reply: Reply) -> T:
    try:
        return operation.read(reply)
    except APIError as error:
        # The body could not be read, but the head says which call it was.
        error.status = reply.status
        error.request_id = reply.headers.get("x-request-id")
        raise


def retry_delay(error: APIError, attempt: int, max_retries: int, chance: float) -> float | None:
    """Seconds to wait before trying again, or None when this error is final.

    The same rules as the official OpenAI and Anthropic clients: the gateway's `x-should-retry` decides first; then
    408, 409, 429, 5xx and broken connections are retried. A wait that the gateway asks for is respected; if it is
    longer than two minutes, the error is final.
    """
    if attempt >= max_retries or not _is_retryable(error):
        return None
    # Asked for in the answer: sooner would be refused again.
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= LONGEST_REQUESTED_DELAY_S else None
    delay = min(FIRST_DELAY_S * 2.0**attempt, LONGEST_DELAY_S)
    # Clients that failed together should not come back together.
    return delay * (1 - 0.25 * chance)


def _is_retryable(error: APIError) -> bool:
    if error.should_retry is not None:
        return error.should_retry
    # An error inside a stream has no status; part of the answer has arrived by then.
    if error.status is None:
        return isinstance(error, APIConnectionError)
    return error.status in RETRIED_STATUSES or error.status >= 500


# Looked at before the faults, because a timeout is a TransportError too.
_TIMEOUTS: Final = {
    "ConnectTimeout": "No connection to {url} within the connect timeout.",
    "PoolTimeout": "All connections of the HTTP client are in use; none became free for {url} in time.",
    "TimeoutException": "No answer from {url} in time.",
}
_FAULTS: Final = {
    "ConnectError": "Cannot connect to {url}: {reason}.",
    "ProxyError": "The proxy between here and {url} failed: {reason}.",
    "UnsupportedProtocol": "Cannot send to {url}: {reason}.",
    "TransportError": "The connection to {url} broke: {reason}.",
    "DecodingError": "The answer from {url} cannot be decoded: {reason}.",
}


def connection_error(error: Exception, url: str) -> APIConnectionError | None:
    """Our error for one of the transport's, found by the names of its classes; None if it is not the transport's.

    By name, so that httpx, httpx2 and whatever has the same classes need not be imported here.
    """
    # The most exact class comes first in the order of inheritance.
    names = [cls.__name__ for cls in type(error).__mro__]
    # Some of the library's errors have no text.
    reason = (str(error) or type(error).__name__).rstrip(".")
    for table, kind in ((_TIMEOUTS, APITimeoutError), (_FAULTS, APIConnectionError)):
        text = next((table[name] for name in names if name in table), None)
        if text is not None:
            return kind(text.format(url=url, reason=reason))
    return None


@contextmanager
def transport_errors(url: str) -> Generator[None, None, None]:
    """Around everything that uses the transport: its errors become ours, all others pass through."""
    try:
        yield
    except Exception as error:
        ours = connection_error(error, url)
        if ours is None:
            raise
        raise ours from error


def too_late(url: str) -> APITimeoutError:
    """The error of a call whose deadline passed before its answer was complete."""
    return APITimeoutError(f"The answer from {url} was not complete in time.")
