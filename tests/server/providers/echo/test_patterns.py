"""A text that a simple regular expression matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.providers.echo.patterns import sample_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{3}-\d{4}$",
        r"^[A-Z]{2}[0-9]+$",
        r"^(foo|bar)_[a-z]*$",
        r"^[^a0-9]x?$",
        r"^#(?:[0-9a-f]{3}){1,2}$",
        r"\w+?@\w+\.com",
        r"(?P<y>\d{4})-(?P<m>0[1-9])",
        r"^[\w.-]+$",
        r"^[\]\d]$",
        r"^[]a]+$",
        r"^[^\s]+$",
        r"^[^\w -.@/]$",
        r"^a{2,}b?$",
        r"^\S\D\W\n\t\r$",
        r"^(?=x)x|y$",
        r".*",
        r"^$",
        r"\bword\b",
    ],
)
def test_the_text_matches(pattern: str) -> None:
    """Classes, escapes, groups, alternatives, counts and anchors."""
    assert re.search(pattern, sample_pattern(pattern))


@pytest.mark.parametrize("pattern", [r"^[a-z]+$", r"^ID-\d*$", r"^(x|y)z{2,}$"])
def test_a_text_grows_to_its_least_length(pattern: str) -> None:
    """A pattern and a minLength together, where the pattern has a place to grow."""
    text = sample_pattern(pattern, 12)
    assert len(text) == 12
    assert re.search(pattern, text)


def test_a_pattern_that_cannot_grow_stays() -> None:
    """The pattern wins."""
    assert sample_pattern(r"^ab$", 12) == "ab"


@given(st.text(alphabet="ab()[]{}|*+?\\^$.,-:<=!P1d"), st.integers(0, 40))
def test_no_pattern_breaks_it(pattern: str, least: int) -> None:
    """Contract T38: any pattern gives some bounded text; it is read once and never run."""
    assert len(sample_pattern(pattern, least)) <= 600


@pytest.mark.parametrize("pattern", ["(" * 10_000, "a{9999}" * 1000, "((a{99}){99}){99}", "[" * 10_000])
def test_a_hostile_pattern_is_bounded(pattern: str) -> None:
    """Contract T38: neither depth nor counts multiply."""
    assert len(sample_pattern(pattern, 10**9)) <= 600
