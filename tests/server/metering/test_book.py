"""The book: what it admits, why it refuses, and the laws over every sequence of calls, clocks and changes."""

from __future__ import annotations

import itertools
from collections import Counter as Tally
from collections import defaultdict

import pytest
from attrs import evolve
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from fwd_server.metering.book import Book
from fwd_server.metering.costs import UNKNOWN, Cost
from fwd_server.metering.counters import BudgetKey, Counter, OpenCall
from fwd_server.metering.refusals import Refusal
from fwd_server.metering.rules import Rule

USD = 10**9
WALL = 1_796_083_200.0  # 2026-12-01, a Tuesday
KEY = "key_a"


def budget(amount: int, window: str = "day", **more: object) -> Rule:
    return Rule(f"b:{window}", f"key:{KEY}", "budget", amount, window, label="key 'web'", **more)  # type: ignore[arg-type]


def limit(kind: str, amount: int, **more: object) -> Rule:
    return Rule(f"l:{kind}", f"key:{KEY}", kind, amount, label="key 'web'", **more)  # type: ignore[arg-type]


def admit(book: Book, call: str = "c", mono: float = 0.0, wall: float = WALL, **more: object) -> OpenCall | Refusal:
    matched = book.find_rules(KEY, "", ("openai:gpt",))
    return book.admit(call, KEY, matched, mono, wall, **more)  # type: ignore[arg-type]


def refused(result: OpenCall | Refusal) -> Refusal:
    assert isinstance(result, Refusal), result
    return result


def test_two_hundred_parallel_calls_on_a_budget_for_ten() -> None:
    """T28, M6: never a cent over; afterwards nothing is held, and the last call that fits is served."""
    book = Book([budget(10 * USD)])
    results = [admit(book, str(n), bound=USD) for n in range(200)]
    running = [result for result in results if isinstance(result, OpenCall)]
    assert len(running) == 10
    assert {result.code for result in results if isinstance(result, Refusal)} == {"budget_busy"}
    for call in running:
        book.settle(call.id, Cost(USD // 2))
    (state,) = book.list_budgets(book.find_rules(KEY, "", ("m",)), WALL)
    assert (state.spent, state.held, state.left) == (5 * USD, 0, 5 * USD)
    served = sum(isinstance(admit(book, f"again{n}", bound=USD), OpenCall) for n in range(20))
    assert served == 5


def test_a_thousand_calls_at_once_on_sixty_a_minute() -> None:
    """M4: exactly 60, and the others are told when."""
    book = Book([limit("rpm", 60)])
    results = [admit(book, str(n), mono=100.5) for n in range(1000)]
    assert sum(isinstance(result, OpenCall) for result in results) == 60
    refusal = refused(results[-1])
    assert refusal.code == "rate_limit_exceeded"
    assert refusal.retry_after == pytest.approx(60.5)
    error = refusal.to_error()
    assert (error.status, error.type, error.retry_after_s, error.should_retry) == (429, "rate_limit_error", 61.0, None)
    assert str(error) == "Limit of key 'web': 60 requests a minute; 60 requests were used in the last minute."


def test_a_cent_and_a_model_of_a_million_tokens() -> None:
    """T40, M8: refused before anything is sent, and for good."""
    refusal = refused(admit(Book([budget(USD // 100)]), bound=20 * USD))
    error = refusal.to_error()
    assert (error.status, error.type, error.code, error.should_retry) == (
        429, "insufficient_quota", "budget_exceeded", False,
    )  # fmt: skip
    assert error.retry_after_s == 86400
    assert "0.01 of 0.01 USD left until 2026-12-02T00:00:00Z" in str(error)
    assert "This call may cost up to 20.00 USD." in str(error)


def test_what_would_fit_is_said() -> None:
    refusal = evolve(refused(admit(Book([budget(USD)]), bound=2 * USD)), fits=29000)
    error = refusal.to_error()
    assert error.param == "max_tokens"
    assert str(error).endswith("may cost up to 2.00 USD; with max_tokens <= 29000 it fits.")


def test_a_budget_that_is_only_held_is_busy_and_not_spent() -> None:
    book = Book([budget(USD)])
    admit(book, "one", bound=USD)
    refusal = refused(admit(book, "two", bound=USD))
    assert (refusal.code, refusal.is_final, refusal.retry_after) == ("budget_busy", False, 1.0)
    assert "Running calls hold 1.00 USD" in str(refusal.to_error())


def test_a_budget_for_ever_has_no_time_to_wait_for() -> None:
    refusal = refused(admit(Book([budget(USD, "all")]), bound=2 * USD))
    assert refusal.retry_after is None
    assert "until" not in str(refusal.to_error())


def test_no_price_is_refused_under_a_hard_budget_and_allowed_under_a_soft_one() -> None:
    error = refused(admit(Book([budget(USD)]), model="compat:x")).to_error()
    assert (error.status, error.code) == (403, "price_unknown")
    assert "compat:x" in str(error)
    book = Book([budget(0, soft=True)])
    call = admit(book)
    assert isinstance(call, OpenCall)
    assert call.is_soft_over
    assert book.settle("c", UNKNOWN).budgets == (BudgetKey("b:day", f"key:{KEY}", "2026-12-01"),)


def test_a_call_larger_than_the_whole_limit_is_refused_for_good() -> None:
    error = refused(admit(Book([limit("tpm", 1000)]), tokens=1001)).to_error()
    assert (error.code, error.should_retry, error.retry_after_s) == ("request_exceeds_limit", False, None)


def test_concurrency_counts_what_runs() -> None:
    book = Book([limit("concurrency", 2)])
    admit(book, "one"), admit(book, "two")
    refusal = refused(admit(book, "three"))
    assert (refusal.code, refusal.retry_after) == ("concurrency_limit_exceeded", 1.0)
    book.settle("one", Cost(0))
    assert isinstance(admit(book, "three"), OpenCall)


def test_tokens_are_corrected_at_settlement() -> None:
    book = Book([limit("tpm", 1000)])
    admit(book, "one", tokens=900)
    assert isinstance(admit(book, "two", tokens=200), Refusal)
    book.settle("one", Cost(0), 100)
    assert isinstance(admit(book, "two", tokens=900), OpenCall)
    assert [state.used for state in book.list_limits(book.find_rules(KEY, "", ("m",)), 0.0)] == [1000]


def test_a_refused_call_changes_nothing() -> None:
    """W6: not in the limits that would have admitted it either."""
    book = Book([limit("rpm", 1), limit("tpm", 100), limit("concurrency", 5), budget(USD)])
    for n in range(50):
        assert isinstance(admit(book, str(n), tokens=5, bound=2 * USD), Refusal)
    assert isinstance(admit(book, "fits", tokens=100, bound=USD), OpenCall)


def test_the_order_of_the_rules_does_not_matter() -> None:
    """W6: a refusal that lasts wins over one that passes."""
    rules = [limit("rpm", 1), limit("concurrency", 1), budget(USD)]
    codes = set()
    for order in itertools.permutations(rules):
        book = Book(order)
        assert isinstance(admit(book, "one", bound=USD // 2), OpenCall)
        codes.add(refused(admit(book, "two", bound=2 * USD)).code)
    assert codes == {"budget_exceeded"}


def test_each_user_has_a_counter_and_parallel_calls_of_a_new_one_share_it() -> None:
    """litellm#40095: the first parallel calls of an unknown user met no counter at all."""
    book = Book([budget(USD, per_user=True)])
    results = [admit(book, f"{user}{n}", bound=USD // 2, user=user) for n in range(5) for user in ("ann", "bob", "")]
    assert sum(isinstance(result, OpenCall) for result in results) == 6
    assert {call.budgets[0].subject for call in results if isinstance(call, OpenCall)} == {
        f"key:{KEY}:ann", f"key:{KEY}:bob", f"key:{KEY}:-",
    }  # fmt: skip


def test_users_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fwd_server.metering.book.MOST_SUBJECTS", 3)
    book = Book([budget(USD, per_user=True)])
    codes = [getattr(admit(book, str(n), bound=1, user=str(n)), "code", "") for n in range(5)]
    assert codes == ["", "", "", "too_many_users", "too_many_users"]


def test_a_call_belongs_to_the_period_it_was_admitted_in() -> None:
    book = Book([budget(USD)])
    admit(book, "late", wall=WALL + 86399, bound=USD)
    matched = book.find_rules(KEY, "", ("m",))
    assert book.list_budgets(matched, WALL + 86400)[0].left == USD
    assert book.settle("late", Cost(USD)).budgets[0].period == "2026-12-01"
    assert book.list_budgets(matched, WALL + 86400)[0].spent == 0


def test_a_clock_that_is_set_back_keeps_the_later_period() -> None:
    """D10: nobody gets yesterday's budget again."""
    book = Book([budget(USD)])
    admit(book, "a", bound=USD), book.settle("a", Cost(USD))
    admit(book, "b", wall=WALL + 90000, bound=USD), book.settle("b", Cost(USD))
    assert refused(admit(book, "c", wall=WALL, bound=USD)).code == "budget_exceeded"


def test_a_changed_amount_counts_at_once_and_a_removed_rule_keeps_its_counter() -> None:
    book = Book([budget(USD)])
    admit(book, "a", bound=USD), book.settle("a", Cost(USD))
    book.set_rules([budget(3 * USD)])
    assert book.list_budgets(book.find_rules(KEY, "", ("m",)), WALL)[0].left == 2 * USD
    book.set_rules([])
    assert isinstance(admit(book, "free"), OpenCall)
    book.set_rules([budget(USD)])
    assert refused(admit(book, "b", bound=1)).code == "budget_exceeded"


def test_a_bad_set_of_rules_changes_nothing() -> None:
    book = Book([budget(USD)])
    with pytest.raises(ValueError, match="fortnight"):
        book.set_rules([budget(USD, "fortnight")])
    assert refused(admit(book, bound=2 * USD)).code == "budget_exceeded"


def test_an_adjustment_is_counted_and_a_hold_may_be_raised_as_far_as_there_is_room() -> None:
    book = Book([budget(USD)])
    assert not book.adjust("b:day", f"key:{KEY}", "2026-11-30", USD, WALL)
    assert book.adjust("b:day", f"key:{KEY}", "2026-12-01", USD, WALL)
    admit(book, "a", bound=USD)
    assert book.raise_hold("a", USD, WALL)
    assert not book.raise_hold("a", 1, WALL)
    assert book.settle("a", Cost(2 * USD + 5)).over_bound == 5


def test_rules_of_project_and_gateway_count_too_and_only_for_their_models() -> None:
    rules = [Rule("p", "project:prj", "rpm", 1), Rule("g", "gateway", "rpm", 2, models=("gpt*",))]
    book = Book(rules)

    def call(n: int, key: str, project: str, model: str) -> bool:
        matched = book.find_rules(key, project, (model,))
        return isinstance(book.admit(str(n), key, matched, 0.0, WALL), OpenCall)

    assert call(1, "a", "prj", "openai:gpt-5")
    assert not call(2, "b", "prj", "openai:gpt-5")
    assert call(3, "c", "", "openai:gpt-5")
    assert not call(4, "c", "", "openai:gpt-5")
    assert call(5, "c", "", "claude")


def test_a_busy_key_leaves_room_for_a_quiet_one() -> None:
    """T31: from 80 % of the room on a key that runs more than its share waits."""
    book = Book(max_requests=10)
    nobody = book.find_rules("loud", "", ("m",))
    loud = [book.admit(f"l{n}", "loud", nobody, 0.0, WALL) for n in range(10)]
    assert sum(isinstance(result, OpenCall) for result in loud) == 10
    assert isinstance(book.admit("q", "quiet", nobody, 0.0, WALL), OpenCall)
    refusal = refused(book.admit("l10", "loud", nobody, 0.0, WALL))
    assert refusal.to_error().status == 503
    assert isinstance(book.admit("q2", "quiet", nobody, 0.0, WALL), OpenCall)


def test_counters_and_windows_come_back_after_a_restart() -> None:
    book = Book([budget(USD), limit("rph", 10), limit("tph", 1000)])
    book.restore_counter(Counter(BudgetKey("b:day", f"key:{KEY}", "2026-12-01"), spent=USD), WALL)
    book.restore_counter(Counter(BudgetKey("b:day", f"key:{KEY}", "2026-11-30"), spent=1), WALL)
    book.restore_counter(Counter(BudgetKey("gone", "x", "2026-12-01"), spent=1), WALL)
    book.restore_window("l:rph", "", 5000.0, 60.0, 10, 900)
    book.restore_window("l:tph", "", 5000.0, 60.0, 10, 900)
    matched = book.find_rules(KEY, "", ("m",))
    assert book.list_budgets(matched, WALL)[0].spent == USD
    assert [state.used for state in book.list_limits(matched, 5000.0)] == [10, 900]


def test_idle_windows_are_forgotten() -> None:
    book = Book([limit("rpm", 10, per_user=True), limit("concurrency", 10, per_user=True)])
    for n in range(5):
        admit(book, str(n), user=str(n)), book.settle(str(n), Cost(0))
    admit(book, "running", user="x", mono=50.0)
    assert book.forget_idle(55.0) == 5  # the gauges
    assert book.forget_idle(100.0) == 5  # and then the windows
    assert book.forget_idle(111.0) == 1


AMOUNTS = st.integers(0, 20)


class BookMachine(RuleBasedStateMachine):
    """W1, W2, W5, W6, W10 over any sequence of calls, costs, clocks, changed rules and restarts."""

    calls: Bundle[str] = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.mono, self.wall, self.furthest = 1000.0, WALL, WALL
        self.ids = itertools.count()
        self.amount = 50
        self.rows: list[tuple[tuple[BudgetKey, ...], int]] = []  # the ledger: one row a settled call
        self.adjustments: Tally[BudgetKey] = Tally()
        self.over: Tally[BudgetKey] = Tally()
        self.lowered = False
        self.admissions: list[float] = []

    def rules_now(self) -> list[Rule]:
        return [
            budget(self.amount), budget(4 * self.amount, "month"), budget(1, "week", soft=True),
            Rule("users", f"key:{KEY}", "budget", 20, "day", per_user=True),
            limit("rpm", 8), limit("tpm", 100), limit("concurrency", 6),
        ]  # fmt: skip

    @initialize()
    def start(self) -> None:
        self.book = Book(self.rules_now(), max_requests=5)

    @rule(target=calls, bound=AMOUNTS, tokens=st.integers(0, 110), user=st.sampled_from(["", "ann", "bob"]))
    def admit_call(self, bound: int, tokens: int, user: str) -> str:
        call_id = str(next(self.ids))
        before = self.snapshot()
        result = admit(self.book, call_id, self.mono, self.wall, bound=bound, tokens=tokens, user=user)
        if isinstance(result, Refusal):
            assert self.snapshot() == before  # W6
            assert result.to_error().code == result.code
        else:
            self.admissions.append(self.mono)
            self.furthest = max(self.furthest, self.wall)
        return call_id

    @rule(call=consumes(calls), cost=AMOUNTS, tokens=st.integers(0, 120))
    def settle_call(self, call: str, cost: int, tokens: int) -> None:
        open_call = self.book.open_calls.get(call)
        settled = self.book.settle(call, Cost(cost), tokens)
        assert (open_call is None) == (settled.budgets == ())
        if open_call is not None:
            self.rows.append((settled.budgets, cost))
            for key in settled.budgets:
                self.over[key] += settled.over_bound
        assert self.book.settle(call, Cost(cost)).budgets == ()  # a second time is nothing

    @rule(call=calls, amount=AMOUNTS)
    def raise_call(self, call: str, amount: int) -> None:
        if call in self.book.open_calls:
            self.book.raise_hold(call, amount, self.wall)

    @rule(seconds=st.one_of(st.floats(0, 70), st.floats(-90_000, 90_000), st.floats(-4e6, 4e6)))
    def jump_clock(self, seconds: float) -> None:
        """D10: the wall clock goes anywhere, the monotonic one forward only."""
        self.wall = max(self.wall + seconds, 0.0)
        self.mono += min(abs(seconds), 7.0)

    @rule(amount=st.integers(10, 80))
    def change_rules(self, amount: int) -> None:
        self.lowered = self.lowered or amount < self.amount
        self.amount = amount
        self.book.set_rules(self.rules_now()[:: (-1 if amount % 2 else 1)])

    @rule(amount=st.integers(-5, 5))
    def adjust_budget(self, amount: int) -> None:
        (state,) = [state for state in self.states() if state.rule.id == "b:day"]
        key = BudgetKey("b:day", state.subject, state.period.label)
        assert self.book.adjust(*key, amount, self.wall)
        self.adjustments[key] += amount
        self.furthest = max(self.furthest, self.wall)
        self.lowered = self.lowered or amount < 0

    @precondition(lambda self: self.rows)
    @rule()
    def crash_and_recover(self) -> None:
        """Running calls become interrupted rows with what they held, and the counters come from the rows."""
        for call in [*self.book.open_calls.values()]:
            self.rows.append((tuple(call.budgets), call.hold))
        self.book = Book(self.rules_now(), max_requests=5)
        for key, spent in self.sums().items():
            self.book.restore_counter(Counter(key, spent, 0, self.adjustments[key]), self.furthest_wall())
        for key, amount in self.adjustments.items():
            if key not in self.sums():
                self.book.restore_counter(Counter(key, 0, 0, amount), self.furthest_wall())
        self.admissions = []  # minute windows begin empty

    def furthest_wall(self) -> float:
        """The latest time in the ledger: without it, a clock set back over a restart would open an old period."""
        return max(self.wall, self.furthest)

    def sums(self) -> dict[BudgetKey, int]:
        sums: dict[BudgetKey, int] = defaultdict(int)
        for keys, cost in self.rows:
            for key in keys:
                sums[key] += cost
        return sums

    def states(self) -> list:  # type: ignore[type-arg]
        matched = self.book.find_rules(KEY, "", ("m",))
        return [s for user in ("", "ann", "bob") for s in self.book.list_budgets(matched, self.wall, user)
                if user == "" or s.rule.per_user]  # fmt: skip

    def snapshot(self) -> object:
        matched = self.book.find_rules(KEY, "", ("m",))
        return self.states(), self.book.list_limits(matched, self.mono), len(self.book.open_calls)

    @invariant()
    def counters_are_the_sums_of_their_rows(self) -> None:
        """W1."""
        if not hasattr(self, "book"):
            return
        sums = self.sums()
        for state in self.states():
            key = BudgetKey(state.rule.id, state.subject, state.period.label)
            assert state.spent == sums.get(key, 0)
            assert state.left == state.rule.amount + self.adjustments[key] - state.spent - state.held
            assert state.held >= 0

    @invariant()
    def hard_budgets_are_never_exceeded(self) -> None:
        """W2: but for what a provider took beyond a bound, and budgets somebody lowered."""
        if not hasattr(self, "book") or self.lowered:
            return
        for state in self.states():
            key = BudgetKey(state.rule.id, state.subject, state.period.label)
            if not state.rule.soft:
                assert state.spent + state.held <= state.rule.amount + self.adjustments[key] + self.over[key]

    @invariant()
    def nothing_is_held_at_rest(self) -> None:
        """W5."""
        if hasattr(self, "book") and not self.book.open_calls:
            assert all(state.held == 0 for state in self.states())
            gauges = [s for s in self.book.list_limits(self.book.find_rules(KEY, "", ("m",)), self.mono)
                      if s.rule.kind == "concurrency"]  # fmt: skip
            assert [state.used for state in gauges] == [0]

    @invariant()
    def no_window_has_more_calls_than_its_limit(self) -> None:
        """M5, W10."""
        assert sum(self.mono - then <= 60 for then in self.admissions) <= 8


TestBookMachine = BookMachine.TestCase
TestBookMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
