"""Limits of provider accounts, so that we do not run into theirs: of keys and of deployments (rpm, tpm, concurrency).

A limit of ours is not a guess, unlike a cooldown: a seat at its limit is never asked.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

from fwd_server.routing.table import Limits
from fwd_server.values.windows import SlidingWindow

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
    """What is used of one account. ``now`` is in monotonic seconds everywhere."""

    limits: Limits
    running: int = 0
    _requests: SlidingWindow | None = field(init=False)
    _tokens: SlidingWindow | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._requests = SlidingWindow(self.limits.rpm, MINUTE_S) if self.limits.rpm is not None else None
        self._tokens = SlidingWindow(self.limits.tpm, MINUTE_S) if self.limits.tpm is not None else None

    def wait_s(self, tokens: int, now: float) -> float:
        """Seconds until an attempt with so many tokens has room; 0: now, infinity: never. Counts nothing."""
        busy = self.limits.concurrency is not None and self.running >= self.limits.concurrency
        requests_s = self._requests.wait_s(1, now) if self._requests else 0.0
        tokens_s = self._tokens.wait_s(tokens, now) if self._tokens else 0.0
        return max(BUSY_S if busy else 0.0, requests_s, tokens_s)

    def admit(self, tokens: int, now: float) -> Reservation:
        """Count an attempt, whether or not there is room."""
        self.running += 1
        if self._requests:
            self._requests.add(1, now)
        return Reservation(self, self._tokens.add(tokens, now) if self._tokens else 0, tokens)

    def settle(self, reservation: Reservation, tokens: int | None, now: float) -> None:
        """The attempt is over and took so many tokens; None: nobody says, the estimate stands."""
        self.running -= 1
        if self._tokens and tokens is not None:
            self._tokens.correct(reservation.slot, tokens - reservation.tokens, now)

    def resize(self, limits: Limits) -> None:
        """Other limits for the same account, after a reload: what is counted stays counted."""
        kept = self._requests, self._tokens
        self.limits = limits
        self.__attrs_post_init__()
        if kept[0] and self._requests:
            kept[0].amount = self._requests.amount
            self._requests = kept[0]
        if kept[1] and self._tokens:
            kept[1].amount = self._tokens.amount
            self._tokens = kept[1]
