"""Durations as they are shown: milliseconds with one decimal.

``round`` and the text of a float cost 2 to 3 thousand instructions each, and an answer shows seven durations.
"""

from __future__ import annotations


def round_ms(ms: float) -> float:
    """``ms``, which is never negative, rounded to one decimal."""
    return int(ms * 10 + 0.5) / 10


def format_ms(ms: float) -> str:
    """``ms``, which is never negative, as text with one decimal."""
    tenths = int(ms * 10 + 0.5)
    return f"{tenths // 10}.{tenths % 10}"
