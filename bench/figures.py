"""A line of the bench's table: what was measured, beside what, and whether it is good enough."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from attrs import evolve, field, frozen


def as_tuple(values: Sequence[float]) -> tuple[float, ...]:
    """A converter for runs: type checkers know its argument, which they do not of ``tuple``."""
    return tuple(values)


@frozen
class Figure:
    """One line of the table. ``runs`` and ``reference`` are all that was measured; their medians are compared.

    ``met`` is None where there is no aim, or it cannot be judged here.
    """

    id: str
    what: str
    unit: str
    runs: tuple[float, ...] = field(converter=as_tuple)
    reference: tuple[float, ...] = field(default=(), converter=as_tuple)
    beside: str = "nginx"
    aim: str = ""
    met: bool | None = None
    note: str = ""
    compares: bool = True  # whether a ratio means anything: not where both are differences
    peer: bool = False  # whether the reference is no floor, but another gateway

    @property
    def value(self) -> float | None:
        """The median of the runs."""
        return statistics.median(self.runs) if self.runs else None

    @property
    def base(self) -> float | None:
        """The median of the reference."""
        return statistics.median(self.reference) if self.reference else None

    @property
    def ratio(self) -> float | None:
        """How many times the reference."""
        return self.value / self.base if self.compares and self.value is not None and self.base else None


def judge_figure(figure: Figure, limit: float | None, times: float) -> Figure:
    """With the verdict over an absolute limit and a multiple of the reference; an aim in words if there is none."""
    value, ratio = figure.value or 0.0, figure.ratio
    within = (limit is None or value <= limit) and (ratio is None or ratio <= times)
    named = figure if figure.aim else evolve(figure, aim=f"<= {times:g} x {figure.beside}")
    return with_verdict(named, within)


def with_limit(figure: Figure, limit: float) -> Figure:
    """With an absolute aim and its verdict."""
    return with_verdict(evolve(figure, aim=f"<= {limit:g} {figure.unit}"), (figure.value or 0) <= limit)


def with_verdict(figure: Figure, met: bool) -> Figure:
    """With the verdict."""
    return evolve(figure, met=met)


def with_note(figure: Figure, note: str) -> Figure:
    """With words beside it."""
    return evolve(figure, note=note)
