"""What the gateway remembers of deployments and keys while it runs.

It lives outside the table, under identities: what keeps its identity over a reload keeps its cooldowns, latencies and
counts. Every method is told the time in monotonic seconds; nothing here asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from attrs import frozen

from fwd_server.routing.account_limits import AccountUsage, Reservation
from fwd_server.routing.health import Health, says_nothing
from fwd_server.routing.key_health import KEY_FAILURES, KeyHealth
from fwd_server.routing.latency import LatencyTracker
from fwd_server.routing.needs import CallNeeds
from fwd_server.routing.table import Instance, Lane, Limits, Seat, matches
from fwd_server.values.errors import CALLERS_FAULT, MODELS_FAULT, UpstreamError


class RunningAttempt(NamedTuple):
    """An attempt between ``begin_attempt`` and ``end_attempt``."""

    seat: Seat
    reservations: tuple[Reservation, ...] = ()


@frozen
class Cooldown:
    """A deployment that cools down, or one of its keys (then ``key`` is its name), and for how many seconds more.

    ``model`` is None for a key that no model may use.
    """

    provider: str
    model: str | None
    seconds: float
    key: str | None = None


class RoutingState:
    """Cooldowns of deployments and keys, latencies, attempts in flight, and what is used of accounts."""

    def __init__(self, health: Health | None = None) -> None:
        self.health = health or Health()
        self.keys = KeyHealth()
        self.latencies = LatencyTracker()
        # The same two tables that health and keys have; both are empty in a gateway where nothing fails.
        self._failures, self._cooldowns = self.health.records, self.keys.cooldowns
        self._inflight: dict[object, int] = {}
        self._usages: dict[object, AccountUsage] = {}

    # -- what a plan asks

    @property
    def quiet(self) -> bool:
        """Whether nothing cools down."""
        return not (self._failures or self._cooldowns)

    def resting_until(self, seat: Seat, now: float) -> float | None:
        """When the seat's cooldown ends, that of its deployment or of its key; None if there is none."""
        own = self.health.resting_until(seat.target, now) if self._failures else None
        keys = self.keys.resting_until(seat, now) if self._cooldowns else None
        if own is None or keys is None:
            return keys if own is None else own
        return max(own, keys)

    def limit_wait_s(self, seat: Seat, call: CallNeeds, now: float) -> float:
        """Seconds until the seat has room under our own limits of its key and its deployment; 0: it has."""
        if not seat.limited:
            return 0.0
        return max(usage.wait_s(call.tokens, now) for usage in self._accounts(seat))

    def inflight(self, lane: Lane) -> int:
        """Attempts that run at a deployment now."""
        return self._inflight.get(lane.identity, 0)

    def latency_s(self, lane: Lane, now: float, *, stream: bool) -> float:
        """What an answer of a deployment takes."""
        return self.latencies.latency_s(lane.identity, now, stream=stream)

    # -- what the gateway reports

    def begin_attempt(self, seat: Seat, call: CallNeeds, now: float) -> RunningAttempt:
        """An attempt begins. It must be ended, whatever becomes of it."""
        identity = seat.lane.identity
        self._inflight[identity] = self._inflight.get(identity, 0) + 1
        if self._failures or self._cooldowns:
            self.health.note_attempt(seat.target, now)
            self.keys.note_attempt(seat, now)
        if not seat.limited:
            return RunningAttempt(seat)
        return RunningAttempt(seat, tuple(usage.admit(call.tokens, now) for usage in self._accounts(seat)))

    def note_answer(self, seat: Seat, seconds: float, now: float, *, stream: bool, tokens: int = 0) -> None:
        """An answer has begun well: the key is good, and this is how long it took.

        ``seconds`` until the first content of a stream, or until a whole answer of ``tokens``.
        """
        if self._cooldowns:
            self.keys.note_success(seat)
        # Only models that are balanced by latency read them, so nobody else pays for them.
        if seat.lane.timed:
            self.latencies.note_answer(seat.lane.identity, seconds, now, stream=stream, tokens=tokens)

    def note_good_end(self, seat: Seat) -> None:
        """An answer was whole: the deployment is up."""
        if self._failures:
            self.health.note_success(seat.target)

    def note_failure(self, seat: Seat, error: UpstreamError, now: float, *, stream: bool) -> bool:
        """An attempt failed; True if an operator has to be told about the key."""
        if error.kind in KEY_FAILURES:
            # It is the key that cools down: with another one the deployment may answer at once.
            self.health.release_probe(seat.target)
            return self.keys.note_failure(seat, error, now)
        if error.kind in CALLERS_FAULT | MODELS_FAULT:
            # A provider that judges the request has accepted the key.
            self.keys.note_success(seat)
        else:
            self.keys.release_probe(seat)
            if seat.lane.timed and not says_nothing(error):
                self.latencies.note_failure(seat.lane.identity, now, stream=stream)
        self.health.note_failure(seat.target, error, now)
        return False

    def release_probe(self, seat: Seat) -> None:
        """An attempt is over or has begun to answer, and says nothing more for now: the next call may probe."""
        if self._failures or self._cooldowns:
            self.health.release_probe(seat.target)
            self.keys.release_probe(seat)

    def end_attempt(self, attempt: RunningAttempt, tokens: int | None, now: float) -> None:
        """An attempt, its stream included, is over and took ``tokens``; None where nobody says."""
        identity = attempt.seat.lane.identity
        running = self._inflight.pop(identity, 1) - 1
        # Removed at zero: callers make up names of models, and each would leave an entry for ever.
        if running > 0:
            self._inflight[identity] = running
        for reservation in attempt.reservations:
            reservation.usage.settle(reservation, tokens, now)

    # -- for people

    def cooling_down(self, instances: Mapping[str, Instance], now: float) -> tuple[Cooldown, ...]:
        """Every deployment and key that cools down now; one that is due is up."""
        cooldowns = [Cooldown(provider, model, left) for (provider, model), left in self.health.cooling_down(now)]
        names = {key.identity: (i.name, key.name) for i in instances.values() for key in i.keys}
        for (identity, model), left in self.keys.cooling_down(now):
            if identity in names:
                provider, key = names[identity]
                cooldowns.append(Cooldown(provider, model or None, left, key))
        return tuple(cooldowns)

    # -- what a reload does

    def keep_only(self, instances: Iterable[Instance], lanes: Iterable[Lane]) -> None:
        """Forget what a new table does not have, and take its limits; attempts that run end as they began.

        ``lanes`` are those of the public models. Others are made as callers name them: they stay with their provider.
        """
        kept = tuple(instances)
        places = frozenset((instance.name, instance.endpoint.base_url) for instance in kept)
        self.keys.forget_others(frozenset(key.identity for instance in kept for key in instance.keys))
        self.latencies.keep_places(places)
        self.health.keep_places(places)
        limits: dict[object, Limits] = {lane.identity: lane.limits for lane in lanes}
        limits |= {key.identity: key.limits for instance in kept for key in instance.keys}
        for identity, usage in [*self._usages.items()]:
            current = limits.get(identity) or _pattern_limits(limits, identity)
            if current is None or current.empty:
                del self._usages[identity]
            else:
                usage.limits = current

    def _accounts(self, seat: Seat) -> Iterable[AccountUsage]:
        """The accounts with limits that a seat draws on: its key's and its deployment's."""
        for identity, limits in ((seat.key.identity, seat.key.limits), (seat.lane.identity, seat.lane.limits)):
            if not limits.empty:
                usage = self._usages.get(identity)
                if usage is None:
                    usage = self._usages[identity] = AccountUsage(limits)
                yield usage


def _pattern_limits(limits: Mapping[Any, Limits], identity: Any) -> Limits | None:
    """The limits of a deployment that a pattern was filled for."""
    for known, pattern_limits in limits.items():
        both = isinstance(known, tuple) and isinstance(identity, tuple)  # and no key's, which is a text
        if both and known[:2] == identity[:2] and matches(known[2], identity[2]):
            return pattern_limits
    return None
