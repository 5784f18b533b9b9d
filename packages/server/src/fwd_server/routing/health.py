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

_Key = tuple[str, str, str]  # instance, address, model there


@frozen
class Cooldown:
    """A deployment that rests, and for how many seconds more; 0 when it is due."""

    provider: str
    model: str
    seconds: float


@define
class _FailureRecord:
    faults: int = 0
    until: float | None = None
    cooldown_s: float = 0.0
    probing: bool = False  # by the one call that may, once it is due


class Health:
    """What is remembered of deployments that failed. ``now`` is in monotonic seconds everywhere."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._records: dict[_Key, _FailureRecord] = {}

    def order_by_health(self, plan: tuple[Deployment, ...], now: float) -> tuple[Deployment, ...]:
        """The plan with what rests at its end; otherwise in its own order."""
        return (
            tuple(sorted(plan, key=lambda deployment: self._is_cooling_down(deployment, now)))
            if self._records
            else plan
        )

    @property
    def quiet(self) -> bool:
        """Whether nothing is remembered, so that nothing has to be looked up."""
        return not self._records

    def resting_until(self, deployment: Deployment, now: float) -> float | None:
        """When the deployment's cooldown ends; None if it has none. ``now`` for one that waits for its probe."""
        record = self._records.get(_key(deployment))
        if record is None or record.until is None or not (record.probing or record.until > now):
            return None
        return max(record.until, now)

    def note_attempt(self, deployment: Deployment, now: float) -> None:
        """An attempt begins. Every attempt ends with ``answered``, ``failed`` or ``released``."""
        record = self._find_record(deployment)
        if record is not None and _is_half_open(record, now):
            record.probing = True

    def note_success(self, deployment: Deployment) -> None:
        """It is up: forget what was."""
        if self._records:
            self._records.pop(_key(deployment), None)

    def release_probe(self, deployment: Deployment) -> None:
        """The attempt is over, or has begun to answer, and says nothing yet: the next call may try."""
        record = self._find_record(deployment)
        if record is not None:
            record.probing = False

    def note_failure(self, deployment: Deployment, error: UpstreamError, now: float) -> None:
        """An attempt ended with ``error``."""
        if says_nothing(error):
            self.release_probe(deployment)
        elif error.kind in _UP:
            self.note_success(deployment)
        else:
            self._count_failure(self._record(deployment), error, now)

    def cooling_down(self, now: float) -> tuple[Cooldown, ...]:
        """Everything that rests or is due."""
        known = ((key, record.until) for key, record in self._records.items())
        return tuple(
            Cooldown(provider, model, max(0.0, until - now))
            for (provider, _, model), until in known
            if until is not None
        )

    def _is_cooling_down(self, deployment: Deployment, now: float) -> bool:
        return self.resting_until(deployment, now) is not None

    def _find_record(self, deployment: Deployment) -> _FailureRecord | None:
        return self._records.get(_key(deployment)) if self._records else None

    def _record(self, deployment: Deployment) -> _FailureRecord:
        """The deployment's record; the oldest makes room for a new one."""
        key = _key(deployment)
        if key not in self._records and len(self._records) >= self._most:
            del self._records[next(iter(self._records))]
        return self._records.setdefault(key, _FailureRecord())

    @staticmethod
    def _count_failure(record: _FailureRecord, error: UpstreamError, now: float) -> None:
        """Count a fault, and rest if it is due for that; a fault of a call from before the rest changes nothing."""
        record.probing = False
        if error.kind is ErrorKind.RATE_LIMITED:
            given = error.retry_after_s if error.retry_after_s is not None else RATE_LIMIT_S
            record.until = max(now + given, record.until or now)
        elif record.until is None or record.until <= now:
            record.faults += 1
            if record.faults >= FAULTS:
                record.cooldown_s = min(2 * record.cooldown_s or SHORTEST_S, LONGEST_S)
                record.until = now + record.cooldown_s


def says_nothing(error: UpstreamError) -> bool:
    """Whether an attempt ended by the caller's own time or our stop, which is no news about the provider."""
    return error.code in _OURS


def _is_half_open(record: _FailureRecord, now: float) -> bool:
    return record.until is not None and record.until <= now


def _key(deployment: Deployment) -> _Key:
    return deployment.provider, deployment.endpoint.base_url, deployment.model
