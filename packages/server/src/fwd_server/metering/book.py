"""The book: every limit and budget of a box, and the one place that admits a call and settles it.

Told the time; returns verdicts; no IO. Everything a call needs is checked before anything is counted, so a refused call
changes nothing, and the order of the checks does not matter (law W6). What a call holds is given back exactly once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from fwd_server.metering.costs import Cost
from fwd_server.metering.counters import (
    NOTHING_SETTLED,
    BudgetKey,
    BudgetLine,
    BudgetState,
    Counter,
    GaugeLine,
    LimitState,
    MatchedRules,
    OpenCall,
    Settled,
    WindowLine,
)
from fwd_server.metering.periods import Period, find_period, load_zone
from fwd_server.metering.refusals import Refusal
from fwd_server.metering.rules import LIMITS, Rule, check_rule, pick_rules
from fwd_server.metering.windows import Gauge, Window

MOST_SUBJECTS: Final = 100_000  # user tags a rule and period: callers invent them
_MEMO_LIMIT: Final = 20_000
_FAIR_FROM: Final = 0.8  # the share of the gateway's room from which keys have to share


class Book:
    """All limits and budgets. ``mono`` is monotonic time, ``wall`` the time of the epoch, both in seconds."""

    def __init__(self, rules: Iterable[Rule] = (), *, max_requests: int | None = None) -> None:
        self.max_requests = max_requests
        self._rules: tuple[Rule, ...] = ()
        self._budgets: dict[str, BudgetLine] = {}
        self._all_budgets: dict[tuple[object, ...], BudgetLine] = {}
        self._windows: dict[str, WindowLine] = {}
        self._gauges: dict[str, GaugeLine] = {}
        self._memo: dict[tuple[str, str, tuple[str, ...]], MatchedRules] = {}
        self._open: dict[str, OpenCall] = {}
        self._running: dict[str, int] = {}
        self.set_rules(rules)

    # Rules

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Take a new set of rules. Counters stay with their rule's id: a changed amount counts at once.

        A rule that is gone keeps its counters too: whoever takes a line out of the key file and puts it back has not
        reset a budget. Raises ValueError for a rule that cannot be counted, and then nothing has changed.
        """
        kept = tuple(rules)
        for rule in kept:
            check_rule(rule)
        self._rules = kept
        self._memo.clear()
        for rule in kept:
            if rule.is_budget:
                # What is counted and over which time: if any of this changes, counting begins anew. The amount is not
                # among them.
                place = (rule.id, rule.scope, rule.window, rule.zone, rule.anchor, rule.per_user)
                budget = self._all_budgets.get(place)
                if budget is None:
                    budget = self._all_budgets[place] = BudgetLine(rule, load_zone(rule.zone), _UNSEEN)
                budget.rule = rule
                self._budgets[rule.id] = budget
            else:
                self._set_limit(rule)

    def _set_limit(self, rule: Rule) -> None:
        what, seconds = LIMITS[rule.kind]
        if seconds is None:
            self._gauges.setdefault(rule.id, GaugeLine(rule)).rule = rule
            return
        line = self._windows.get(rule.id)
        if line is None or (line.seconds, line.counts_tokens) != (seconds, what == "tokens"):
            line = self._windows[rule.id] = WindowLine(rule, what == "tokens", seconds)
        line.rule = rule

    def find_rules(self, key_id: str, project_id: str, models: tuple[str, ...]) -> MatchedRules:
        """The rules that a call of this key to these models must pass; remembered."""
        key = (key_id, project_id, models)
        matched = self._memo.get(key)
        if matched is None:
            if len(self._memo) >= _MEMO_LIMIT:  # callers may invent names of models
                self._memo.clear()
            matched = self._memo[key] = self._match_rules(key_id, project_id, models)
        return matched

    def _match_rules(self, key_id: str, project_id: str, models: tuple[str, ...]) -> MatchedRules:
        scopes = ("gateway", f"key:{key_id}", *([f"project:{project_id}"] if project_id else []))
        rules = pick_rules(self._rules, scopes, models)
        budgets = tuple(self._budgets[rule.id] for rule in rules if rule.is_budget)
        limits = [rule for rule in rules if not rule.is_budget]
        return MatchedRules(
            tuple(self._windows[rule.id] for rule in limits if LIMITS[rule.kind][1] is not None),
            tuple(self._gauges[rule.id] for rule in limits if LIMITS[rule.kind][1] is None),
            budgets,
            bool(budgets),
            any(not budget.rule.soft for budget in budgets),
        )

    # Calls

    def admit(
        self,
        call_id: str,
        key_id: str,
        matched: MatchedRules,
        mono: float,
        wall: float,
        *,
        tokens: int = 0,
        bound: int | None = None,
        user: str = "",
        model: str = "",
    ) -> OpenCall | Refusal:
        """Admit a call, or say why not. ``tokens`` is what token limits reserve, ``bound`` what hard budgets do.

        One step without IO: nothing can come between the checks and the counting. A refusal changes nothing.
        """
        refusals: list[Refusal] = []
        if self.max_requests is not None and len(self._open) >= self.max_requests * _FAIR_FROM:
            self._check_share(key_id, refusals)
        subject = user or "-"
        windows: list[Window | None] = []
        for line in matched.windows:
            window = line.windows.get(subject if line.rule.per_user else "")
            windows.append(window)
            needed = tokens if line.counts_tokens else 1
            if (0 if window is None else window.count_at(mono)) + needed > line.rule.amount:
                refusals.append(_refuse_window(line.rule, window, needed, mono))
        gauges: list[Gauge | None] = []
        for gauge_line in matched.gauges:
            rule = gauge_line.rule
            gauge = gauge_line.gauges.get(subject if rule.per_user else "")
            gauges.append(gauge)
            if gauge is not None and gauge.running >= rule.amount:
                code = "concurrency_limit_exceeded"
                refusals.append(Refusal(code, rule, gauge.running, needed=1, limit=rule.amount, retry_after=1.0))
        counters: list[Counter] = []
        is_soft_over = False
        for budget in matched.budgets:
            period = budget.period
            # Asked here first, because nearly every call falls into the current period and needs no calendar.
            if period.end is not None and wall >= period.end:
                _turn_period(budget, wall)
            counter = budget.counters.get(budget.find_subject(user)) or _new_counter(budget, user, refusals)
            counters.append(counter)
            limit = budget.rule.amount + counter.adjusted
            if budget.rule.soft:
                # A soft budget refuses nothing; the answer's headers say that it is used up.
                is_soft_over |= counter.spent >= limit
            elif bound is None:
                refusals.append(Refusal("price_unknown", model=model or "the model"))
            elif counter.spent + counter.held + bound > limit:
                refusals.append(_refuse_budget(budget, counter, bound, limit, wall))
        if refusals:
            return _choose_refusal(refusals)

        # Everything admits the call: count it. Subjects are kept only now, so a refused call leaves nothing behind.
        slots: list[tuple[Window, int, int]] = []
        for line, window in zip(matched.windows, windows, strict=False):
            if window is None:
                window = line.windows[subject if line.rule.per_user else ""] = Window(line.seconds)
            amount = tokens if line.counts_tokens else 1
            slots.append((window, window.add(mono, amount), amount if line.counts_tokens else 0))
        counted: list[Gauge] = []
        for gauge_line, gauge in zip(matched.gauges, gauges, strict=False):
            if gauge is None:
                gauge = gauge_line.gauges[subject if gauge_line.rule.per_user else ""] = Gauge()
            gauge.running += 1
            counted.append(gauge)
        hold = bound or 0
        for budget, counter in zip(matched.budgets, counters, strict=False):
            counter.held += hold
            if counter.key.subject not in budget.counters:
                budget.counters[counter.key.subject] = counter
        open_call = OpenCall(call_id, key_id, hold, tokens, counters, slots, counted, is_soft_over)
        self._open[call_id] = open_call
        self._running[key_id] = self._running.get(key_id, 0) + 1
        return open_call

    def _check_share(self, key_id: str, refusals: list[Refusal]) -> None:
        """T31: from 80 % of the room on, a key that runs more than its share waits, so a quiet key finds room."""
        mine = self._running.get(key_id, 0)
        keys = len(self._running) + (0 if mine else 1)
        if mine and (mine + 1) * keys > (self.max_requests or 0):
            refusals.append(Refusal("overloaded", retry_after=1.0))

    def raise_hold(self, call_id: str, amount: int, wall: float) -> bool:
        """Hold more for a call before another attempt; False when a hard budget has no room for it."""
        open_call = self._open[call_id]
        for counter in open_call.counters:
            budget = self._budgets.get(counter.key.rule)
            if budget is None or budget.rule.soft:
                continue
            if counter.left(budget.rule.amount) < amount:
                return False
        # After all of them were asked: a call holds more in every budget or in none.
        for counter in open_call.counters:
            counter.held += amount
        open_call.hold += amount
        return True

    def settle(self, call_id: str, cost: Cost, tokens: int | None = None) -> Settled:
        """The hold goes and the cost comes, in one step; a call that is not open changes nothing.

        ``tokens`` is the true figure for token windows; None keeps the reserved one. An unknown cost adds its known
        part, which is what is certain.
        """
        open_call = self._close_call(call_id)
        if open_call is None:
            return NOTHING_SETTLED
        if tokens is not None and tokens != open_call.tokens:
            difference = tokens - open_call.tokens
            for window, slot, counted in open_call.slots:
                if counted:
                    window.correct(slot, difference)
        nano = cost.known_part if cost.nano is None else cost.nano
        for counter in open_call.counters:
            counter.spent += nano
            counter.calls += 1
        over = nano - open_call.hold
        return Settled(open_call, over if over > 0 and open_call.counters else 0)

    def withdraw(self, call_id: str) -> None:
        """Undo an admission: the call could not be written down, so it is not sent, and nothing was used up."""
        open_call = self._close_call(call_id)
        if open_call is not None:
            for window, slot, counted in open_call.slots:
                # 0 marks a window of calls, in which an admission counts one.
                window.correct(slot, -(counted or 1))

    def _close_call(self, call_id: str) -> OpenCall | None:
        """Take a call off what runs, and its hold off every budget."""
        open_call = self._open.pop(call_id, None)
        if open_call is None:
            return None
        key_id = open_call.key_id
        running = self._running[key_id] - 1
        if running:
            self._running[key_id] = running
        else:
            # The keys that are in it share the room between them (contract T31).
            del self._running[key_id]
        for gauge in open_call.gauges:
            gauge.running -= 1
        for counter in open_call.counters:
            counter.held -= open_call.hold
        return open_call

    # State, reports and restarts

    @property
    def open_calls(self) -> Mapping[str, OpenCall]:
        """The calls that run now, by id."""
        return self._open

    def adjust(self, rule_id: str, subject: str, period: str, amount: int, wall: float) -> bool:
        """Add to what a budget may spend in a period, or take from it; False when it is not the current one."""
        budget = self._budgets.get(rule_id)
        if budget is None:
            return False
        _turn_period(budget, wall)
        # Somebody meant the period before: the new one must not get that money.
        if budget.period.label != period:
            return False
        key = BudgetKey(rule_id, subject, period)
        budget.counters.setdefault(subject, Counter(key)).adjusted += amount
        return True

    def restore_counter(self, counter: Counter, wall: float) -> None:
        """After a restart: what the ledger says was spent. A period that is over is left alone.

        ``wall`` is the later of now and the latest time in the ledger: a clock that was set back over a restart must
        not open a period again (D10).
        """
        key = counter.key
        budget = self._budgets.get(key.rule)
        if budget is None:
            return
        _turn_period(budget, wall)
        # Counters of earlier periods are history; only the current one decides.
        if budget.period.label == key.period:
            budget.counters[key.subject] = counter

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in force."""
        return self._rules

    def restore_window(self, rule_id: str, user: str, mono: float, age_s: float, calls: int, tokens: int) -> None:
        """After a restart: what the ledger says came in the hour or day before."""
        line = self._windows.get(rule_id)
        if line is not None:
            subject = user or "-" if line.rule.per_user else ""
            window = line.windows.setdefault(subject, Window(line.seconds))
            window.put_past(mono, age_s, tokens if line.counts_tokens else calls)

    def list_budgets(self, matched: MatchedRules, wall: float, user: str = "") -> list[BudgetState]:
        """The budgets of a key and what is left of them."""
        states: list[BudgetState] = []
        for budget in matched.budgets:
            _turn_period(budget, wall)
            subject = budget.find_subject(user)
            counter = budget.counters.get(subject) or Counter(BudgetKey(budget.rule.id, subject, budget.period.label))
            left = counter.left(budget.rule.amount)
            states.append(BudgetState(budget.rule, subject, budget.period, counter.spent, counter.held, left))
        return states

    def list_limits(self, matched: MatchedRules, mono: float, user: str = "") -> list[LimitState]:
        """The limits of a key and what is used of them."""
        states: list[LimitState] = []
        for line in matched.windows:
            window = line.windows.get(user or "-" if line.rule.per_user else "") or Window(line.seconds)
            wait = window.seconds_until_room(mono, 1, line.rule.amount)
            states.append(LimitState(line.rule, window.count_at(mono), wait or 0.0))
        for gauge_line in matched.gauges:
            gauge = gauge_line.gauges.get(user or "-" if gauge_line.rule.per_user else "")
            states.append(LimitState(gauge_line.rule, gauge.running if gauge else 0, 0.0))
        return states

    def forget_idle(self, mono: float) -> int:
        """Drop the windows and gauges of subjects that count nothing; how many. Called now and then."""
        dropped = 0
        for line in self._windows.values():
            idle = [subject for subject, window in line.windows.items() if window.count_at(mono) == 0]
            dropped += len(idle)
            for subject in idle:
                del line.windows[subject]
        for gauge_line in self._gauges.values():
            idle = [subject for subject, gauge in gauge_line.gauges.items() if gauge.running == 0]
            dropped += len(idle)
            for subject in idle:
                del gauge_line.gauges[subject]
        return dropped


_UNSEEN: Final = Period("", 0, 0)  # ended long ago, so the first call finds the true one


def _turn_period(budget: BudgetLine, wall: float) -> None:
    """Begin the next period when its time has come. A clock that is set back keeps the later one (D10)."""
    period = budget.period
    if period.end is None or wall < period.end:
        return
    rule = budget.rule
    budget.period = find_period(rule.window, wall, budget.zone, rule.anchor)
    # Nothing is reset: running calls keep their own counters, which settle into the period they began in.
    budget.counters = {}


def _new_counter(budget: BudgetLine, user: str, refusals: list[Refusal]) -> Counter:
    """A counter that is not kept yet."""
    if len(budget.counters) >= MOST_SUBJECTS:
        refusals.append(Refusal("too_many_users", budget.rule, period=budget.period))
    return Counter(BudgetKey(budget.rule.id, budget.find_subject(user), budget.period.label))


def _refuse_window(rule: Rule, window: Window | None, needed: int, mono: float) -> Refusal:
    used = window.count_at(mono) if window is not None else 0
    if needed > rule.amount:
        return Refusal("request_exceeds_limit", rule, used, needed=needed, limit=rule.amount)
    wait = window.seconds_until_room(mono, needed, rule.amount) if window is not None else None
    return Refusal("rate_limit_exceeded", rule, used, needed=needed, limit=rule.amount, retry_after=wait)


def _refuse_budget(budget: BudgetLine, counter: Counter, bound: int, limit: int, wall: float) -> Refusal:
    """Final when what is spent leaves no room, passing when only running calls hold it.

    Peers answer both alike; agents then give up for good because of one full moment.
    """
    code = "budget_exceeded"
    wait: float | None = None
    if counter.spent + bound <= limit:
        code, wait = "budget_busy", 1.0
    elif budget.period.end is not None:
        wait = max(budget.period.end - wall, 1.0)
    return Refusal(code, budget.rule, counter.spent, counter.held, bound, limit, wait, budget.period)


def _choose_refusal(refusals: list[Refusal]) -> Refusal:
    """The one that counts: a final one if there is any, else the one that takes longest.

    A caller told to come back in a second must not find out only then that his budget is used up.
    """
    if len(refusals) == 1:
        return refusals[0]
    return max(refusals, key=lambda refusal: (refusal.is_final, refusal.retry_after or 0.0, refusal.code))
