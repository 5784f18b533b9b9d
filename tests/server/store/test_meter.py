"""The meter: what the call path is told, what is booked, and what is written down, with the real book and ledger."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from kit.clock import FakeClock
from tests.server.metering.golden_costs import PRICES

from fwd_server.metering.book import Book
from fwd_server.metering.bounds import InputSize
from fwd_server.metering.costs import FREE, Cost
from fwd_server.metering.price_file import join_layers, parse_prices
from fwd_server.metering.rules import Rule
from fwd_server.store.ledger import Ledger
from fwd_server.store.meter import CallEnd, CallFacts, Meter, MeteredCall, Place, PricedAttempt
from fwd_server.store.store_file import STORE_NAME, read_store
from fwd_server.store.upkeep import check_store
from fwd_server.values.errors import GatewayError
from fwd_server.values.receipt import LimitFacts, Receipt
from fwd_server.values.usage import Usage

USD = 10**9
KEY = "file_abc"
TABLE = join_layers([parse_prices(PRICES)])


def rule(kind: str, amount: int, window: str = "", **more: Any) -> Rule:
    return Rule(f"{KEY}:{kind}:{window}", f"key:{KEY}", kind, amount, window, label="key 'web'", **more)


def facts(**more: Any) -> CallFacts:
    given = {"key_id": KEY, "requested": "gpt-a", "places": (Place("openai", "gpt-a"),), "size": InputSize(4000),
             "output_limit": 1000, "request_id": "req_1"}  # fmt: skip
    return CallFacts(**(given | more))


USAGE = Usage(prompt=1000, completion=500)  # 7,000,000 nano-dollars


async def admit(meter: Meter, given: CallFacts) -> MeteredCall:
    call = meter.admit(given)
    await meter.record_open(call)
    return call


async def settle(meter: Meter, call: MeteredCall, end: CallEnd, *, wait: bool = True) -> tuple[Receipt, bool]:
    receipt, written = meter.settle(call, end, wait=wait)
    return receipt, written is not None and await written


async def finish(meter: Meter, call: MeteredCall, usage: Usage | None = USAGE, **more: Any) -> Receipt:
    cost = meter.price_attempt(call, "openai", "gpt-a", usage) if usage else FREE
    attempt = PricedAttempt("openai", "gpt-a", cost, usage, status=200)
    given: dict[str, Any] = {"state": "done", "status": 200, "attempts": (attempt,), "usage": usage, "total_ms": 12.4}
    receipt, is_durable = await settle(meter, call, CallEnd(**(given | more)))
    assert is_durable is meter.is_durable
    return receipt


def run(
    tmp_path: Path, rules: list[Rule], test: Callable[[Meter, Ledger], Awaitable[None]], **more: Any
) -> sqlite3.Connection:
    """Run a test with a real ledger; the store, after everything was closed."""

    async def main() -> None:
        ledger = Ledger(tmp_path, FakeClock(), settle_wait_s=more.pop("wait_s", 2.0))
        ledger.start()
        meter = Meter(Book(rules), TABLE, FakeClock(), ledger, **more)
        try:
            await test(meter, ledger)
        finally:
            await ledger.close()

    asyncio.run(main())
    store = read_store(tmp_path / STORE_NAME)
    assert check_store(store) == []
    return store


def test_a_call_is_admitted_priced_settled_and_written_down(tmp_path: Path) -> None:
    async def test(meter: Meter, ledger: Ledger) -> None:
        call = await admit(meter, facts(tags={"team": "web"}, user="ann", stream=True))
        receipt = await finish(meter, call)
        assert receipt == Receipt(
            call.id, 7_000_000, "exact", TABLE.id, 5 * USD - 7_000_000, False, (LimitFacts("requests", 5, 4, 0.0),)
        )

    store = run(tmp_path, [rule("budget", 5 * USD, "day"), rule("rpm", 5)], test)
    columns = (
        "key_id, user_tag, tags, asked, model, state, stream, prompt, completion, cost, cost_kind, bound, attempts"
    )
    assert store.execute(f"select {columns} from calls").fetchone() == (
        # The bound: 2,000 tokens at the price of cache writes, and the 1,000 of output that the caller allows.
        KEY, "ann", '{"team":"web"}', "gpt-a", "openai:gpt-a", "done", 1, 1000, 500, 7_000_000, "exact",
        2000 * 2500 + 1000 * 10_000, 1,
    )  # fmt: skip
    assert store.execute("select count(*) from attempts").fetchone() == (0,)
    store.close()


def test_two_hundred_parallel_calls_never_spend_a_cent_more(tmp_path: Path) -> None:
    """T28, M6, with faults, cancelled callers and costs below the bound (M7): at rest nothing is held."""
    bound = 2000 * 2500 + 1000 * 10_000
    seen: list[str] = []

    async def one(meter: Meter, n: int) -> str:
        try:
            call = await admit(meter, facts(request_id=f"r{n}"))
        except GatewayError as error:
            return error.code or ""
        seen.append(call.id)
        await asyncio.sleep(0)
        if n % 3 == 0:
            await finish(meter, call, None, state="failed", status=502)
        else:
            await finish(meter, call, Usage(prompt=2000, completion=n))
        return "served"

    async def test(meter: Meter, ledger: Ledger) -> None:
        tasks = [asyncio.ensure_future(one(meter, n)) for n in range(200)]
        for task in random.sample(tasks, 20):
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not meter.book.open_calls
        (state,) = meter.book.list_budgets(meter.book.find_rules(KEY, "", ("gpt-a",)), FakeClock().now())
        assert state.held == 0
        assert state.left >= 0
        assert "budget_busy" in results
        # What is left can be spent to the last call that fits.
        served = 0
        while await one(meter, 400) == "served":
            served += 1
        assert meter.book.list_budgets(meter.book.find_rules(KEY, "", ("m",)), FakeClock().now())[0].left < bound
        assert served == (state.left - bound) // (2000 * 2000 + 400 * 10_000) + 1

    store = run(tmp_path, [rule("budget", 10 * bound, "day")], test)
    rows = {row[0] for row in store.execute("select id from calls where state in ('done', 'failed')")}
    assert rows == set(seen)
    store.close()


def refusal(meter: Meter, **more: Any) -> GatewayError:
    async def test() -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await admit(meter, facts(**more))
        return caught.value

    return asyncio.run(test())


def test_what_would_fit_is_said() -> None:
    """T40: the message names the output limit with which the call is admitted, and it is."""

    async def test(meter: Meter, ledger: Ledger) -> None:
        with pytest.raises(GatewayError) as caught:
            await admit(meter, facts(output_limit=None))
        assert caught.value.param == "max_tokens"
        fits = int(str(caught.value).partition("max_tokens <= ")[2].partition(" ")[0])
        assert fits == (20_000_000 - 5_000_000) // 10_000
        with pytest.raises(GatewayError):
            await admit(meter, facts(output_limit=fits + 1))
        await finish(meter, await admit(meter, facts(output_limit=fits)))

    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        run(Path(directory), [rule("budget", 20_000_000, "day")], test).close()


def test_without_a_ledger_limits_work_and_hard_budgets_are_refused() -> None:
    """FWD_LEDGER=off."""
    soft = rule("budget", USD, "month", soft=True)
    meter = Meter(Book([rule("rpm", 1), soft]), TABLE, FakeClock())

    async def test() -> None:
        receipt = await finish(meter, await admit(meter, facts()))
        assert (receipt.cost, receipt.budget_left, receipt.call_id) == (7_000_000, None, "")

    asyncio.run(test())
    assert refusal(meter).code == "rate_limit_exceeded"
    meter.book.set_rules([rule("budget", USD, "day")])
    error = refusal(meter)
    assert (error.status, error.code) == (503, "storage_busy")


def test_unknown_prices() -> None:
    meter = Meter(Book(), TABLE, FakeClock(), refuse_unknown=True)
    unknown = {"requested": "x", "places": (Place("compat", "x"),)}
    assert refusal(meter, **unknown).code == "price_unknown"
    assumed = TABLE.find("openai", "gpt-a")
    meter = Meter(Book(), TABLE, FakeClock(), assumed_price=assumed)

    async def test() -> None:
        call = await admit(meter, facts(**unknown))
        assumed_cost = meter.price_attempt(call, "compat", "x", USAGE)
        assert (assumed_cost.nano, assumed_cost.kind) == (7_000_000, "estimated")
        meter_without = Meter(Book(), TABLE, FakeClock())
        call = await admit(meter_without, facts(**unknown))
        assert meter_without.price_attempt(call, "compat", "x", USAGE).kind == "unknown"
        assert meter_without.price_attempt(call, "compat", "x", Usage(cost_usd=0.5)).nano == USD // 2

    asyncio.run(test())


def test_a_hard_budget_skips_deployments_without_a_price(tmp_path: Path) -> None:
    async def test(meter: Meter, ledger: Ledger) -> None:
        plan = (Place("compat", "x"), Place("openai", "gpt-a"))
        call = await admit(meter, facts(places=plan))
        assert call.unpriced == {Place("compat", "x")}
        await finish(meter, call)
        with pytest.raises(GatewayError) as caught:
            await admit(meter, facts(places=plan[:1]))
        assert (caught.value.status, caught.value.code) == (403, "price_unknown")

    run(tmp_path, [rule("budget", USD, "day")], test).close()


def test_a_call_that_cannot_be_written_down_is_not_sent_and_uses_nothing_up(tmp_path: Path) -> None:
    """D6: 503 storage_busy before upstream; with fail_open only calls without hard budgets pass."""

    async def test(meter: Meter, ledger: Ledger) -> None:
        ledger._journal.spool = 0  # type: ignore[misc]
        with pytest.raises(GatewayError) as caught:
            await admit(meter, facts())
        assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "storage_busy", 1.0)
        assert not meter.book.open_calls
        ledger._journal.spool = 1 << 30  # type: ignore[misc]
        await finish(meter, await admit(meter, facts()))  # the one call a minute is still there

    run(tmp_path, [rule("rpm", 1), rule("tpm", 10_000), rule("budget", USD, "day")], test).close()

    async def open_(meter: Meter, ledger: Ledger) -> None:
        ledger._journal.spool = 0  # type: ignore[misc]
        call = await admit(meter, facts())
        await finish(meter, call)  # the end has room kept for it

    store = run(tmp_path / "open", [rule("rpm", 5)], open_, fail_open=True)
    assert store.execute("select units from calls").fetchall() == [('{"late":1}',)]
    store.close()


def test_attempts_are_summed_and_each_has_a_row_when_there_were_several(tmp_path: Path) -> None:
    async def test(meter: Meter, ledger: Ledger) -> None:
        call = await admit(meter, facts())
        assert meter.raise_hold(call, 4_000_000)
        lost = PricedAttempt("groq", "lo-k", Cost(4_000_000, "estimated"), code="timeout", ms=100.0)
        won = PricedAttempt("openai", "gpt-a", meter.price_attempt(call, "openai", "gpt-a", USAGE), USAGE, status=200)
        receipt, _ = await settle(meter, call, CallEnd("done", 200, (lost, won), USAGE))
        assert (receipt.cost, receipt.kind) == (11_000_000, "estimated")

    store = run(tmp_path, [rule("budget", USD, "day")], test)
    rows = store.execute("select n, model, code, cost from attempts order by n").fetchall()
    assert rows == [(0, "groq:lo-k", "timeout", 4_000_000), (1, "openai:gpt-a", None, 7_000_000)]
    assert store.execute("select attempts, cost, model from calls").fetchone() == (2, 11_000_000, "openai:gpt-a")
    store.close()


def test_a_caller_that_left_is_settled_without_waiting(tmp_path: Path) -> None:
    async def test(meter: Meter, ledger: Ledger) -> None:
        call = await admit(meter, facts())
        estimate = Usage(prompt=1000, completion=3, estimated=True)
        cost = meter.price_attempt(call, "openai", "gpt-a", estimate)
        end = CallEnd("left", 200, (PricedAttempt("openai", "gpt-a", cost, estimate),), estimate)
        assert await settle(meter, call, end, wait=False) == (Receipt(call.id, cost.nano, "estimated", TABLE.id), False)

    store = run(tmp_path, [], test)
    assert store.execute("select state, cost_kind from calls").fetchone() == ("left", "estimated")
    store.close()


def test_hour_and_day_windows_are_counted_again_after_a_restart(tmp_path: Path) -> None:
    rules = [rule("rph", 3), rule("tpd", 100_000), rule("rpm", 3), rule("rpd", 2, models=("claude*",))]

    async def test(meter: Meter, ledger: Ledger) -> None:
        for _ in range(3):
            await finish(meter, await admit(meter, facts()))

    run(tmp_path, rules, test).close()
    book = Book(rules)
    ledger = Ledger(tmp_path, FakeClock())
    ledger.restore_book(book, {rule.id for rule in rules})
    limits = {
        state.rule.kind: state.used
        for state in book.list_limits(book.find_rules(KEY, "", ("gpt-a", "claude")), FakeClock().monotonic())
    }
    assert limits == {"rph": 3, "tpd": 4500, "rpm": 0, "rpd": 0}
    asyncio.run(ledger.close())


def test_the_likely_cost_follows_the_answers_of_a_model(tmp_path: Path) -> None:
    async def test(meter: Meter, ledger: Ledger) -> None:
        assert meter.means.expect("gpt-a") == 256
        await finish(meter, await admit(meter, facts()))
        assert meter.means.expect("gpt-a") == 500
        assert meter.means.expect("gpt-a", 100) == 100
        call = await admit(meter, facts())
        assert meter._likely(call) == b"%d" % (1000 * 2000 + 500 * 10_000)

    run(tmp_path, [], test).close()
