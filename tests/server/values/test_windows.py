"""The sliding window behind every limit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwd_server.values.windows import SLOTS, SlidingWindow

STEPS = st.lists(st.tuples(st.floats(0, 20) | st.floats(0, 400), st.integers(1, 30)), min_size=1, max_size=25)


@given(STEPS, st.integers(1, 60), st.sampled_from([60.0, 3600.0]))
@settings(max_examples=500)
def test_no_interval_has_more_than_the_limit(steps: list[tuple[float, int]], amount: int, span_s: float) -> None:
    """M5, RT16: whatever is asked for when, every interval of the window's length holds at most ``amount``."""
    window, now, admitted = SlidingWindow(amount, span_s), 1000.0, list[tuple[float, int]]()
    for wait_s, count in steps:
        now += wait_s
        if window.wait_s(count, now) == 0:
            window.add(count, now)
            admitted.append((now, count))
    for end, _ in admitted:
        assert sum(count for at, count in admitted if end - span_s < at <= end) <= amount


@given(STEPS, st.integers(30, 90))
@settings(max_examples=500)
def test_nothing_is_refused_while_there_is_room(steps: list[tuple[float, int]], amount: int) -> None:
    """M5: a model that remembers every slot and adds up the last 61 gives the same answer."""
    window, now, slots = SlidingWindow(amount, 60.0), 500.0, dict[int, int]()
    for wait_s, count in steps:
        now += wait_s
        counted = sum(n for slot, n in slots.items() if int(now) - SLOTS < slot)
        assert window.used(now) == counted
        fits = counted + count <= amount
        assert (window.wait_s(count, now) == 0) == fits
        if fits:
            window.add(count, now)
            slots[int(now)] = slots.get(int(now), 0) + count


@given(STEPS, st.integers(30, 90))
@settings(max_examples=500)
def test_the_wait_is_exact(steps: list[tuple[float, int]], amount: int) -> None:
    """Who waits that long is admitted, and who waits a little less is not."""
    window, now = SlidingWindow(amount, 60.0), 77.0
    for wait_s, count in steps:
        now += wait_s
        window.add(count, now)
    refused_s = window.wait_s(10, now)
    assert refused_s < math.inf
    if refused_s > 0.01:
        assert window.wait_s(10, now + refused_s - 0.01) > 0
    assert window.wait_s(10, now + refused_s + 1e-6) == 0


def test_more_than_the_whole_limit_never_fits() -> None:
    """Waiting does not help."""
    assert SlidingWindow(10, 60.0).wait_s(11, 5.0) == math.inf


def test_a_correction_counts_where_the_call_was_counted() -> None:
    """Too much was reserved: the rest is free at once. A slot that is out of the window changes nothing."""
    window = SlidingWindow(100, 60.0)
    slot = window.add(90, 10.0)
    window.correct(slot, -80, 12.0)
    assert window.used(12.0) == 10
    assert window.used(71.5) == 0
    window.correct(slot, 50, 71.5)
    assert window.used(71.5) == 0


@pytest.mark.parametrize("late_s", [0.0, 30.0, 60.0, 61.0, 1e6])
def test_what_is_counted_leaves_after_the_span(late_s: float) -> None:
    """After one span and one slot at the latest."""
    window = SlidingWindow(5, 60.0)
    window.add(5, 100.0)
    assert window.used(100.0 + late_s) == (5 if late_s < 61 else 0)
