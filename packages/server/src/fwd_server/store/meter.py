"""The meter: book, prices and ledger as the call path needs them. Admit before the plan, settle before the last byte.

    facts  -> admit  -> rules -> bound, likely -> limits, budgets -> journal "open", durable   else GatewayError
    answer -> settle -> cost -> book -> journal "end", durable -> Receipt

Without a ledger (``FWD_LEDGER=off``) limits work, and keys with hard budgets are refused. The values here are named
tuples: five of them are made for every call, each in a third of the time that a frozen attrs class takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from attrs import frozen

from fwd_server.clock import Clock
from fwd_server.metering.book import Book
from fwd_server.metering.bounds import (
    DEFAULT_LIMIT_OUTPUT,
    DEFAULT_OUTPUT,
    InputSize,
    OutputMeans,
    bound_cost,
    find_bound_output,
    fit_output,
    likely_cost,
)
from fwd_server.metering.costs import UNKNOWN, Cost, cost, sum_costs
from fwd_server.metering.counters import MatchedRules, OpenCall
from fwd_server.metering.periods import find_utc_day
from fwd_server.metering.prices import ModelPrice, PriceTable
from fwd_server.metering.refusals import Refusal
from fwd_server.metering.rules import Rule
from fwd_server.store.journal_writer import StorageBusy
from fwd_server.store.ledger import CallIds, Ledger, to_micro
from fwd_server.values.usage import Usage

_STORAGE_BUSY: Final = Refusal("storage_busy", retry_after=1.0)
_EMPTY: Final[Mapping[str, str]] = {}
_NO_ROW: Final[Mapping[str, Any]] = {}
_NOTHING_SKIPPED: Final[frozenset[tuple[str, str]]] = frozenset()


class CallFacts(NamedTuple):
    """What is known of a call before it is sent. ``deployments`` are provider and model of each step of its plan."""

    key_id: str
    requested: str
    deployments: tuple[tuple[str, str], ...]
    size: InputSize
    key_name: str = ""
    project: str = ""
    user: str = ""
    tags: Mapping[str, str] = _EMPTY
    request_id: str = ""
    surface: str = "chat"
    output_limit: int | None = None
    choices: int = 1
    tier: str = ""
    stream: bool = False
    writes_1h: bool = False


class MeteredCall(NamedTuple):
    """An admitted call. ``unpriced`` deployments have no price, and a hard budget does not allow them.

    ``is_late``: it runs without having been written down first (``FWD_USAGE_FAIL_OPEN``).
    """

    id: str
    facts: CallFacts
    day: str
    at: int
    table: PriceTable
    open_call: OpenCall
    matched: MatchedRules
    row: Mapping[str, Any]
    unpriced: frozenset[tuple[str, str]] = frozenset()
    is_late: bool = False


class PricedAttempt(NamedTuple):
    """One attempt at a deployment, as it ended, and what it cost. ``ms`` is its time."""

    provider: str
    model: str
    cost: Cost
    usage: Usage | None = None
    at: int = 0
    ms: float = 0.0
    status: int | None = None
    code: str | None = None

    def as_row(self) -> dict[str, Any]:
        """Its row in the ledger."""
        return {
            "provider": self.provider, "model": f"{self.provider}:{self.model}", "at": self.at,
            "ms": round(self.ms), "status": self.status, "code": self.code,
            "cost": self.cost.nano, "cost_kind": self.cost.kind,
            "prompt": self.usage.prompt if self.usage else None,
            "completion": self.usage.completion if self.usage else None,
        }  # fmt: skip


class CallEnd(NamedTuple):
    """How a call ended. ``attempts`` are all of them, in order; the last one is the one that answered, if any did.

    ``state`` is ``done``, ``failed`` (the caller got an error), ``broken`` (an error event in a stream), ``left`` (the
    caller was gone) or ``cached``.
    """

    state: str
    status: int
    attempts: tuple[PricedAttempt, ...] = ()
    usage: Usage | None = None
    first_ms: float | None = None
    total_ms: float = 0.0
    error: str | None = None
    dropped: tuple[str, ...] = ()
    saved: int | None = None


class Receipt(NamedTuple):
    """What a caller is told, in nano-dollars; None is unknown. ``budget_left`` is the least of the hard budgets."""

    call_id: str
    cost: int | None
    kind: str
    price_id: str
    budget_left: int | None = None
    is_over_soft_budget: bool = False
    is_durable: bool = True
    untiered: bool = False


@frozen
class _Plan:
    """What is the same for every call of a key to the same models, for as long as rules and prices stay."""

    table: PriceTable
    rules: tuple[Rule, ...]
    matched: MatchedRules
    prices: Mapping[tuple[str, str], ModelPrice | None]
    unpriced: frozenset[tuple[str, str]]


_MOST_PLANS: Final = 10_000  # callers invent names of models


class Meter:
    """Admits calls and settles them. ``table`` is swapped whole; a running call keeps the one it began with (M11)."""

    def __init__(
        self,
        book: Book,
        table: PriceTable,
        clock: Clock,
        ledger: Ledger | None = None,
        *,
        assumed_price: ModelPrice | None = None,
        refuse_unknown: bool = False,
        bound_output: int = DEFAULT_OUTPUT,
        fail_open: bool = False,
    ) -> None:
        self.book: Final = book
        self.table = table
        self.means: Final = OutputMeans()
        self._clock: Final = clock
        self._ledger: Final = ledger
        self._ids: Final = CallIds(clock)
        self._plans: Final[dict[tuple[object, ...], _Plan]] = {}
        self._assumed_price: Final = assumed_price
        self._refuse_unknown: Final = refuse_unknown
        self._bound_output: Final = bound_output
        self._fail_open: Final = fail_open

    async def admit(self, facts: CallFacts) -> MeteredCall:
        """Admit a call and write it down; then it may be sent. Raises GatewayError, and nothing is used up."""
        wall = self._clock.now()
        day = find_utc_day(wall)
        plan = self._find_plan(facts)
        table, matched, prices, unpriced = plan.table, plan.matched, plan.prices, plan.unpriced
        if matched.has_hard_budget and self._ledger is None:
            raise _STORAGE_BUSY.to_error()
        if unpriced and len(unpriced) == len(prices) and self._refuse_unknown:
            raise Refusal("price_unknown", model=facts.requested).to_error()
        bound = self._bound(facts, prices, day) if matched.needs_bound else None
        call_id = self._ids.new_id()
        verdict = self.book.admit(
            call_id,
            facts.key_id,
            matched,
            self._clock.monotonic(),
            wall,
            tokens=facts.size.likely_tokens() + (facts.output_limit or DEFAULT_LIMIT_OUTPUT) * facts.choices,
            bound=bound,
            user=facts.user,
            model=facts.requested,
        )
        if isinstance(verdict, Refusal):
            raise self._explain(verdict, facts, prices, day).to_error()
        at = to_micro(wall)
        row = self._make_row(facts, prices, day, at, table, verdict, bound) if self._ledger is not None else _NO_ROW
        skipped = unpriced if matched.has_hard_budget else _NOTHING_SKIPPED
        call = MeteredCall(call_id, facts, day, at, table, verdict, matched, row, skipped)
        if self._ledger is not None and not await self._write_open(call):
            call = call._replace(is_late=True)
        return call

    def _find_plan(self, facts: CallFacts) -> _Plan:
        """Rules and prices of a call; remembered until either changes."""
        key = (facts.key_id, facts.project, facts.requested, facts.deployments)
        plan = self._plans.get(key)
        if plan is not None and plan.table is self.table and plan.rules is self.book.rules:
            return plan
        table = self.table
        models = (facts.requested, *(f"{provider}:{model}" for provider, model in facts.deployments))
        matched = self.book.find_rules(facts.key_id, facts.project, models)
        prices = {place: self._find_price(table, *place) for place in facts.deployments}
        unpriced = frozenset(place for place, price in prices.items() if price is None)
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        plan = self._plans[key] = _Plan(table, self.book.rules, matched, prices, unpriced)
        return plan

    async def _write_open(self, call: MeteredCall) -> bool:
        """Whether the call is written down; if not, and it may run all the same, its row is marked."""
        assert self._ledger is not None  # noqa: S101 - the caller has asked
        try:
            await self._ledger.record_open(call.id, call.row)
        except StorageBusy:
            if self._fail_open and not call.matched.has_hard_budget:
                return False  # its end is written as soon as there is room
            self.book.withdraw(call.id)
            raise _STORAGE_BUSY.to_error() from None
        except BaseException:  # cancelled: the caller has gone before anything was sent
            self.book.withdraw(call.id)
            raise
        return True

    def price_attempt(self, call: MeteredCall, provider: str, model: str, usage: Usage) -> Cost:
        """What an attempt cost, by the table and on the day that the call began with."""
        price = self._find_price(call.table, provider, model)
        result = cost(usage, price, call.day) if price is not None or usage.cost_usd is not None else UNKNOWN
        return result._replace(kind="estimated") if price is self._assumed_price and result.kind == "exact" else result

    def raise_hold(self, call: MeteredCall, estimate: int) -> bool:
        """Hold more before an attempt that follows a costly one; False: make no further attempt."""
        if not self.book.raise_hold(call.id, estimate, self._clock.now()):
            return False
        if self._ledger is not None and call.open_call.counters:
            self._ledger.record_hold(call.id, call.open_call.hold)
        return True

    async def settle(self, call: MeteredCall, end: CallEnd, *, wait: bool = True) -> Receipt:
        """Book what a call cost and write it down; awaited before the last byte.

        ``wait=False`` for a caller that left: nobody is there to wait.
        """
        total = sum_costs([attempt.cost for attempt in end.attempts])
        usage = end.usage
        settled = self.book.settle(call.id, total, usage.total if usage is not None else None)
        model = end.attempts[-1].model if end.attempts else None
        if end.state == "done" and usage is not None and model is not None:
            self.means.add_answer(model, usage.completion)
        is_durable = False
        if self._ledger is not None:
            row = {**call.row, **_end_columns(end, total, settled.over_bound, to_micro(self._clock.now()))}
            row.pop("likely", None)
            if call.is_late:
                row["units"] = {**row.get("units", {}), "late": 1}
            attempts = [attempt.as_row() for attempt in end.attempts] if _needs_attempts(end) else []
            is_durable = await self._ledger.record_end(call.id, row, attempts, wait=wait)
        return Receipt(
            call.id, total.nano, total.kind, call.table.id, self._least_left(call), call.open_call.is_soft_over,
            is_durable, total.untiered,
        )  # fmt: skip

    def _least_left(self, call: MeteredCall) -> int | None:
        hard = [
            counter.left(budget.rule.amount)
            for budget, counter in zip(call.matched.budgets, call.open_call.counters, strict=True)
            if not budget.rule.soft
        ]
        return max(min(hard), 0) if hard else None

    def _find_price(self, table: PriceTable, provider: str, model: str) -> ModelPrice | None:
        return table.find(provider, model) or self._assumed_price

    def _bound(self, facts: CallFacts, prices: Mapping[tuple[str, str], ModelPrice | None], day: str) -> int | None:
        """The dearest step of the plan; None when none of them has a price."""
        bounds = [
            bound_cost(
                price, day, facts.tier, facts.size.bound_tokens(price.context),
                find_bound_output(facts.output_limit, facts.choices, price, self._bound_output),
                writes_1h=facts.writes_1h,
            )
            for price in prices.values()
            if price is not None
        ]  # fmt: skip
        known = [bound for bound in bounds if bound is not None]
        return max(known) if known else None

    def _explain(
        self, refusal: Refusal, facts: CallFacts, prices: Mapping[tuple[str, str], ModelPrice | None], day: str
    ) -> Refusal:
        """With the output limit that would fit, where a budget is what refuses."""
        if refusal.code != "budget_exceeded":
            return refusal
        free = refusal.limit - refusal.used
        known = [price for price in prices.values() if price is not None]
        fits = min(
            fit_output(price, day, facts.tier, facts.size.bound_tokens(price.context), free, facts.choices)
            for price in known
        )
        return Refusal(
            refusal.code, refusal.rule, refusal.used, refusal.held, refusal.needed, refusal.limit, refusal.retry_after,
            refusal.period, fits or None,
        )  # fmt: skip

    def _make_row(
        self,
        facts: CallFacts,
        prices: Mapping[tuple[str, str], ModelPrice | None],
        day: str,
        at: int,
        table: PriceTable,
        open_call: OpenCall,
        bound: int | None,
    ) -> dict[str, Any]:
        """What is written before the call is sent."""
        provider, model = facts.deployments[0] if facts.deployments else ("", "")
        price = prices.get((provider, model))
        output = self.means.expect(model, facts.output_limit) * facts.choices
        likely = likely_cost(price, day, facts.tier, facts.size.likely_tokens(), output) if price else None
        # Nulls are written too: leaving them out would cost more time than they cost space.
        return {
            "at": at, "key_id": facts.key_id, "key_name": facts.key_name or None, "project_id": facts.project or None,
            "user_tag": facts.user or None, "tags": facts.tags, "request_id": facts.request_id or None,
            "surface": facts.surface, "asked": facts.requested, "provider": provider or None,
            "model": f"{provider}:{model}" if provider else None, "stream": facts.stream, "bound": bound,
            "likely": likely, "price_id": table.id, "budgets": [[*key] for key in open_call.budgets],
        }  # fmt: skip


def _needs_attempts(end: CallEnd) -> bool:
    """Whether attempts get rows of their own: one that was the only one, and answered, is in the call's row already."""
    return len(end.attempts) > 1 or (len(end.attempts) == 1 and end.attempts[0].code is not None)


_TOKENS: Final = ("prompt", "completion", "cached", "cache_write", "cache_write_1h", "reasoning")
_UNITS: Final = (
    "audio_in", "audio_cached", "audio_out", "image_in", "image_out", "web_searches", "seconds", "characters", "images",
)  # fmt: skip


def _end_columns(end: CallEnd, total: Cost, over_bound: int, at: int) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "ended_at": at, "state": end.state, "status": end.status, "cost": total.nano, "cost_kind": total.kind,
        "attempts": len(end.attempts), "total_ms": round(end.total_ms), "error": end.error, "saved": end.saved,
        "first_ms": None if end.first_ms is None else round(end.first_ms), "over_bound": over_bound or None,
    }  # fmt: skip
    if total.nano is None:
        columns["known_part"] = total.known_part
    if end.dropped:
        columns["dropped"] = end.dropped
    if end.attempts:
        last = end.attempts[-1]
        columns["provider"], columns["model"] = last.provider, f"{last.provider}:{last.model}"
    usage = end.usage
    if usage is not None:
        for name in _TOKENS:
            columns[name] = getattr(usage, name)
        if usage.tier:
            columns["tier"] = usage.tier
        if units := {name: value for name in _UNITS if (value := getattr(usage, name))}:
            columns["units"] = units
    return columns
