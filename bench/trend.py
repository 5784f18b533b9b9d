"""Whether something grows: the slope of a series with its 95 % confidence interval, and a picture of the series.

Neighbouring samples of a process are no independent witnesses: what is resident now was mostly resident before. So the
slope is taken over the medians of equal parts of the run, by Theil and Sen: the median of the slopes between all pairs,
which a few odd parts do not move, with Sen's interval from the variance of Kendall's S. https://doi.org/10.2307/2285891
"""

from __future__ import annotations

import html
import itertools
import math
import statistics
from collections.abc import Iterable, Sequence

from attrs import frozen

PARTS = 30
_Z = 1.959964  # of the normal distribution, for 95 %
_WIDE, _HIGH, _LEFT, _TOP, _BOTTOM = 760, 130, 70, 26, 22
Point = tuple[float, float]


@frozen
class Slope:
    """How much a series grows in a unit of its time; the truth lies between ``low`` and ``high`` in 95 of 100 runs."""

    value: float
    low: float
    high: float


def fit_slope(points: Sequence[Point]) -> Slope:
    """The slope of ``(time, value)`` points in the order of time. Raises ValueError for fewer than three."""
    if len(points) < 3:
        raise ValueError(f"{len(points)} points have no slope: at least three are needed")
    medians = list(median_parts(points))
    pairs = itertools.combinations(medians, 2)
    slopes = sorted((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs if x2 > x1)
    count = len(medians)
    half = _Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18) / 2
    low, high = (round(len(slopes) / 2 + side * half) for side in (-1, 1))
    return Slope(statistics.median(slopes), slopes[max(0, low)], slopes[min(len(slopes) - 1, high)])


def median_parts(points: Sequence[Point], most: int = PARTS) -> Iterable[Point]:
    """The medians of equal parts of the series, or the points themselves where there are few."""
    count = min(most, len(points))
    for number in range(count):
        part = points[number * len(points) // count : (number + 1) * len(points) // count]
        yield statistics.median(x for x, _ in part), statistics.median(y for _, y in part)


def render_series(title: str, warm: float, rows: Sequence[tuple[str, Sequence[Point]]]) -> str:
    """Each series as a line of its own, one below the other, over the same time; grey until it is warm."""
    height = _TOP + len(rows) * (_HIGH + _TOP) + _BOTTOM
    body = "\n".join(
        _render_row(name, points, warm, 2 * _TOP + at * (_HIGH + _TOP)) for at, (name, points) in enumerate(rows)
    )
    last = max((x for _, points in rows for x, _ in points), default=0.0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12">\n<title>{html.escape(title)}</title>\n'
        f'<rect width="{_WIDE}" height="{height}" fill="#fff"/>\n'
        f'<text x="12" y="18" font-weight="600" fill="#111">{html.escape(title)}</text>\n{body}\n'
        f'<text x="{_WIDE - 12}" y="{height - 8}" text-anchor="end" fill="#555">{last:.3g} min</text>\n</svg>\n'
    )


def _render_row(name: str, points: Sequence[Point], warm: float, top: int) -> str:
    """One series: its name, its greatest value, its line above zero."""
    most = max((y for _, y in points), default=0.0)
    across = (_WIDE - _LEFT - 12) / (max((x for x, _ in points), default=0.0) or 1.0)
    down = _HIGH / (most or 1.0)
    line = " ".join(f"{_LEFT + x * across:.1f},{top + _HIGH - y * down:.1f}" for x, y in points)
    return (
        f'<rect x="{_LEFT}" y="{top}" width="{warm * across:.1f}" height="{_HIGH}" fill="#eee"/>\n'
        f'<text x="{_LEFT}" y="{top - 6}" fill="#111">{html.escape(name)}</text>\n'
        f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end" fill="#555">{most:.4g}</text>\n'
        f'<text x="{_LEFT - 6}" y="{top + _HIGH}" text-anchor="end" fill="#555">0</text>\n'
        f'<polyline points="{line}" fill="none" stroke="#4c8dd6" stroke-width="1.2"/>'
    )
