"""Which deployments rest: a small state machine that is told the time and never asks it (contract G8, G10).

up        it answers, or has not failed often enough; its faults in a row are counted
resting   until a time: a rate limit rests it for as long as the provider says, three faults in a row for 10 s
due       that time is over: one call tries it, and for the others it still rests until that call knows more

A good answer forgets everything; a fault of a due deployment rests it again, twice as long, up to 60 s. What rests
moves to the end of a plan and is never removed: when nothing else is left, it is asked all the same.
"""

from __future__ import annotations

from typing import Final

from attrs import define, frozen

from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import CALLERS_FAULT, MODELS_FAULT, ErrorKind, UpstreamError

RATE_LIMIT_S: Final = 5.0  # where the provider does not say how long
FAULTS: Final = 3
SHORTEST_S: Final = 10.0
LONGEST_S: Final = 60.0
MOST: Final = 1024  # deployments that are remembered; callers choose models, so there must be a bound

# A provider that refuses a call is up.
_UP: Final = CALLERS_FAULT | MODELS_FAULT
# Ends of an attempt that say nothing about the provider: the caller's own time, our own stop.
_OURS: Final = frozenset({"deadline", "shutdown"})

_Key = tuple[str, str]


@frozen
class Rest:
    """A deployment that rests, and for how many seconds more; 0 when it is due."""

    provider: str
    model: str
    seconds: float


@define
class _Record:
    faults: int = 0
    until: float | None = None
    rest_s: float = 0.0
    tried: bool = False  # by the one call that may, once it is due


class Health:
    """What is remembered of deployments that failed. ``now`` is in monotonic seconds everywhere."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._records: dict[_Key, _Record] = {}

    def arranged(self, plan: tuple[Deployment, ...], now: float) -> tuple[Deployment, ...]:
        """The plan with what rests at its end; otherwise in its own order."""
        return tuple(sorted(plan, key=lambda deployment: self._rests(deployment, now))) if self._records else plan

    def trying(self, deployment: Deployment, now: float) -> None:
        """An attempt begins. Every attempt ends with ``answered``, ``failed`` or ``released``."""
        record = self._records.get(_key(deployment))
        if record is not None and _due(record, now):
            record.tried = True

    def answered(self, deployment: Deployment) -> None:
        """It is up: forget what was."""
        self._records.pop(_key(deployment), None)

    def released(self, deployment: Deployment) -> None:
        """The attempt is over, or has begun to answer, and says nothing yet: the next call may try."""
        record = self._records.get(_key(deployment))
        if record is not None:
            record.tried = False

    def failed(self, deployment: Deployment, error: UpstreamError, now: float) -> None:
        """An attempt ended with ``error``."""
        if error.code in _OURS:
            self.released(deployment)
        elif error.kind in _UP:
            self.answered(deployment)
        else:
            self._note(self._record(deployment), error, now)

    def resting(self, now: float) -> tuple[Rest, ...]:
        """Everything that rests or is due."""
        known = ((key, record.until) for key, record in self._records.items())
        return tuple(Rest(*key, max(0.0, until - now)) for key, until in known if until is not None)

    def _rests(self, deployment: Deployment, now: float) -> bool:
        record = self._records.get(_key(deployment))
        if record is None or record.until is None:
            return False
        return record.tried or record.until > now

    def _record(self, deployment: Deployment) -> _Record:
        """The deployment's record; the oldest makes room for a new one."""
        key = _key(deployment)
        if key not in self._records and len(self._records) >= self._most:
            del self._records[next(iter(self._records))]
        return self._records.setdefault(key, _Record())

    @staticmethod
    def _note(record: _Record, error: UpstreamError, now: float) -> None:
        """Count a fault, and rest if it is due for that; a fault of a call from before the rest changes nothing."""
        record.tried = False
        if error.kind is ErrorKind.RATE_LIMITED:
            given = error.retry_after_s if error.retry_after_s is not None else RATE_LIMIT_S
            record.until = max(now + given, record.until or now)
        elif record.until is None or record.until <= now:
            record.faults += 1
            if record.faults >= FAULTS:
                record.rest_s = min(2 * record.rest_s or SHORTEST_S, LONGEST_S)
                record.until = now + record.rest_s


def _due(record: _Record, now: float) -> bool:
    return record.until is not None and record.until <= now


def _key(deployment: Deployment) -> _Key:
    return deployment.provider, deployment.model
