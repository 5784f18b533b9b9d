"""What the gateway remembers of deployments and keys while it runs.

It lives outside the table, under identities: what keeps its identity over a reload keeps its cooldowns, latencies and
counts. Every method is told the time in monotonic seconds; nothing here asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from fwd_server.routing.account_limits import AccountUsage, Reservation
from fwd_server.routing.health import Health, says_nothing
from fwd_server.routing.key_health import KEY_FAILURES, KeyHealth
from fwd_server.routing.latency import LatencyTracker
from fwd_server.routing.table import Instance, Lane, Limits, Seat
from fwd_server.values.errors import CALLERS_FAULT, MODELS_FAULT, UpstreamError


@frozen
class RunningAttempt:
    """An attempt between ``begin_attempt`` and ``end_attempt``."""

    seat: Seat
    reservations: tuple[Reservation, ...] = ()


class RoutingState:
    """Cooldowns of deployments and keys, latencies, attempts in flight, and what is used of accounts."""

    def __init__(self, health: Health | None = None) -> None:
        self.health = health or Health()
        self.keys = KeyHealth()
        self.latencies = LatencyTracker()
        self._inflight: dict[object, int] = {}
        self._usages: dict[object, AccountUsage] = {}

    # -- what a plan asks

    @property
    def quiet(self) -> bool:
        """Whether nothing cools down."""
        return self.health.quiet and self.keys.quiet

    def resting_until(self, seat: Seat, now: float) -> float | None:
        """When the seat's cooldown ends, that of its deployment or of its key; None if there is none."""
        own = None if self.health.quiet else self.health.resting_until(seat.target, now)
        keys = None if self.keys.quiet else self.keys.resting_until(seat, now)
        if own is None or keys is None:
            return keys if own is None else own
        return max(own, keys)

    def limit_wait_s(self, seat: Seat, tokens: int, now: float) -> float:
        """Seconds until the seat has room under our own limits of its key and its deployment; 0: it has."""
        return max((usage.wait_s(tokens, now) for usage in self._accounts(seat)), default=0.0)

    def inflight(self, lane: Lane) -> int:
        """Attempts that run at a deployment now."""
        return self._inflight.get(lane.identity, 0)

    def latency_s(self, lane: Lane, now: float, *, stream: bool) -> float:
        """What an answer of a deployment takes."""
        return self.latencies.latency_s(lane.identity, now, stream=stream)

    # -- what the gateway reports

    def begin_attempt(self, seat: Seat, tokens: int, now: float) -> RunningAttempt:
        """An attempt begins, for which ``tokens`` are reserved. It must be ended, whatever becomes of it."""
        identity = seat.lane.identity
        self._inflight[identity] = self._inflight.get(identity, 0) + 1
        self.health.note_attempt(seat.target, now)
        self.keys.note_attempt(seat, now)
        return RunningAttempt(seat, tuple(usage.admit(tokens, now) for usage in self._accounts(seat)))

    def note_answer(
        self, attempt: RunningAttempt, seconds: float, now: float, *, stream: bool, tokens: int = 0
    ) -> None:
        """A good answer; ``seconds`` until the first content of a stream, or until a whole answer of ``tokens``."""
        seat = attempt.seat
        self.health.note_success(seat.target)
        self.keys.note_success(seat)
        self.latencies.note_answer(seat.lane.identity, seconds, now, stream=stream, tokens=tokens)

    def note_failure(self, attempt: RunningAttempt, error: UpstreamError, now: float, *, stream: bool) -> bool:
        """An attempt failed; True if an operator has to be told about the key."""
        seat = attempt.seat
        if error.kind in KEY_FAILURES:
            # It is the key that cools down: with another one the deployment may answer at once.
            self.health.release_probe(seat.target)
            return self.keys.note_failure(seat, error, now)
        if error.kind in CALLERS_FAULT | MODELS_FAULT:
            self.keys.note_success(seat)
        else:
            self.keys.release_probe(seat)
            if not says_nothing(error):
                self.latencies.note_failure(seat.lane.identity, now, stream=stream)
        self.health.note_failure(seat.target, error, now)
        return False

    def end_attempt(self, attempt: RunningAttempt, tokens: int | None, now: float) -> None:
        """An attempt, its stream included, is over and took ``tokens``; None where nobody says."""
        seat = attempt.seat
        left = self._inflight.pop(seat.lane.identity, 1) - 1
        if left > 0:
            self._inflight[seat.lane.identity] = left
        self.health.release_probe(seat.target)
        self.keys.release_probe(seat)
        for reservation in attempt.reservations:
            reservation.usage.settle(reservation, tokens, now)

    # -- what a reload does

    def keep_only(self, instances: Iterable[Instance], lanes: Iterable[Lane]) -> None:
        """Forget what a new table does not have, and take its limits; attempts that run end as they began.

        ``lanes`` are those of the public models. Others are made as callers name them: they stay with their provider.
        """
        kept = tuple(instances)
        self.keys.forget_others(frozenset(key.identity for instance in kept for key in instance.keys))
        self.latencies.keep_places(frozenset((instance.name, instance.endpoint.base_url) for instance in kept))
        limits: dict[object, Limits] = {lane.identity: lane.limits for lane in lanes}
        limits |= {key.identity: key.limits for instance in kept for key in instance.keys}
        for identity in [identity for identity in self._usages if limits.get(identity, Limits()).empty]:
            del self._usages[identity]
        for identity, usage in self._usages.items():
            usage.limits = limits[identity]

    def _accounts(self, seat: Seat) -> Iterable[AccountUsage]:
        """The accounts with limits that a seat draws on: its key's and its deployment's."""
        for identity, limits in ((seat.key.identity, seat.key.limits), (seat.lane.identity, seat.lane.limits)):
            if not limits.empty:
                usage = self._usages.get(identity)
                if usage is None:
                    usage = self._usages[identity] = AccountUsage(limits)
                yield usage
