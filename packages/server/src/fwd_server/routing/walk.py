"""Where a call goes on after an attempt has failed. Pure: told how an attempt ended, it says which seat is next.

    invalid_request            ends, and no file can change that
    content_policy             ends, unless on.content_policy names something
    not_found, context_length  ends if the caller chose the provider's model; a public name moves on, because we chose
                               what it means
    anything else              moves on: to on.KIND if that is given, else to the rest of the plan

After a failure of the key (rate_limited, quota, auth) the next usable key of the same deployment comes first. Otherwise
a deployment is asked again, with another key, only when nothing else is left (contract G1).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from fwd_server.routing.key_health import KEY_FAILURES
from fwd_server.routing.plan import Plan
from fwd_server.routing.table import Seat
from fwd_server.values.errors import CALLERS_FAULT, MODELS_FAULT, ErrorKind


def _ends_call(kind: ErrorKind, *, chosen: bool) -> bool:
    """Whether a failure ends the call where the file says nothing about its kind (contract F17)."""
    return kind in CALLERS_FAULT or (chosen and kind in MODELS_FAULT)


class Step(NamedTuple):
    """A seat to try, and why: first, next_key, fallback, on.KIND or again (the deployment's other key)."""

    seat: Seat
    why: str


class PlanWalk:
    """The way of one call through its plan.

    ``next_step`` gives the next seat, None when the call is over; after a failed attempt ``note_failure`` is told its
    kind. A seat that could not take the call at all was no attempt: just ask for the next one. ``attempts`` is the
    most that are made; the model may have its own number.
    """

    # One of these is made for every call, and nearly every call is over with its first step.
    __slots__ = (
        *("attempts", "is_over", "made", "plan", "_begun", "_current", "_deferred", "_failed", "_next_keys", "_queue"),
        *("_smallest_context", "_tried", "_why"),
    )

    def __init__(self, plan: Plan, attempts: int) -> None:
        self.plan = plan
        self.attempts = attempts if plan.model.attempts is None else plan.model.attempts
        self.made = 0
        self.is_over = self._begun = False
        self._current: Seat | None = None
        self._why = "first"

    def may_repeat(self, kind: ErrorKind) -> bool:
        """Whether the same seat may be tried again after a failure of this kind: nothing else is left for the call."""
        model = self.plan.model
        is_final = _ends_call(kind, chosen=model.chosen)
        return not is_final and not self._entries_for(kind) and self.plan.seat(1) is None

    @property
    def attempts_left(self) -> int:
        """How many more may be made."""
        return self.attempts - self.made

    def next_step(self) -> Step | None:
        """The next seat to try; None when there is none, or none may be tried."""
        if self.is_over or self.made >= self.attempts:
            return None
        if self._current is None:
            self._current = self.plan.first()
            return None if self._current is None else Step(self._current, "first")
        if not self._begun:
            self._begin_search(self._current)
        step = self._choose()
        if step is not None:
            self._tried.add(step.seat)
            self._current = step.seat
        return step

    def _begin_search(self, first: Seat) -> None:
        """The first seat was not enough: from here on it is remembered what was tried."""
        self._begun = True
        self._queue = iter(self.plan)
        self._tried = {first}
        self._failed: set[tuple[str, str, str]] = set()
        self._deferred: deque[Seat] = deque()
        self._next_keys: deque[Seat] = deque()
        self._smallest_context: int | None = None
        self._why = "fallback"

    def note_failure(self, kind: ErrorKind, attempts: int = 1) -> None:
        """The attempt at the last seat failed; where it was repeated there, ``attempts`` were made."""
        seat = self._current
        if seat is None:
            raise AssertionError("no attempt was started")
        if not self._begun:
            self._begin_search(seat)
        self.made += attempts
        self._failed.add(seat.lane.identity)
        model, entries = self.plan.model, self._entries_for(kind)
        if kind is ErrorKind.INVALID_REQUEST or (not entries and _ends_call(kind, chosen=model.chosen)):
            self.is_over = True
        elif entries:
            self._queue, self._why = self.plan.expand(entries), f"on.{kind.value}"
            # The file's list for this kind of failure replaces the plan, and what was put aside with it.
            self._deferred.clear()
            self._next_keys.clear()
        if kind is ErrorKind.CONTEXT_LENGTH:
            self._note_context(seat)
        if kind in KEY_FAILURES and not self.is_over:
            self._next_keys.extend(self._other_keys(seat))

    def _choose(self) -> Step | None:
        while self._next_keys:
            seat = self._next_keys.popleft()
            if seat not in self._tried:
                return Step(seat, "next_key")
        for seat in self._queue:
            if seat in self._tried or self._is_too_small(seat):
                continue
            if seat.lane.identity in self._failed:
                # Another key of a deployment that has failed: only when nothing else is left (contract G1).
                self._deferred.append(seat)
                continue
            return Step(seat, self._why)
        while self._deferred:
            seat = self._deferred.popleft()
            if seat not in self._tried:
                return Step(seat, "again")
        return None

    def _entries_for(self, kind: ErrorKind) -> tuple[str, ...]:
        """Where the file says a failure of this kind goes on; ``any`` is not meant for a refused content."""
        if not self.plan.ask.fallback:
            return ()
        on = self.plan.model.on
        if kind is ErrorKind.CONTENT_POLICY:
            return on.get(kind.value, ())
        return on.get(kind.value) or on.get("any", ())

    def _other_keys(self, seat: Seat) -> list[Seat]:
        """The deployment's other free seats, in the plan's order; those at a limit of ours are not in it."""
        others = [other for other in seat.lane.seats if other not in self._tried]
        return [other for other in self.plan if other in others and self.plan.is_free(other)] if others else []

    def _note_context(self, seat: Seat) -> None:
        context = seat.lane.facts.context
        if context is not None:
            self._smallest_context = max(context, self._smallest_context or 0)

    def _is_too_small(self, seat: Seat) -> bool:
        """Whether the prompt did not fit a window that is as large as this one."""
        context = seat.lane.facts.context
        return self._smallest_context is not None and context is not None and context <= self._smallest_context
