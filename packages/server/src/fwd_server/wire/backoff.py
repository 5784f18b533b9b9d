"""How long to wait: what a provider says in its headers, read strictly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

# A date in the wrong century must not keep a deployment out for ever.
LONGEST_S = 86_400.0  # a provider that says more than a day says a day


def parse_retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait: ``retry-after-ms``, else ``retry-after`` as seconds or as an HTTP date.

    ``headers`` have lower-case names. A date counts from ``now`` (seconds of the epoch) or, without it, from the
    answer's own ``date`` header. None when there is none, or it makes no sense (negative, NaN, not a date).
    """
    milliseconds = _parse_number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, LONGEST_S)
    value = headers.get("retry-after")
    seconds = _parse_number(value)
    if seconds is None:
        seconds = _seconds_until(value, headers.get("date"), now)
    return None if seconds is None else min(seconds, LONGEST_S)


def _parse_number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _seconds_until(value: str | None, date: str | None, now: float | None) -> float | None:
    until = _parse_date(value)
    start = now if now is not None else _parse_date(date)
    if until is None or start is None:
        return None
    # A date in the past means now: clocks of two machines differ by seconds.
    return max(0.0, until - start)


def _parse_date(value: str | None) -> float | None:
    try:
        return parsedate_to_datetime(value or "").timestamp()
    except ValueError:
        return None
