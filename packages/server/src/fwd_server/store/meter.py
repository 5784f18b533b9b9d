"""The meter: book, prices and ledger as the call path needs them. Admit before the plan, settle before the last byte.

    facts  -> admit  -> rules -> bound, likely -> limits, budgets -> journal "open", durable   else GatewayError
    answer -> settle -> cost -> book -> journal "end", durable -> Receipt

Without a ledger (``FWD_LEDGER=off``) limits work, and keys with hard budgets are refused. What is the same for every
call of a key to a model is worked out once and kept; rows are joined from bytes, because two are made for every call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final, NamedTuple

import orjson
from attrs import define, field
from msgspec import structs

from fwd_server.clock import Clock
from fwd_server.metering.book import Book
from fwd_server.metering.bounds import (
    DEFAULT_LIMIT_OUTPUT,
    DEFAULT_OUTPUT,
    InputSize,
    OutputMeans,
    PreparedBound,
    find_bound_output,
    fit_output,
    likely_cost,
    prepare_bound,
)
from fwd_server.metering.costs import UNKNOWN, Cost, cost, sum_costs
from fwd_server.metering.counters import MatchedRules, OpenCall
from fwd_server.metering.periods import find_utc_day
from fwd_server.metering.prices import ModelPrice, PriceTable
from fwd_server.metering.refusals import Refusal
from fwd_server.metering.rules import Rule
from fwd_server.store.journal_writer import StorageBusy
from fwd_server.store.ledger import CallIds, Ledger, to_micro
from fwd_server.values.receipt import LimitFacts, Receipt
from fwd_server.values.usage import Usage

_STORAGE_BUSY: Final = Refusal("storage_busy", retry_after=1.0)
_EMPTY: Final[Mapping[str, str]] = {}
_MOST_PLANS: Final = 10_000  # callers invent names of models


class Place(NamedTuple):
    """Where a call can go. ``type`` is the provider's row in the table, where that is not its own name."""

    provider: str
    model: str
    type: str = ""


def full_name(provider: str, model: str) -> str:
    """A model with its provider; echo's own has nothing but that."""
    return model if model == f"{provider}:" else f"{provider}:{model}"


class CallFacts(NamedTuple):
    """The facts about a call before it is sent. ``places`` are those that its plan can lead to."""

    key_id: str
    requested: str
    places: tuple[Place, ...]
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


@define(eq=False)
class CallPlan:
    """What is the same for every call of a key to a model, for as long as rules and prices stay.

    ``unpriced`` places have no price: a hard budget does not allow them. ``head`` and ``first`` are parts of rows.
    """

    table: PriceTable
    rules: tuple[Rule, ...]
    matched: MatchedRules
    prices: Mapping[Place, ModelPrice | None]
    unpriced: frozenset[Place]
    head: bytes
    first: bytes
    by_name: Mapping[tuple[str, str], ModelPrice | None]
    bounds: dict[tuple[str, str, bool], tuple[tuple[ModelPrice, PreparedBound], ...]] = field(factory=dict)


class MeteredCall(NamedTuple):
    """An admitted call. ``row`` is what of its row is known before it is sent, without braces."""

    id: str
    facts: CallFacts
    day: str
    at: int
    plan: CallPlan
    open_call: OpenCall
    row: bytes

    @property
    def unpriced(self) -> frozenset[Place]:
        """Where it must not go, because a hard budget would not know what that costs."""
        return self.plan.unpriced if self.plan.matched.has_hard_budget else frozenset()


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
            "provider": self.provider, "model": full_name(self.provider, self.model), "at": self.at,
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
        self._plans: Final[dict[tuple[object, ...], CallPlan]] = {}
        self._late: Final[set[str]] = set()  # calls that run without having been written down (FWD_USAGE_FAIL_OPEN)
        self._assumed_price: Final = assumed_price
        self._refuse_unknown: Final = refuse_unknown
        self._bound_output: Final = bound_output
        self._fail_open: Final = fail_open

    @property
    def is_durable(self) -> bool:
        """Whether calls are written down."""
        return self._ledger is not None

    @property
    def counts_nothing(self) -> bool:
        """Whether nothing is counted or kept, for want of rules and a ledger: then a call only has a price."""
        return self._ledger is None and not self.book.rules and not self._refuse_unknown

    # Before a call is sent

    def admit(self, facts: CallFacts) -> MeteredCall:
        """Count a call in. Raises GatewayError, and nothing is used up. It may be sent after ``record_open``."""
        wall = self._clock.now()
        day = find_utc_day(wall)
        plan = self._find_plan(facts)
        matched = plan.matched
        # After a restart nobody would know what was spent, so the budget would not be a hard one.
        if matched.has_hard_budget and self._ledger is None:
            raise _STORAGE_BUSY.to_error()
        if plan.unpriced and len(plan.unpriced) == len(plan.prices) and self._refuse_unknown:
            raise Refusal("price_unknown", model=facts.requested).to_error()
        bound = self._bound(facts, plan, day) if matched.needs_bound else None
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
            raise self._explain(verdict, facts, plan, day).to_error()
        at = to_micro(wall)
        row = b"" if self._ledger is None else _make_row(facts, plan, at, verdict, bound)
        return MeteredCall(call_id, facts, day, at, plan, verdict, row)

    async def record_open(self, call: MeteredCall) -> None:
        """Write an admitted call down; then it may be sent. Raises GatewayError: then it was never admitted."""
        if self._ledger is None:
            return
        try:
            await self._ledger.record_open(
                call.id, b'{%b%b,"likely":%b}' % (call.row, call.plan.first, self._likely(call))
            )
        except StorageBusy:
            if self._fail_open and not call.plan.matched.has_hard_budget:
                self._late.add(call.id)  # its end is written as soon as there is room
                return
            self.book.withdraw(call.id)
            raise _STORAGE_BUSY.to_error() from None
        except BaseException:  # cancelled: the caller has gone before anything was sent
            self.book.withdraw(call.id)
            raise

    def raise_hold(self, call: MeteredCall, estimate: int) -> bool:
        """Hold more before an attempt that follows a costly one; False: make no further attempt."""
        if not self.book.raise_hold(call.id, estimate, self._clock.now()):
            return False
        if self._ledger is not None and call.open_call.counters:
            self._ledger.record_hold(call.id, call.open_call.hold)
        return True

    # When it has ended

    def price_attempt(self, call: MeteredCall, provider: str, model: str, usage: Usage) -> Cost:
        """What an attempt cost, by the table and on the day that the call began with."""
        price = call.plan.by_name.get((provider, model))
        return self._apply_price(usage, price, call.day)

    def price_answer(self, table: PriceTable, place: Place, usage: Usage, day: str) -> Cost:
        """What an answer cost, by a table on a UTC day, where nothing else is to be known of the call."""
        return self._apply_price(usage, self._find_price(table, place), day)

    def _apply_price(self, usage: Usage, price: ModelPrice | None, day: str) -> Cost:
        result = cost(usage, price, day) if price is not None or usage.cost_usd is not None else UNKNOWN
        is_assumed = price is not None and price is self._assumed_price
        return structs.replace(result, kind="estimated") if is_assumed and result.kind == "exact" else result

    def settle(self, call: MeteredCall, end: CallEnd, *, wait: bool = True) -> tuple[Receipt, Awaitable[bool] | None]:
        """Book what a call cost; what the caller is told, and what to await before the last byte (None: nothing).

        ``wait=False`` for a caller that left: the end is written all the same, and nobody is there to wait.
        """
        attempts = end.attempts
        total = attempts[0].cost if len(attempts) == 1 else sum_costs([attempt.cost for attempt in attempts])
        usage = end.usage
        settled = self.book.settle(call.id, total, usage.total if usage is not None else None)
        # Answers that broke off are shorter than they would have been, and would make later estimates too low.
        if end.state == "done" and usage is not None and attempts:
            self.means.add_answer(attempts[-1].model, usage.completion)
        written = None
        if self._ledger is not None:
            written = self._record_end(self._ledger, call, end, total, settled.over_bound, wait=wait)
        open_call, matched = call.open_call, call.plan.matched
        receipt = Receipt(
            call.id if self._ledger is not None else "", total.nano, total.kind, call.plan.table.id,
            _least_left(call) if matched.has_hard_budget else None, open_call.is_soft_over,
            self._limit_facts(call) if matched.windows else (),
        )  # fmt: skip
        return receipt, written

    def _record_end(
        self, ledger: Ledger, call: MeteredCall, end: CallEnd, total: Cost, over_bound: int, *, wait: bool
    ) -> Awaitable[bool] | None:
        columns = _end_columns(end, total, over_bound, to_micro(self._clock.now()))
        if call.id in self._late:
            self._late.discard(call.id)
            columns["units"] = {**columns.get("units", {}), "late": 1}
        first = b"" if end.attempts else call.plan.first
        attempts = [attempt.as_row() for attempt in end.attempts] if _needs_attempts(end) else []
        row = b"{%b%b,%b" % (call.row, first, orjson.dumps(columns)[1:])
        return ledger.record_end(call.id, row, attempts, wait=wait)

    def _limit_facts(self, call: MeteredCall) -> tuple[LimitFacts, ...]:
        """The tightest limit of calls and of tokens, for headers."""
        tightest: dict[str, LimitFacts] = {}
        for line, (window, _, _) in zip(call.plan.matched.windows, call.open_call.slots, strict=True):
            amount = line.rule.amount
            left = amount - window.total  # as of the last call that was counted, which is as exact as a header can be
            name = "tokens" if line.counts_tokens else "requests"
            if name in tightest and tightest[name].remaining <= left:
                continue
            wait = 0.0 if left > 0 else window.seconds_until_room(self._clock.monotonic(), 1, amount) or 0.0
            tightest[name] = LimitFacts(name, amount, max(left, 0), wait)
        return tuple(tightest.values())

    # What is kept of a key and a model

    def _find_plan(self, facts: CallFacts) -> CallPlan:
        """Rules and prices of a call; remembered until either changes."""
        key = (facts.key_id, facts.key_name, facts.project, facts.requested, facts.surface, facts.places)
        plan = self._plans.get(key)
        # Table and rules are replaced as a whole, so identity tells whether they are still the same.
        if plan is not None and plan.table is self.table and plan.rules is self.book.rules:
            return plan
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        plan = self._plans[key] = self._make_plan(facts)
        return plan

    def _make_plan(self, facts: CallFacts) -> CallPlan:
        table = self.table
        models = (facts.requested, *(full_name(place.provider, place.model) for place in facts.places))
        prices = {place: self._find_price(table, place) for place in facts.places}
        head = {
            "key_id": facts.key_id, "key_name": facts.key_name or None, "project_id": facts.project or None,
            "surface": facts.surface, "asked": facts.requested, "price_id": table.id,
        }  # fmt: skip
        first = b""
        if facts.places:
            place = facts.places[0]
            first = b"," + orjson.dumps({"provider": place.provider, "model": full_name(*place[:2])})[1:-1]
        return CallPlan(
            table,
            self.book.rules,
            self.book.find_rules(facts.key_id, facts.project, models),
            prices,
            frozenset(place for place, price in prices.items() if price is None),
            orjson.dumps(head)[1:-1],
            first,
            {(place.provider, place.model): price for place, price in prices.items()},
        )

    def _find_price(self, table: PriceTable, place: Place) -> ModelPrice | None:
        price = table.find(place.provider, place.model)
        # An instance with a name of its own is priced as the provider it is an instance of.
        if price is None and place.type:
            price = table.find(place.type, place.model)
        return price or self._assumed_price

    def _bound(self, facts: CallFacts, plan: CallPlan, day: str) -> int | None:
        """The dearest step of the plan; None when none of them has a price."""
        key = (day, facts.tier, facts.writes_1h)
        lines = plan.bounds.get(key)
        if lines is None:
            if len(plan.bounds) > 100:  # callers invent tiers, and days pass
                plan.bounds.clear()
            known = [price for price in plan.prices.values() if price is not None]
            lines = plan.bounds[key] = tuple(
                (price, prepare_bound(price, day, facts.tier, writes_1h=facts.writes_1h)) for price in known
            )
        dearest: int | None = None
        for price, line in lines:
            completion = find_bound_output(facts.output_limit, facts.choices, price, self._bound_output)
            bound = line.cost(facts.size.bound_tokens(price.context), completion)
            if bound is not None and (dearest is None or bound > dearest):
                dearest = bound
        return dearest

    def _likely(self, call: MeteredCall) -> bytes:
        facts = call.facts
        price = call.plan.prices.get(facts.places[0]) if facts.places else None
        if price is None:
            return b"null"
        output = self.means.expect(facts.places[0].model, facts.output_limit) * facts.choices
        likely = likely_cost(price, call.day, facts.tier, facts.size.likely_tokens(), output)
        return b"null" if likely is None else b"%d" % likely

    def _explain(self, refusal: Refusal, facts: CallFacts, plan: CallPlan, day: str) -> Refusal:
        """With the output limit that would fit, where a budget is what refuses."""
        if refusal.code != "budget_exceeded":
            return refusal
        free = refusal.limit - refusal.used
        known = [price for price in plan.prices.values() if price is not None]
        fits = min(
            fit_output(price, day, facts.tier, facts.size.bound_tokens(price.context), free, facts.choices)
            for price in known
        )
        return Refusal(
            refusal.code, refusal.rule, refusal.used, refusal.held, refusal.needed, refusal.limit, refusal.retry_after,
            refusal.period, fits or None,
        )  # fmt: skip


def _make_row(facts: CallFacts, plan: CallPlan, at: int, open_call: OpenCall, bound: int | None) -> bytes:
    """What a row has before the call is sent, without braces; the same in its open and its end event."""
    row = b'"at":%d,%b,"request_id":%b,"stream":%b,"bound":%b' % (
        at,
        plan.head,
        orjson.dumps(facts.request_id),
        b"true" if facts.stream else b"false",
        b"null" if bound is None else b"%d" % bound,
    )
    if facts.user:
        row += b',"user_tag":' + orjson.dumps(facts.user)
    if facts.tags:
        row += b',"tags":' + orjson.dumps(facts.tags)
    if open_call.counters:
        row += b',"budgets":' + orjson.dumps([tuple(key) for key in open_call.budgets])
    return row


def _least_left(call: MeteredCall) -> int | None:
    hard = [
        counter.left(budget.rule.amount)
        for budget, counter in zip(call.plan.matched.budgets, call.open_call.counters, strict=True)
        if not budget.rule.soft
    ]
    return max(min(hard), 0) if hard else None


def _needs_attempts(end: CallEnd) -> bool:
    """Whether attempts get rows of their own: one that was the only one, and answered, is in the call's row already."""
    return len(end.attempts) > 1 or (len(end.attempts) == 1 and end.attempts[0].code is not None)


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
        columns["provider"], columns["model"] = last.provider, full_name(last.provider, last.model)
    usage = end.usage
    if usage is not None:
        columns["prompt"], columns["completion"], columns["cached"] = usage.prompt, usage.completion, usage.cached
        columns["cache_write"], columns["cache_write_1h"] = usage.cache_write, usage.cache_write_1h
        columns["reasoning"] = usage.reasoning
        if usage.tier:
            columns["tier"] = usage.tier
        if units := {name: value for name in _UNITS if (value := getattr(usage, name))}:
            columns["units"] = units
    return columns
