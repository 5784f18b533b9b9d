"""How long deployments take to answer: a moving figure that believes a slow answer at once and a fast one slowly.

PeakEWMA, as Finagle and others use it: a slower answer than expected counts in full, a faster one pulls the figure down
over ten seconds, and without any answer the figure fades, so that a deployment that was slow is tried again.
"""

from __future__ import annotations

import math
from typing import Final

FADE_S: Final = 60.0
EASE_S: Final = 10.0
LEAST_S: Final = 0.001  # also for a deployment that nobody has asked yet: it is tried
TOKENS_A_UNIT: Final = 50  # a whole answer is longer the more it says; this makes it comparable

Identity = tuple[str, str, str]  # of a deployment: instance, address, model there


class LatencyTracker:
    """Latencies by deployment and kind of call. ``now`` is in monotonic seconds everywhere."""

    def __init__(self) -> None:
        self._peaks: dict[tuple[Identity, bool], tuple[float, float]] = {}

    def latency_s(self, identity: Identity, now: float, *, stream: bool) -> float:
        """What the deployment takes, as of now."""
        peak = self._peaks.get((identity, stream))
        if peak is None:
            return LEAST_S
        value, at = peak
        return max(LEAST_S, value * math.exp(-(now - at) / FADE_S))

    def note_answer(self, identity: Identity, seconds: float, now: float, *, stream: bool, tokens: int = 0) -> None:
        """An answer: of a stream the time to its first content, of a whole one its time, for its length."""
        self._note(identity, seconds if stream else seconds / max(1.0, tokens / TOKENS_A_UNIT), now, stream=stream)

    def note_failure(self, identity: Identity, now: float, *, stream: bool) -> None:
        """A failure that counts against the deployment's health: worse than it was, and at least a second."""
        self._note(identity, max(2 * self.latency_s(identity, now, stream=stream), 1.0), now, stream=stream)

    def keep_places(self, places: frozenset[tuple[str, str]]) -> None:
        """Forget the deployments of all other providers; a place is a provider's name and address."""
        for entry in [entry for entry in self._peaks if entry[0][:2] not in places]:
            del self._peaks[entry]

    def _note(self, identity: Identity, sample: float, now: float, *, stream: bool) -> None:
        expected = self.latency_s(identity, now, stream=stream)
        at = self._peaks.get((identity, stream), (0.0, now))[1]
        value = sample if sample > expected else expected + (sample - expected) * (1 - math.exp(-(now - at) / EASE_S))
        self._peaks[identity, stream] = (value, now)
