"""Observers hear of every call and request; none of them can touch an answer.

The ends of calls are told together, after the answers of one turn of the loop have been written: what observers cost
is then not in the way of any caller. An observer that raises is logged, and the others are told all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from fwd_server.observe import log
from fwd_server.values.call import Attempt, Outcome, RequestEnd
from fwd_server.values.deployment import Deployment
from fwd_server.values.record import CallRecord


class Observer:
    """Override what you want to hear; what is not overridden costs nothing."""

    def call_started(self, record: CallRecord) -> None:
        """A call was read and will be answered. Read the record; never change it."""

    def attempt_started(self, record: CallRecord, deployment: Deployment) -> None:
        """A provider is about to be tried."""

    def attempt_ended(self, record: CallRecord, attempt: Attempt) -> None:
        """A try has ended: with a failure, or with the commit."""

    def call_ended(self, outcome: Outcome) -> None:
        """A call has ended, well or not."""

    def request_ended(self, request: RequestEnd) -> None:
        """A request that was no call has ended: a page, a list, or a refusal at the door."""


class ObserverHub:
    """Tells the observers, each isolated from the others and from the call."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        observers = tuple(observers)
        self._started = _overridden_methods(observers, "call_started")
        self._attempt_started = _overridden_methods(observers, "attempt_started")
        self._attempt_ended = _overridden_methods(observers, "attempt_ended")
        self._call_ended = _overridden_methods(observers, "call_ended")
        self._request_ended = _overridden_methods(observers, "request_ended")
        # With the time of the end: the flush comes later, and must not make calls look longer.
        self._waiting: list[tuple[CallRecord, float]] = []

    def call_started(self, record: CallRecord) -> None:
        """Tell them at once that a call begins."""
        for tell in self._started:
            _call_safely(tell, record)

    def attempt_started(self, record: CallRecord, deployment: Deployment) -> None:
        """Tell them at once that a provider is tried."""
        for tell in self._attempt_started:
            _call_safely(tell, record, deployment)

    def attempt_ended(self, record: CallRecord, attempt: Attempt) -> None:
        """Tell them at once how an attempt ended."""
        for tell in self._attempt_ended:
            _call_safely(tell, record, attempt)

    def call_ended(self, record: CallRecord, now: float) -> None:
        """Tell them soon that a call has ended at ``now``, in monotonic seconds."""
        if not self._waiting:
            # One callback for all calls that end in the same turn of the loop.
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((record, now))

    def request_ended(self, request: RequestEnd) -> None:
        """Tell them that a request which was no call has ended."""
        for tell in self._request_ended:
            _call_safely(tell, request)

    def flush(self) -> None:
        """Tell them of the calls that have ended; called by the loop, and once more when the gateway stops."""
        waiting, self._waiting = self._waiting, []
        for record, now in waiting:
            outcome = record.to_outcome(now)
            for tell in self._call_ended:
                _call_safely(tell, outcome)


def _overridden_methods(observers: Iterable[Observer], name: str) -> tuple[Callable[..., None], ...]:
    return tuple(getattr(one, name) for one in observers if getattr(type(one), name) is not getattr(Observer, name))


def _call_safely(tell: Callable[..., None], *told: Any) -> None:
    """An observer's bug is the observer's: it is logged, and nobody's answer changes."""
    try:
        tell(*told)
    except Exception:  # noqa: BLE001 - that is the point
        log.app.exception("Bug: the observer %s failed.", getattr(tell, "__qualname__", tell))
