"""Budget periods: which one contains an instant, in any time zone, through every change of its clocks.

A period begins when the *furthest* local time so far reaches its first moment, so periods tile the line even where a
clock goes back over midnight; a local day that a zone skips (Samoa's 30 December 2011) is an empty period.
"""

from __future__ import annotations

import functools
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import frozen

BudgetWindow = Literal["hour", "day", "week", "month", "quarter", "year", "all"]
BUDGET_WINDOWS: Final[tuple[str, ...]] = get_args(BudgetWindow)
LAST_ANCHOR: Final = 28  # every month has one

# One day inside the range of datetime, so that a zone's offset never leaves it.
_FIRST: Final = datetime(1, 1, 3)  # noqa: DTZ001 - local times have no zone here
_LAST: Final = datetime(9999, 12, 29)  # noqa: DTZ001
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


@frozen
class Period:
    """One period of a budget: its label, and its first second and the next one's, of the epoch.

    ``end`` is None for a budget for ever; it is what callers are told as ``resets_at``.
    """

    label: str
    start: int
    end: int | None


FOREVER: Final = Period("all", 0, None)


def load_zone(name: str) -> tzinfo:
    """A time zone by its name. Raises ValueError that says what to install where there are no zones."""
    if name.upper() == "UTC":
        return timezone.utc  # needs no zone files: the default works on every machine
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {name!r} on this machine; "
            "a zone is a name such as Europe/Berlin, and `pip install tzdata` adds them where the system has none"
        ) from None


def find_period(window: str, at: float, zone: tzinfo, anchor: int = 1) -> Period:
    """The period of a budget window that contains the second ``at`` of the epoch.

    ``anchor`` is the day on which a month or quarter begins (1 to 28). An ISO week begins on Monday.
    """
    if window == "all":
        return FOREVER
    # Without fold: the second 2:30 of a night in October belongs to the hour that began with the first.
    local = (_EPOCH + timedelta(seconds=at)).astimezone(zone).replace(tzinfo=None, fold=0)
    first = _floor(window, min(max(local, _FIRST), _LAST), anchor)
    start = _start_instant(first, zone)
    # A clock that went back shows a local time of the period before: the periods stay where they began.
    while True:
        following = _next(window, first, anchor)
        end = _start_instant(following, zone)
        if at < end:
            break
        first, start = following, end
    return Period(_label(window, first), start, end)


def _floor(window: str, local: datetime, anchor: int) -> datetime:
    """The first moment of the period that local time belongs to."""
    if window == "hour":
        return local.replace(minute=0, second=0, microsecond=0)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        return midnight
    if window == "week":
        return midnight - timedelta(days=midnight.weekday())
    if window == "year":
        return midnight.replace(month=1, day=1)
    started = midnight.year * 12 + midnight.month - 1 - (midnight.day < anchor)
    if window == "quarter":
        started -= started % 3
    return midnight.replace(year=started // 12, month=started % 12 + 1, day=anchor)


def _next(window: str, first: datetime, anchor: int) -> datetime:
    """The first moment of the next period."""
    if window == "hour":
        return first + timedelta(hours=1)
    # Any day in the next period will do: flooring it gives its beginning.
    longest = {"day": 1, "week": 7, "month": 31, "quarter": 95, "year": 366}[window]
    return _floor(window, first + timedelta(days=longest), anchor)


def _start_instant(first: datetime, zone: tzinfo) -> int:
    """The second at which local time first reaches ``first``; where the clock jumps over it, the jump."""
    late = int((first.replace(tzinfo=zone) - _EPOCH).total_seconds())
    if _local_at(late, zone) == first:
        return late
    early = int((first.replace(tzinfo=zone, fold=1) - _EPOCH).total_seconds())
    while late - early > 1:  # a skipped moment: the jump lies between its two readings
        middle = (early + late) // 2
        if _local_at(middle, zone) >= first:
            late = middle
        else:
            early = middle
    return late


def _local_at(second: int, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(seconds=second)).astimezone(zone).replace(tzinfo=None)


def _label(window: str, first: datetime) -> str:
    if window == "hour":
        return f"{first.date().isoformat()}T{first.hour:02d}"
    if window == "week":
        year, week, _ = first.isocalendar()
        return f"{year:04d}-W{week:02d}"
    if window == "quarter":
        return f"{first.year:04d}-Q{(first.month - 1) // 3 + 1}"
    return {"day": first.date().isoformat(), "month": f"{first.year:04d}-{first.month:02d}"}.get(
        window, f"{first.year:04d}"
    )


def find_utc_day(at: float) -> str:
    """The UTC day of a second of the epoch, as prices and rollups are dated."""
    return _name_day(int(at // 86400))


# Every call asks for it, and it changes once a day.
@functools.lru_cache(maxsize=8)
def _name_day(days: int) -> str:
    # The ordinal of 1970-01-01, where the epoch begins.
    return date.fromordinal(719163 + days).isoformat()
