"""Which deployments cool down: a small state machine that is given the time and never asks for it (contract G8, G10).

up        it answers, or has not failed often enough; its faults in a row are counted
cooling   until a time: three faults in a row start a cooldown of 10 s
due       the time is over: one call tries it, and for all others it keeps cooling down until that call has a result

A good answer resets everything; a failure of a due deployment starts a cooldown twice as long, up to 60 s. Deployments
that cool down move to the end of a plan and are never removed: when nothing else is left, they are tried all the same.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import CALLERS_FAULT, MODELS_FAULT, UpstreamError

FAULTS: Final = 3
SHORTEST_S: Final = 10.0
LONGEST_S: Final = 60.0
MOST: Final = 1024  # deployments that are remembered; callers choose models, so there must be a bound

# A provider that refuses a call is up.
_UP: Final = CALLERS_FAULT | MODELS_FAULT
# Ends of an attempt that say nothing about the provider: the caller's own time, our own stop.
_OURS: Final = frozenset({"deadline", "shutdown"})

_Key = tuple[str, str, str]  # instance, address, model there


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
        # Empty while nothing is remembered: whoever is in a hurry looks here first.
        self.records: dict[_Key, _FailureRecord] = {}

    def resting_until(self, deployment: Deployment, now: float) -> float | None:
        """When the deployment's cooldown ends; None if it has none. ``now`` for one that waits for its probe."""
        record = self.records.get(_key(deployment))
        if record is None or record.until is None or not (record.probing or record.until > now):
            return None
        return max(record.until, now)

    def note_attempt(self, deployment: Deployment, now: float) -> None:
        """An attempt begins. Every attempt ends with ``answered``, ``failed`` or ``released``."""
        record = self.records.get(_key(deployment))
        if record is not None and _is_half_open(record, now):
            record.probing = True

    def note_success(self, deployment: Deployment) -> None:
        """It is up: forget what was."""
        self.records.pop(_key(deployment), None)

    def release_probe(self, deployment: Deployment) -> None:
        """The attempt is over, or has begun to answer, and says nothing yet: the next call may try."""
        record = self.records.get(_key(deployment))
        if record is not None:
            record.probing = False

    def note_failure(self, deployment: Deployment, error: UpstreamError, now: float) -> None:
        """An attempt ended with ``error``."""
        if says_nothing(error):
            self.release_probe(deployment)
        elif error.kind in _UP:
            self.note_success(deployment)
        else:
            self._count_failure(self._record(deployment), now)

    def cooling_down(self, now: float) -> list[tuple[tuple[str, str], float]]:
        """What rests now, as provider and model, with the seconds that are left."""
        known = [(key, record.until) for key, record in self.records.items()]
        return [((key[0], key[2]), until - now) for key, until in known if until is not None and until > now]

    def keep_places(self, places: frozenset[tuple[str, str]]) -> None:
        """Forget the deployments of all other providers; a place is a provider's name and address."""
        for key in [key for key in self.records if key[:2] not in places]:
            del self.records[key]

    def _record(self, deployment: Deployment) -> _FailureRecord:
        """The deployment's record; the oldest makes room for a new one."""
        key = _key(deployment)
        if key not in self.records and len(self.records) >= self._most:
            del self.records[next(iter(self.records))]
        return self.records.setdefault(key, _FailureRecord())

    @staticmethod
    def _count_failure(record: _FailureRecord, now: float) -> None:
        """Count a fault, and rest if it is due for that; a fault of a call from before the rest changes nothing."""
        record.probing = False
        if record.until is None or record.until <= now:
            record.faults += 1
            if record.faults >= FAULTS:
                # The count stays after a cooldown: the first fault after it is enough for the next one, which is twice
                # as long.
                record.cooldown_s = min(2 * record.cooldown_s or SHORTEST_S, LONGEST_S)
                record.until = now + record.cooldown_s


def says_nothing(error: UpstreamError) -> bool:
    """Whether an attempt ended by the caller's own time or our stop, which is no news about the provider."""
    return error.code in _OURS


def _is_half_open(record: _FailureRecord, now: float) -> bool:
    return record.until is not None and record.until <= now


def _key(deployment: Deployment) -> _Key:
    return deployment.provider, deployment.endpoint.base_url, deployment.model
