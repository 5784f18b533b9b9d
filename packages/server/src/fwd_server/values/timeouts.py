"""How long one attempt at a provider may take: five times, each from its own moment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen

FIRST_EVENT_S: Final = 60.0
THINKING_FIRST_EVENT_S: Final = 300.0  # the default for a model that thinks before its first word


@frozen
class Timeouts:
    """Seconds to wait for a provider; None is no limit but the others'.

    connect_s       the name lookup, the connection, a proxy's answer and TLS, each on its own; and a free connection
    first_byte_s    from the last progress of the upload to the end of the answer's head
    first_event_s   from the beginning of an attempt to the first content of its stream
    idle_s          silence between two pieces of an answer, or of an error from its head on
    total_s         from the beginning of an attempt to its answer, or the first content of its stream

    The HTTP client keeps the first two and ``idle_s``; they do not run while its reader holds the provider back.
    """

    connect_s: float = 5.0
    first_byte_s: float | None = None
    first_event_s: float = FIRST_EVENT_S
    idle_s: float | None = 60.0
    total_s: float = 600.0

    def shortened_by(self, requested: Mapping[str, float]) -> Timeouts:
        """These, with what was ``asked`` for where that is shorter; the very same where nothing is."""
        if not requested:  # as nearly always
            return self
        shorter = {name: seconds for name, seconds in requested.items() if seconds < _seconds_or_infinity(self, name)}
        # A caller may ask for less, never for more: the operator's times protect the gateway.
        return evolve(self, **shorter) if shorter else self


def _seconds_or_infinity(timeouts: Timeouts, name: str) -> float:
    seconds: float | None = getattr(timeouts, name)
    return math.inf if seconds is None else seconds
