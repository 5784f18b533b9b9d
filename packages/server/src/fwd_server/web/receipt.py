"""What an answer says about itself: who gave it, after how many attempts, in what time."""

from __future__ import annotations

import re
from typing import Any, Final

from fwd_server.values.chat import Json
from fwd_server.values.record import Trip

MOST_DROPPED: Final = 40
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def fact_headers(trip: Trip, now: float) -> list[tuple[str, str]]:
    """The receipt of a call as headers (design: *Headers of a call*)."""
    found = [
        ("x-fwd-provider", trip.provider),
        ("x-fwd-model", trip.model),
        ("x-fwd-attempts", str(len(trip.attempts))),
        ("x-fwd-dropped", dropped_names(trip.dropped)),
        ("x-fwd-upstream-request-id", trip.upstream_request_id),
        ("server-timing", ", ".join(f"{name};dur={ms}" for name, ms in timings(trip, now).items())),
        *trip.passed,
    ]
    return [(name, value) for name, value in found if value]


def facts(trip: Trip, now: float | None = None) -> Json:
    """The same as an object, for the comment in a stream; with ``now`` its end is included."""
    said: dict[str, Any] = {
        "request_id": trip.call.id,
        "provider": trip.provider,
        "model": trip.model,
        "attempts": len(trip.attempts),
        "dropped": list(trip.dropped) or None,
        "upstream_request_id": trip.upstream_request_id,
        "timings": None if now is None else timings(trip, now),
        "usage": None if now is None else _usage(trip),
    }
    return {name: value for name, value in said.items() if value is not None}


def _usage(trip: Trip) -> Json | None:
    usage = trip.settled_usage()
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "estimated": usage.estimated,
    }


def timings(trip: Trip, now: float) -> dict[str, float]:
    """Milliseconds: the wait for us, the last attempt's own time, and from the call's start to content and end."""
    found = {
        "queue": trip.call.queued_ms,
        "attempt": trip.attempts[-1].ms if trip.attempts else None,
        "first": None if trip.first is None else (trip.first - trip.started) * 1000,
        "total": (now - trip.started) * 1000,
    }
    return {name: round(ms, 1) for name, ms in found.items() if ms is not None}


def dropped_names(names: tuple[str, ...]) -> str:
    """The fields left out, as a header's value: a caller chose their names, so only plain ones are shown."""
    shown = [name if _PLAIN.fullmatch(name) else "?" for name in names[:MOST_DROPPED]]
    return ",".join([*shown, *(["..."] if len(names) > MOST_DROPPED else [])])
