"""Windows: no interval of a window's length with more than the limit, and no needless refusal (M5)."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from fwd_server.metering.windows import SLOTS, Window

GAPS = st.lists(st.one_of(st.just(0.0), st.floats(0, 3), st.floats(0, 90)), min_size=1, max_size=300)


@given(GAPS, st.integers(1, 20), st.sampled_from([60, 3600, 86400]))
def test_no_interval_of_the_windows_length_has_more_than_the_limit(gaps: list[float], limit: int, seconds: int) -> None:
    """M5, and never a refusal while a window of 61 slots has room."""
    window, now, slot_s = Window(seconds), 12345.678, seconds / (SLOTS - 1)
    admitted: deque[float] = deque()
    for gap in gaps:
        now += gap * seconds / 60
        in_slots = sum(int(now / slot_s) - int(then / slot_s) < SLOTS for then in admitted)
        fits = window.count_at(now) + 1 <= limit
        assert fits == (in_slots < limit)
        if fits:
            window.add(now, 1)
            admitted.append(now)
        assert sum(now - then <= seconds for then in admitted) <= limit


@given(GAPS, st.integers(1, 10))
def test_the_wait_is_exact(gaps: list[float], limit: int) -> None:
    """A call at the end of it is admitted, and one a moment before is not."""
    window, now = Window(60), 1000.0
    for gap in gaps:
        now += gap
        wait = window.seconds_until_room(now, 1, limit)
        assert wait is not None
        if wait > 0:
            assert window.count_at(now) >= limit
            now += wait + 1e-6
        assert window.count_at(now) + 1 <= limit
        window.add(now, 1)


def test_what_never_fits_has_no_wait() -> None:
    assert Window(60).seconds_until_room(0.0, 5, 4) is None


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0, 200))
def test_a_correction_goes_to_the_slot_of_admission(estimate: int, true: int, gap: float) -> None:
    window = Window(60)
    slot = window.add(500.0, estimate)
    window.count_at(500.0 + gap)
    window.correct(slot, true - estimate)
    still = int(500.0 + gap) - 500 < SLOTS
    assert window.total == (true if still else 0)
    window.count_at(1000.0)
    assert window.is_empty


def test_time_that_goes_back_changes_nothing() -> None:
    """D10: windows move forward only."""
    window = Window(60)
    window.add(100.0, 3)
    assert window.count_at(1.0) == 3
    window.add(1.0, 1)
    assert window.count_at(100.0) == 4


def test_the_past_can_be_put_back_after_a_restart() -> None:
    window = Window(3600)
    window.put_past(10_000.0, 1800.0, 5)
    window.put_past(10_000.0, 5000.0, 7)
    assert window.count_at(10_000.0) == 5
    assert window.count_at(10_000.0 + 1900.0) == 0
