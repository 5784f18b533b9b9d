"""Limits of provider accounts, so that we do not run into theirs: of keys and of deployments (rpm, tpm, concurrency).

A limit of ours is not a guess, unlike a cooldown: a seat at its limit is never asked.
"""

from __future__ import annotations

import math
from typing import Final

from attrs import define, field, frozen

from fwd_server.metering.windows import Gauge, Window
from fwd_server.routing.table import Limits

MINUTE_S: Final = 60.0
BUSY_S: Final = 1.0  # nobody knows when a call ends


@frozen
class Reservation:
    """What an attempt has taken of one account, for ``settle``."""

    usage: AccountUsage = field(repr=False)
    slot: int
    tokens: int


@define
class AccountUsage:
    """What is used of one account; its limits may change while it is used. ``now`` is in monotonic seconds."""

    limits: Limits
    _running: Gauge = field(init=False, factory=Gauge)
    _requests: Window = field(init=False, factory=lambda: Window(MINUTE_S))
    _tokens: Window = field(init=False, factory=lambda: Window(MINUTE_S))

    def wait_s(self, tokens: int, now: float) -> float:
        """Seconds until an attempt with so many tokens has room; 0: now, infinity: never. Counts nothing."""
        limits = self.limits
        busy = limits.concurrency is not None and self._running.running >= limits.concurrency
        requests_s = _wait_s(self._requests, 1, limits.rpm, now)
        return max(BUSY_S if busy else 0.0, requests_s, _wait_s(self._tokens, tokens, limits.tpm, now))

    def admit(self, tokens: int, now: float) -> Reservation:
        """Count an attempt, whether or not there is room."""
        self._running.running += 1
        self._requests.add(now, 1)
        return Reservation(self, self._tokens.add(now, tokens), tokens)

    def settle(self, reservation: Reservation, tokens: int | None, now: float) -> None:
        """The attempt is over and took so many tokens; None: nobody says, the estimate stands."""
        self._running.running -= 1
        if tokens is not None:
            self._tokens.count_at(now)
            self._tokens.correct(reservation.slot, tokens - reservation.tokens)


def _wait_s(window: Window, count: int, limit: int | None, now: float) -> float:
    if limit is None:
        return 0.0
    seconds = window.seconds_until_room(now, count, limit)
    # More than the whole limit never fits, however long one waits.
    return math.inf if seconds is None or count > limit else seconds
