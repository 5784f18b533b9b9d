"""Law W7: for every instant and zone exactly one period contains it, and periods tile the line."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fwd_server.metering.periods import BUDGET_WINDOWS, find_period, find_utc_day, load_zone

ZONES = sorted(available_timezones() - {"localtime"})
INSTANTS = st.integers(-2_000_000_000, 8_000_000_000)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@given(st.sampled_from(BUDGET_WINDOWS), INSTANTS, st.sampled_from(ZONES), st.integers(1, 28))
@example("day", 1325239200, "Pacific/Apia", 1)  # the day Samoa skipped
@example("day", 1572058800, "America/Sao_Paulo", 1)
@example("hour", 1792891800, "Europe/Berlin", 1)  # the second 2:30 of a night in October
def test_exactly_one_period_contains_an_instant(window: str, instant: int, name: str, anchor: int) -> None:
    """W7: it contains the instant, its ends belong to its neighbours, and both say where it begins and ends."""
    zone = load_zone(name)
    period = find_period(window, instant, zone, anchor)
    if period.end is None:
        assert window == "all"
        return
    assert period.start <= instant < period.end
    assert find_period(window, period.start, zone, anchor) == period
    assert find_period(window, period.end - 1, zone, anchor) == period
    following = find_period(window, period.end, zone, anchor)
    before = find_period(window, period.start - 1, zone, anchor)
    assert following.start == period.end
    assert before.end == period.start
    assert len({before.label, period.label, following.label}) == 3


@pytest.mark.parametrize(
    ("window", "moment", "zone", "anchor", "label", "hours"),
    [
        ("day", "2026-12-01T00:00:00+00:00", "UTC", 1, "2026-12-01", 24),
        ("day", "2026-03-29T12:00:00+02:00", "Europe/Berlin", 1, "2026-03-29", 23),
        ("day", "2026-10-25T12:00:00+01:00", "Europe/Berlin", 1, "2026-10-25", 25),
        ("hour", "2026-10-25T02:30:00+01:00", "Europe/Berlin", 1, "2026-10-25T02", 2),
        ("hour", "2026-03-29T03:30:00+02:00", "Europe/Berlin", 1, "2026-03-29T03", 1),
        ("week", "2027-01-01T12:00:00+00:00", "UTC", 1, "2026-W53", 7 * 24),
        ("week", "2026-11-30T00:00:00+00:00", "UTC", 1, "2026-W49", 7 * 24),
        ("month", "2028-02-29T12:00:00+00:00", "UTC", 1, "2028-02", 29 * 24),
        ("month", "2026-12-14T23:59:59+00:00", "UTC", 15, "2026-11", 30 * 24),
        ("month", "2026-12-15T00:00:00+00:00", "UTC", 15, "2026-12", 31 * 24),
        ("quarter", "2026-12-01T00:00:00+00:00", "UTC", 1, "2026-Q4", 92 * 24),
        ("quarter", "2027-01-09T00:00:00+00:00", "UTC", 10, "2026-Q4", 92 * 24),
        ("year", "2028-06-01T00:00:00+00:00", "UTC", 1, "2028", 366 * 24),
    ],
)
def test_labels_and_lengths(window: str, moment: str, zone: str, anchor: int, label: str, hours: int) -> None:
    period = find_period(window, at(moment), load_zone(zone), anchor)
    assert period.end is not None
    assert (period.label, (period.end - period.start) / 3600) == (label, hours)


def test_a_skipped_day_is_no_period() -> None:
    """Samoa went from 29 to 31 December 2011."""
    zone = load_zone("Pacific/Apia")
    last = find_period("day", at("2011-12-29T12:00:00-10:00"), zone)
    assert last.end is not None
    assert find_period("day", last.end, zone).label == "2011-12-31"


def test_an_unknown_zone_names_what_to_install() -> None:
    for name in ("Europe/Atlantis", "", "../etc/passwd", "x" * 300):
        with pytest.raises(ValueError, match="pip install tzdata"):
            load_zone(name)


@given(INSTANTS)
def test_the_utc_day_is_the_calendars(instant: int) -> None:
    assert find_utc_day(instant) == datetime.fromtimestamp(instant, timezone.utc).date().isoformat()
