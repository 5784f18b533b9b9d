"""One try at one deployment: send, read, and note how it ended."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from fwd_server.clock import Clock
from fwd_server.gateway.reading import read_all
from fwd_server.gateway.translation import AnyExchange
from fwd_server.observe import log
from fwd_server.observe.hub import ObserverHub
from fwd_server.providers.base import AmendedRequest, Provider, UpstreamRequest
from fwd_server.routing.needs import CallNeeds
from fwd_server.routing.state import RoutingState, RunningAttempt
from fwd_server.routing.table import Seat
from fwd_server.routing.walk import Step
from fwd_server.upstream.deadline import Deadline
from fwd_server.upstream.send import Upstream, UpstreamResponse
from fwd_server.values.cloud_token import CloudToken
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import ErrorKind, UpstreamError
from fwd_server.values.record import CallRecord
from fwd_server.values.timeouts import FIRST_EVENT_S, THINKING_FIRST_EVENT_S, Timeouts

T = TypeVar("T")
# Reads a good answer within a deadline, which it may restart while the provider shows progress. Raises UpstreamError.
ReadAnswer = Callable[[UpstreamResponse, AnyExchange, Deadline], Awaitable[T]]

# An error page is read into memory whole. Some proxies send megabytes of HTML with a 502, and nobody reads it.
_LONGEST_ERROR: Final = 1 << 20
_DURATION: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?|(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h|d))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)")
_UNIT_S: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PLAIN: Final = re.compile(r"[!-~]{1,200}")  # characters allowed in our own headers
# In the order of preference: OpenAI and compatible servers, Claude, OpenRouter.
_UPSTREAM_IDS: Final = ("x-request-id", "request-id", "x-generation-id")
# The times that may have been over when an attempt ended with a code.
_TIMES_OF_CODE: Final[Mapping[str | None, tuple[str, ...]]] = {
    "connect_timeout": ("connect_s",),
    "dns_failed": ("connect_s",),
    "upstream_timeout": ("first_byte_s", "first_event_s"),
    "upstream_stalled": ("idle_s",),
}


class AttemptRunner:
    """Runs attempts, and tells the gateway's memory how they ended."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        upstream: Upstream,
        clock: Clock,
        state: RoutingState,
        hub: ObserverHub,
    ) -> None:
        self._providers = providers
        self._upstream = upstream
        self._clock = clock
        self._state = state
        self._hub = hub

    async def run_attempt(
        self, exchange: AnyExchange, step: Step, needs: CallNeeds, record: CallRecord, read: ReadAnswer[T]
    ) -> tuple[T, RunningAttempt] | AmendedRequest | UpstreamError:
        """Try once. A failure is returned, not raised: whoever walks the plan decides what follows it.

        The attempt ends with the commit: for a stream that is its first content, so ``read`` ends there. What comes
        with an answer still runs at the provider, and must be given to ``RoutingState.end_attempt``.
        """
        seat = step.seat
        deployment = seat.target
        began = self._clock.monotonic()
        times = deployment.endpoint.timeouts.shortened_by(record.call.requested_timeouts)
        limit = _attempt_deadline(record, times, exchange, began)
        record.begin_attempt(deployment, began)
        self._hub.attempt_started(record, deployment)
        # The probe is claimed before anything is awaited, or two calls could both become the one that tests a
        # deployment after its cooldown.
        running = self._state.begin_attempt(seat, needs, began)
        failure: UpstreamError | None = None
        result: T | AmendedRequest | UpstreamError | None = None
        try:
            with limit:
                result = await self._send_request(exchange, seat, record, times, read, limit)
            # The provider refused a field, not the call: the health of the deployment does not suffer for it.
            if isinstance(result, AmendedRequest):
                failure = result.error
        except UpstreamError as error:
            result = failure = error
            self.note_failure(record, seat, error)
        finally:
            # Also when the caller disconnects: a probe that nobody releases would keep the deployment in cooldown.
            self._state.release_probe(seat)
            if failure is not None or result is None:
                self._state.end_attempt(running, None, self._clock.monotonic())
        attempt = record.note_attempt(deployment, began, self._clock.monotonic(), failure, step.why)
        self._hub.attempt_ended(record, attempt)
        return result if isinstance(result, AmendedRequest | UpstreamError) else (result, running)

    def note_failure(self, record: CallRecord, seat: Seat, error: UpstreamError) -> None:
        """Tell the gateway's memory, unless the caller allowed less time than the operator does."""
        if _is_callers_timeout(error, record, seat.target):
            return
        is_news = self._state.note_failure(seat, error, self._clock.monotonic(), stream=record.call.request.stream)
        # A refused key has its alarm in the access log, with every call that met it.
        # Once for each cooldown: an empty account would otherwise fill the log with every call.
        if is_news and error.kind is ErrorKind.QUOTA:
            log.upstream.error("%s: the account of %s is out of credit", seat.lane.instance.name, seat.key.name)

    async def _send_request(
        self,
        exchange: AnyExchange,
        seat: Seat,
        record: CallRecord,
        times: Timeouts,
        read: ReadAnswer[T],
        limit: Deadline,
    ) -> T | AmendedRequest:
        deployment = seat.target
        response = await self._upstream.send_request(deployment.endpoint, exchange.request, record.call.via, times)
        headers = response.headers
        try:
            # Noted before the status is looked at, because the id is worth most to support when the request failed.
            record.note_response_head(_upstream_request_id(headers))
            if 200 <= response.status < 300:
                limits = self._providers[deployment.provider].limits(headers, int(self._clock.now()))
                record.note_rate_limits(tuple([limit for limit in limits if _PLAIN.fullmatch(limit[1])]))
                return await read(response, exchange, limit)
            failed = exchange.error(response.status, headers, await read_all(response, _LONGEST_ERROR))
            key = deployment.endpoint.key
            if response.status == 401 and isinstance(key, CloudToken):
                key.session.wanted.set()  # RT20: a refused token is renewed before its time
        # CancelledError too: otherwise a disconnected caller would leave the provider's connection open and paid for.
        except BaseException:
            response.close()
            raise
        response.close()
        if isinstance(failed, AmendedRequest):
            return failed
        raise failed

    def note_exhausted(self, seat: Seat, limits: Mapping[str, str]) -> None:
        """Let a key cool down that has no request or no token left, by the headers of a good answer."""
        for unit in ("requests", "tokens"):
            if limits.get(f"x-ratelimit-remaining-{unit}") == "0":
                reset_s = read_reset(limits.get(f"x-ratelimit-reset-{unit}", ""))
                if reset_s:
                    self._state.keys.note_exhausted(seat, reset_s, self._clock.monotonic())


def read_reset(text: str) -> float | None:
    """Seconds in a rate limit's reset as OpenAI writes it (``6m0s``, ``20ms``), or a bare number of them.

    https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers
    """
    if not _DURATION.fullmatch(text):
        return None
    parts = _DURATION_PART.findall(text)
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def remaining_s(record: CallRecord, now: float) -> float:
    """Seconds that remain of a call's own time."""
    return record.call.deadline_s - (now - record.started)


def _attempt_deadline(record: CallRecord, times: Timeouts, exchange: AnyExchange, now: float) -> Deadline:
    """How long an attempt may take.

    A stream has the first-event time, which starts anew with every sign of progress; nothing goes beyond the total of
    the provider, or what remains of the call's own time. A model that thinks may do so for minutes without showing it:
    it gets a longer time, unless the operator or the caller named one.
    """
    remaining = remaining_s(record, now)
    hard, code = (times.total_s, "upstream_timeout") if times.total_s < remaining else (remaining, "deadline")
    if not record.call.request.stream:
        return Deadline(hard, code)
    # A provider that hides the thinking sends nothing before the first token of the answer. Without the longer time
    # every hard question would look like a dead provider.
    thinks = isinstance(exchange.request, UpstreamRequest) and exchange.request.thinks
    is_default = times.first_event_s == FIRST_EVENT_S
    first_event_s = THINKING_FIRST_EVENT_S if thinks and is_default else times.first_event_s
    return Deadline(first_event_s, "upstream_timeout", hard, code) if first_event_s < hard else Deadline(hard, code)


def _is_callers_timeout(error: UpstreamError, record: CallRecord, deployment: Deployment) -> bool:
    """Whether a time was over that the caller had made shorter: that says nothing about the provider."""
    # With a status the provider has answered, so no time of ours was over.
    if error.upstream_status or not record.call.requested_timeouts:
        return False
    own = deployment.endpoint.timeouts
    requested = own.shortened_by(record.call.requested_timeouts)
    return any(getattr(requested, name) != getattr(own, name) for name in _TIMES_OF_CODE.get(error.code, ()))


def _upstream_request_id(headers: Mapping[str, str]) -> str | None:
    for name in _UPSTREAM_IDS:
        value = headers.get(name)
        if value is not None and _PLAIN.fullmatch(value):
            return value
    return None
