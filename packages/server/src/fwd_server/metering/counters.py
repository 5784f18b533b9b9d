"""What the book counts with: counters of money, windows of calls and tokens, and the calls that run."""

from __future__ import annotations

from datetime import tzinfo
from typing import Final, NamedTuple

from attrs import define, field, frozen

from fwd_server.metering.periods import Period
from fwd_server.metering.rules import Rule
from fwd_server.metering.windows import Gauge, Window


class BudgetKey(NamedTuple):
    """Which counter a call belongs to; a ledger row has a list of them."""

    rule: str
    subject: str
    period: str


@define
class Counter:
    """The amounts a budget has spent and holds for one subject in one period, in nano-dollars.

    ``spent`` counts settled calls, ``held`` the bounds of running ones, ``adjusted`` what somebody added by hand.
    """

    key: BudgetKey
    spent: int = 0
    held: int = 0
    adjusted: int = 0
    calls: int = 0

    def left(self, limit: int) -> int:
        """The amount that is neither spent nor held."""
        return limit + self.adjusted - self.spent - self.held


@define
class BudgetLine:
    """A budget rule with the counters of its current period, by subject."""

    rule: Rule
    zone: tzinfo
    period: Period
    counters: dict[str, Counter] = field(factory=dict)

    def find_subject(self, user: str) -> str:
        """The subject of the rule: its scope, or its scope and the user."""
        return f"{self.rule.scope}:{user or '-'}" if self.rule.per_user else self.rule.scope


@define
class WindowLine:
    """A limit over time, with the window of each subject."""

    rule: Rule
    counts_tokens: bool
    seconds: int
    windows: dict[str, Window] = field(factory=dict)


@define
class GaugeLine:
    """A limit of calls at a time, with the gauge of each subject."""

    rule: Rule
    gauges: dict[str, Gauge] = field(factory=dict)


@frozen
class MatchedRules:
    """The rules of a call. ``needs_bound``: a money rule is among them, so a bound has to be computed."""

    windows: tuple[WindowLine, ...] = ()
    gauges: tuple[GaugeLine, ...] = ()
    budgets: tuple[BudgetLine, ...] = ()
    needs_bound: bool = False
    has_hard_budget: bool = False


@define
class OpenCall:
    """A running call: what it counts in, and what it holds.

    ``slots`` are windows, the slot of admission, and the tokens reserved there (0 in a window of calls).
    """

    id: str
    key_id: str
    hold: int
    tokens: int
    counters: list[Counter]
    slots: list[tuple[Window, int, int]]
    gauges: list[Gauge]
    is_soft_over: bool

    @property
    def budgets(self) -> list[BudgetKey]:
        """The counters that its cost goes to."""
        return [counter.key for counter in self.counters]


class Settled(NamedTuple):  # a tuple, because one is made for every call
    """The result of a settlement. ``over_bound`` is the cost beyond the hold, in nano-dollars."""

    call: OpenCall | None = None
    over_bound: int = 0

    @property
    def budgets(self) -> tuple[BudgetKey, ...]:
        """The counters that the cost went to."""
        return () if self.call is None else tuple(self.call.budgets)


NOTHING_SETTLED: Final = Settled()


@frozen
class BudgetState:
    """One budget for one subject, for headers, ``/v1/key`` and ``fwd spend``. Amounts in nano-dollars."""

    rule: Rule
    subject: str
    period: Period
    spent: int
    held: int
    left: int


@frozen
class LimitState:
    """One limit for one subject: what is used of it, and in how many seconds a call more fits."""

    rule: Rule
    used: int
    reset_s: float
