"""Which keys of providers are cooling down: a small state machine that is told the time (contract F11, F12, F18).

A rate limit and a 403 say something about a key and one model, an empty account and a 401 about the key. A key that
cools down is asked only when nothing else is left; when its time is over, one call probes it, and for the others it
goes on cooling down until that call knows more.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from fwd_server.routing.table import Seat
from fwd_server.values.errors import ErrorKind, UpstreamError

RATE_LIMIT_S: Final = 5.0  # where the provider does not say how long
LONGEST_RATE_LIMIT_S: Final = 600.0
SHORTEST_S: Final = 60.0  # for an empty account or a refused key; doubles each time
LONGEST_S: Final = 3600.0
LONGEST_RESET_S: Final = 60.0  # for what an answer's own headers say
MOST_RECORDS: Final = 4096  # callers choose models, so there must be a bound

KEY_FAILURES: Final = frozenset({ErrorKind.RATE_LIMITED, ErrorKind.QUOTA, ErrorKind.AUTH})

_Scope = tuple[str, str]  # the key's identity, and the model; "" is every model


@define
class _Cooldown:
    until: float
    length_s: float
    probing: bool = False


class KeyHealth:
    """What is remembered of keys. ``now`` is in monotonic seconds everywhere."""

    def __init__(self) -> None:
        # Empty while no key cools down: whoever is in a hurry looks here first.
        self.cooldowns: dict[_Scope, _Cooldown] = {}

    def resting_until(self, seat: Seat, now: float) -> float | None:
        """When the seat's key may be used for its model again; None if it may now."""
        ends = [
            cooldown.until
            for scope in _scopes(seat)
            if (cooldown := self.cooldowns.get(scope)) and (cooldown.probing or cooldown.until > now)
        ]
        return max(ends, default=None)

    def note_attempt(self, seat: Seat, now: float) -> None:
        """An attempt begins. Where a cooldown is over it is the probe."""
        for scope in _scopes(seat):
            cooldown = self.cooldowns.get(scope)
            if cooldown is not None and cooldown.until <= now:
                cooldown.probing = True

    def release_probe(self, seat: Seat) -> None:
        """The attempt is over and says nothing about the key: the next call may probe."""
        for scope in _scopes(seat):
            cooldown = self.cooldowns.get(scope)
            if cooldown is not None:
                cooldown.probing = False

    def note_success(self, seat: Seat) -> None:
        """It was taken: forget what was."""
        for scope in _scopes(seat):
            self.cooldowns.pop(scope, None)

    def note_failure(self, seat: Seat, error: UpstreamError, now: float) -> bool:
        """An attempt ended with ``error``; True if an operator has to be told (once for each cooldown).

        A failure that says nothing about the key only ends its probe.
        """
        if error.kind not in KEY_FAILURES:
            self.release_probe(seat)
            return False
        if error.kind is ErrorKind.RATE_LIMITED:
            wait_s = RATE_LIMIT_S if error.retry_after_s is None else error.retry_after_s
            self._rest((seat.key.identity, seat.target.model), min(wait_s, LONGEST_RATE_LIMIT_S), now, doubles=False)
            return False
        # 403 is often a project that lacks the model; 401 and an empty account are the key's own.
        model = seat.target.model if error.upstream_status == 403 else ""
        return self._rest((seat.key.identity, model), SHORTEST_S, now, doubles=True)

    def note_exhausted(self, seat: Seat, reset_s: float, now: float) -> None:
        """A good answer says that no request or token is left until ``reset_s`` from now."""
        self._rest((seat.key.identity, seat.target.model), min(reset_s, LONGEST_RESET_S), now, doubles=False)

    def forget_others(self, identities: frozenset[str]) -> None:
        """Forget the keys that are in no table any more."""
        for scope in [scope for scope in self.cooldowns if scope[0] not in identities]:
            del self.cooldowns[scope]

    def cooling_down(self, now: float) -> list[tuple[_Scope, float]]:
        """What cools down now, with the seconds that are left: a key's identity and the model, "" for all of them."""
        return [(scope, one.until - now) for scope, one in self.cooldowns.items() if one.until > now]

    def _rest(self, scope: _Scope, seconds: float, now: float, *, doubles: bool) -> bool:
        """Cool down; True if it did not already. Attempts that began before change nothing but the end."""
        # Taken out and put back at the end, so that the oldest is the one that makes room for a new one.
        old = self.cooldowns.pop(scope, None)
        if old is not None and old.until > now:
            old.probing = False
            old.until = old.until if doubles else max(old.until, now + seconds)
            self.cooldowns[scope] = old
            return False
        if doubles and old is not None:
            seconds = min(max(2 * old.length_s, seconds), LONGEST_S)
        if len(self.cooldowns) >= MOST_RECORDS:
            del self.cooldowns[next(iter(self.cooldowns))]
        self.cooldowns[scope] = _Cooldown(now + seconds, seconds)
        return True


def _scopes(seat: Seat) -> tuple[_Scope, _Scope]:
    identity = seat.key.identity
    return (identity, seat.target.model), (identity, "")
