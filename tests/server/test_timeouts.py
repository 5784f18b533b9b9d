"""The five times of an attempt, and what a caller may ask of them."""

from __future__ import annotations

import pytest
from attrs import fields

from fwd_server.timeouts import Timeouts

OWN = Timeouts(connect_s=1.0, first_byte_s=2.0, first_event_s=3.0, idle_s=4.0, total_s=5.0)
NAMES = [field.name for field in fields(Timeouts)]


@pytest.mark.parametrize("name", NAMES)
def test_a_shorter_time_counts(name: str) -> None:
    """And changes no other."""
    shorter = OWN.within({name: 0.5})
    assert [getattr(shorter, other) for other in NAMES if other != name] == [
        getattr(OWN, other) for other in NAMES if other != name
    ]
    assert getattr(shorter, name) == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_longer_time_is_the_operators(name: str) -> None:
    """The very same value, so that who compares sees that nothing was shortened."""
    assert OWN.within({name: 10.0}) is OWN


@pytest.mark.parametrize("name", ["first_byte_s", "idle_s"])
def test_any_time_is_shorter_than_none(name: str) -> None:
    """Where the operator sets no limit, a caller may."""
    assert getattr(Timeouts(first_byte_s=None, idle_s=None).within({name: 9.0}), name) == 9.0


def test_most_calls_ask_for_nothing() -> None:
    assert OWN.within({}) is OWN
