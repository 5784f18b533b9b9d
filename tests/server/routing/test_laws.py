"""The laws of planning (RT7 to RT15), over generated tables, states, clocks and seeds."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from fwd_server.routing.needs import Ask
from fwd_server.routing.plan import Plan
from fwd_server.routing.planner import Routes
from fwd_server.routing.sticky import sticky_seed
from fwd_server.routing.table import Instance, Lane, ModelFacts, ProviderKey, PublicModel, Seat
from fwd_server.routing.walk import PlanWalk
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import ErrorKind

NOW = 1000.0
LAWS = settings(max_examples=500, deadline=None)
BALANCES = ("order", "weighted", "least-busy", "latency", "cheapest")


@define
class Memory:
    """A state that is written out: cooldowns and waits by seat, figures by deployment."""

    resting: Mapping[Seat, float] = field(factory=dict)
    waits: Mapping[Seat, float] = field(factory=dict)
    running: Mapping[str, int] = field(factory=dict)
    latencies: Mapping[str, float] = field(factory=dict)

    @property
    def quiet(self) -> bool:
        return not self.resting and not self.waits

    def resting_until(self, seat: Seat, now: float) -> float | None:
        return self.resting.get(seat)

    def limit_wait_s(self, seat: Seat, call: object, now: float) -> float:
        return self.waits.get(seat, 0.0)

    def inflight(self, lane: Lane) -> int:
        return self.running.get(lane.name, 0)

    def latency_s(self, lane: Lane, now: float, *, stream: bool) -> float:
        return self.latencies.get(lane.name, 0.001)


def instance(name: str, keys: int = 1, *, spread: bool = False) -> Instance:
    made = []
    for number in range(keys):
        endpoint = Endpoint(name, f"https://{name}.example/v1", enabled=True)
        made.append(ProviderKey(f"{name}-{number}", endpoint, f"{name} {number}", weight=number + 1))
    return Instance(name, tuple(made), spread)


def lane(name: str, weight: float = 1.0, tier: int = 0, keys: int = 1, **more: object) -> Lane:
    return Lane(name, instance(f"p-{name}", keys, spread=bool(more.pop("spread", False))), "m", weight, tier, **more)  # type: ignore[arg-type]


def table(*models: PublicModel) -> Routes:
    return Routes({}, models={model.name: model for model in models})


def plan(model: PublicModel, *others: PublicModel, seed: int = 1, memory: Memory | None = None, **ask: object) -> Plan:
    return Plan(model, Ask(**ask), NOW, seed, table(model, *others), memory or Memory())  # type: ignore[arg-type]


def model(*lanes: Lane, name: str = "m", **more: object) -> PublicModel:
    return PublicModel(name, lanes, **more)  # type: ignore[arg-type]


@frozen
class Case:
    """A model with a fallback, and what is remembered of its seats."""

    model: PublicModel
    other: PublicModel
    memory: Memory
    ask: Ask
    seed: int

    def plan(self) -> Plan:
        routes = table(self.model, self.other)
        return Plan(self.model, self.ask, NOW, self.seed, routes, self.memory)

    def seats(self) -> list[Seat]:
        models = (self.model, self.other) if self.ask.fallback else (self.model,)
        return [seat for one in models for lane in one.lanes for seat in lane.seats]


@st.composite
def lanes(draw: st.DrawFn, prefix: str) -> tuple[Lane, ...]:
    count = draw(st.integers(1, 4))
    return tuple(
        lane(
            f"{prefix}{number}",
            draw(st.sampled_from([0.0, 0.5, 1.0, 3.0])),
            draw(st.integers(0, 2)),
            draw(st.integers(1, 3)),
            spread=draw(st.booleans()),
            facts=ModelFacts(
                draw(st.sampled_from([None, 1000, 8000])),
                draw(st.sampled_from([frozenset(), frozenset({"image"})])),
                draw(st.sampled_from([None, 1.0, 5.0])),
            ),
        )
        for number in range(count)
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    balance = draw(st.sampled_from(BALANCES))
    sticky = draw(st.sampled_from(["off", "session"]))
    first = PublicModel("m", draw(lanes("a")), balance=balance, sticky=sticky, fallback=("n",))
    other = PublicModel("n", draw(lanes("b")), balance=draw(st.sampled_from(BALANCES)))
    seats = [seat for one in (first, other) for lane in one.lanes for seat in lane.seats]
    state = draw(st.lists(st.sampled_from(["free", "free", "rest", "limit"]), min_size=len(seats), max_size=len(seats)))
    memory = Memory(
        {seat: NOW + draw(st.floats(0.1, 60)) for seat, what in zip(seats, state, strict=True) if what == "rest"},
        {seat: draw(st.floats(0.1, 60)) for seat, what in zip(seats, state, strict=True) if what == "limit"},
        {lane.name: draw(st.integers(0, 5)) for lane in (*first.lanes, *other.lanes)},
        {lane.name: draw(st.floats(0.001, 9)) for lane in (*first.lanes, *other.lanes)},
    )
    ask = Ask(
        estimate=draw(st.sampled_from([0, 900, 5000])),
        needs=draw(st.sampled_from([frozenset(), frozenset({"image"})])),
        conversation=draw(st.sampled_from(["", "conversation-1"])),
        fallback=draw(st.booleans()),
    )
    return Case(first, other, memory, ask, draw(st.integers(0, 2**64 - 1)))


@given(cases())
@LAWS
def test_every_plan_keeps_the_laws(case: Case) -> None:
    """RT7 to RT10, each below."""
    seats = list(case.plan())
    check_permutation(case, seats)
    check_same_again(case, seats)
    check_limits_and_cooldowns(case, seats)
    for one in (case.model, case.other):
        check_tiers(case, [s for s in seats if s.lane in one.lanes and s not in case.memory.resting])


def check_permutation(case: Case, seats: list[Seat]) -> None:
    """RT7: none twice, none invented; what is left out is at a limit, or certainly cannot serve the call."""
    assert len(set(seats)) == len(seats)
    assert set(seats) <= set(case.seats())
    for seat in set(case.seats()) - set(seats):
        facts = seat.lane.facts
        unfit = case.ask.needs & facts.lacks or case.ask.estimate > 2 * (facts.context or math.inf)
        assert seat in case.memory.waits or unfit


def check_same_again(case: Case, seats: list[Seat]) -> None:
    """RT8, within a process; asking for the seats one by one or all at once makes no difference."""
    again = case.plan()
    assert seats == [seat for index in range(30) if (seat := again.seat(index))] == list(again)
    assert case.plan().first() is (seats[0] if seats else None), "the short way finds what the long one does"


def check_limits_and_cooldowns(case: Case, seats: list[Seat]) -> None:
    """RT9: a seat at a limit of ours is in no plan; one that cools down is behind every free one, soonest first."""
    assert not case.memory.waits.keys() & set(seats)
    rests = [case.memory.resting.get(seat, 0.0) for seat in seats]
    assert rests == sorted(rests)


def check_tiers(case: Case, free: list[Seat]) -> None:
    """RT10: lower tiers first; in a tier what fits first, and weight 0 behind every other."""
    tiers = [seat.lane.tier for seat in free]
    assert tiers == sorted(tiers)
    for tier in set(tiers):
        ordered = list(dict.fromkeys(seat.lane for seat in free if seat.lane.tier == tier))
        doubtful = [case.ask.estimate > 0.8 * (one.facts.context or math.inf) for one in ordered]
        assert doubtful == sorted(doubtful)
        for group in (True, False):
            weights = [one.weight > 0 for one, is_in in zip(ordered, doubtful, strict=True) if is_in is group]
            assert weights == sorted(weights, reverse=True)


def within_5_sigma(counts: Mapping[str, int], shares: Mapping[str, float]) -> bool:
    """Whether every count is what its share makes likely."""
    total = sum(counts.values())
    return all(
        abs(counts.get(name, 0) - total * share) <= 5 * math.sqrt(total * share * (1 - share))
        for name, share in shares.items()
    )


def test_weights_are_shares() -> None:
    """RT11: of the first choice over 20,000 seeds, and of the second one given the first."""
    weights = {"a": 3.0, "b": 1.0, "c": 0.5}
    weighted = model(*(lane(name, weight) for name, weight in weights.items()))
    orders = [
        [seat.lane.name for seat in plan(weighted, seed=seed * 0x9E3779B97F4A7C15 % 2**64)] for seed in range(20_000)
    ]
    total = sum(weights.values())
    assert within_5_sigma(Counter(order[0] for order in orders), {name: w / total for name, w in weights.items()})
    for first in weights:
        second = Counter(order[1] for order in orders if order[0] == first)
        rest = total - weights[first]
        assert within_5_sigma(second, {name: w / rest for name, w in weights.items() if name != first})


def test_keys_that_are_spread_follow_their_weights() -> None:
    """RT11 for keys: the weights of this instance are 1, 2 and 3."""
    spread = model(lane("a", keys=3, spread=True))
    first = Counter(plan(spread, seed=seed * 0x9E3779B97F4A7C15 % 2**64).seat(0).key.name for seed in range(20_000))  # type: ignore[union-attr]
    assert within_5_sigma(first, {"p-a-0": 1 / 6, "p-a-1": 2 / 6, "p-a-2": 3 / 6})


def chosen(one: PublicModel, sticky_id: str, memory: Memory | None = None) -> Seat:
    seat = plan(one, conversation=sticky_id, memory=memory).seat(0)
    assert seat is not None
    return seat


def test_sticky_shares_follow_weights_and_only_what_must_moves() -> None:
    """RT12 over 20,000 ids."""
    weights = {"a": 3.0, "b": 2.0, "c": 1.0}
    sticky = model(*(lane(name, weight) for name, weight in weights.items()), sticky="session")
    ids = [f"conversation-{number}" for number in range(20_000)]
    homes = {one: chosen(sticky, one) for one in ids}
    assert within_5_sigma(Counter(seat.lane.name for seat in homes.values()), {n: w / 6 for n, w in weights.items()})
    out = sticky.lanes[0].seats[0]
    memory = Memory(resting={out: NOW + 5})
    for one, home in list(homes.items())[:1000]:
        moved = chosen(sticky, one, memory)
        assert (moved is home) == (home is not out)


def test_a_conversation_stays_whatever_the_call_draws() -> None:
    """RT12: one id, one seat while it is free."""
    sticky = model(lane("a"), lane("b"), lane("c", keys=3, spread=True), sticky="session")
    for one in ("x", "y", "z"):
        assert len({plan(sticky, seed=seed, conversation=one).seat(0) for seed in range(200)}) == 1


def test_two_processes_agree() -> None:
    """RT8, RT12: nothing of a plan depends on the process (as Python's own hash would)."""
    code = (
        "from tests.server.routing.test_laws import *\n"
        "m = model(*(lane(n) for n in 'abcdef'), sticky='session')\n"
        "print([[s.lane.name for s in plan(m, conversation=str(i))] for i in range(50)], sticky_seed('m', 'x'))\n"
        "print([[s.lane.name for s in plan(model(*(lane(n) for n in 'abcdef')), seed=i)] for i in range(50)])"
    )
    root = Path(__file__).parents[3]
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            check=True,
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root}:{root / 'tests'}"},
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != b""


@given(st.lists(st.floats(0.001, 9), min_size=2, max_size=5), st.integers(0, 2**64 - 1))
@LAWS
def test_latency_never_takes_the_slower_of_two(latencies: list[float], seed: int) -> None:
    """RT13: so the slowest of all is never first, and the others follow from the fastest on."""
    fast = model(*(lane(f"d{number}") for number in range(len(latencies))), balance="latency")
    memory = Memory(latencies={f"d{number}": value for number, value in enumerate(latencies)})
    order = [memory.latencies[seat.lane.name] for seat in plan(fast, seed=seed, memory=memory)]
    assert order[0] < max(latencies) or len(set(latencies)) < len(latencies)
    assert order[1:] == sorted(order[1:])


def test_a_model_without_room_is_a_429_with_the_soonest_time() -> None:
    """Section 5: at an own limit nothing is sent; a limit that never has room is not worth a retry."""
    full = model(lane("a"), lane("b"))
    seats = [one.seats[0] for one in full.lanes]
    limited = plan(full, memory=Memory(waits={seats[0]: 30.2, seats[1]: 4.1}))
    assert limited.seat(0) is None
    refusal = limited.refusal()
    assert (refusal.status, refusal.code, refusal.retry_after_s) == (429, "rate_limit_exceeded", 5.0)
    never = plan(full, memory=Memory(waits=dict.fromkeys(seats, math.inf)))
    assert never.seat(0) is None
    assert (never.refusal().retry_after_s, never.refusal().should_retry) == (None, False)


def test_what_certainly_cannot_is_left_out_with_its_reason() -> None:
    """Unless that leaves nothing: then the provider says why."""
    small = lane("small", facts=ModelFacts(1000))
    blind = lane("blind", facts=ModelFacts(None, frozenset({"image"})))
    good = lane("good")
    made = plan(model(small, blind, good), estimate=2500, needs=frozenset({"image"}))
    assert [seat.lane.name for seat in made] == ["good"]
    assert [(one.name, one.reason) for one in made.omissions] == [
        ("small", "the prompt of about 2,500 tokens does not fit its 1,000"),
        ("blind", "it does not support image"),
    ]
    assert len(list(plan(model(small, blind), estimate=2500, needs=frozenset({"image"})))) == 2


def test_fallbacks_that_cost_too_much_are_left_out() -> None:
    """max_price_ratio: only where both prices are known."""
    dear = model(lane("dear", facts=ModelFacts(price=9.0)), lane("unknown"), name="n")
    cheap = model(lane("cheap", facts=ModelFacts(price=2.0)), fallback=("n",), max_price_ratio=2.0)
    made = plan(cheap, dear)
    assert {seat.lane.name for seat in made} == {"cheap", "unknown"}
    assert made.omissions[0].reason == "it costs more than max_price_ratio allows"


# -- walking


@given(cases(), st.lists(st.sampled_from(ErrorKind), max_size=30), st.integers(1, 8), st.booleans())
@LAWS
def test_a_walk_is_bounded_and_repeats_no_seat(
    case: Case, failures: list[ErrorKind], attempts: int, chosen_model: bool
) -> None:
    """RT15: attempts <= the bound, no seat twice, none that is not in a plan, whatever fails how."""
    made = case.plan()
    object.__setattr__(made.model, "chosen", chosen_model)
    walk, tried = PlanWalk(made, attempts), list[Seat]()
    for kind in failures:
        step = walk.next_step()
        if step is None:
            break
        tried.append(step.seat)
        walk.note_failure(kind)
        if kind is ErrorKind.INVALID_REQUEST or kind is ErrorKind.CONTENT_POLICY:
            assert walk.next_step() is None
    assert len(tried) <= attempts
    assert len(set(tried)) == len(tried)
    assert set(tried) <= set(case.seats())
    for kind, seat, after in zip(failures, tried, tried[1:], strict=False):
        free = [s for s in seat.lane.seats if s not in case.memory.resting and s not in case.memory.waits]
        others = [s for s in free if s not in tried[: tried.index(after)]]
        if kind in (ErrorKind.RATE_LIMITED, ErrorKind.QUOTA, ErrorKind.AUTH) and others:
            assert after in others, "the next key of the same deployment comes first"


def walk_names(made: Plan, *kinds: ErrorKind, attempts: int = 9) -> list[str]:
    """The seats that are tried while the attempts fail like this, each with why."""
    walk, names = PlanWalk(made, attempts), list[str]()
    for kind in (*kinds, None):
        step = walk.next_step()
        if step is None:
            break
        names.append(f"{step.why} {step.seat.key.name}")
        if kind is not None:
            walk.note_failure(kind)
    return names


GIVEN_UP = [ErrorKind.INVALID_REQUEST, ErrorKind.CONTENT_POLICY, ErrorKind.NOT_FOUND, ErrorKind.CONTEXT_LENGTH]


@pytest.mark.parametrize("kind", ErrorKind)
@pytest.mark.parametrize("chosen_model", [True, False])
@pytest.mark.parametrize("on", [(), ("special",)])
def test_where_each_kind_leads(kind: ErrorKind, chosen_model: bool, on: tuple[str, ...]) -> None:
    """RT15: no kind leads where the table of 5d does not say (F17)."""
    first = model(lane("a"), lane("b"), chosen=chosen_model, on={kind.value: on} if on else {})
    special = model(lane("s"), name="special")
    names = walk_names(plan(first, special), kind)[1:]
    ends = kind is ErrorKind.INVALID_REQUEST or (
        not on and (kind is ErrorKind.CONTENT_POLICY or (chosen_model and kind in GIVEN_UP))
    )
    if ends:
        assert names == []
    elif on:
        assert names == [f"on.{kind.value} p-s-0"]
    else:
        assert names[0].startswith("fallback ")


def test_any_is_every_kind_but_a_refused_content() -> None:
    """on.any replaces the rest of the plan; a refusal for content needs its own line (decision 10)."""
    first = model(lane("a"), lane("b"), balance="order", on={"any": ("special",)})
    special = model(lane("s"), name="special")
    assert walk_names(plan(first, special), ErrorKind.TIMEOUT) == ["first p-a-0", "on.timeout p-s-0"]
    assert walk_names(plan(first, special), ErrorKind.CONTENT_POLICY) == ["first p-a-0"]
    assert walk_names(plan(first, special, fallback=False), ErrorKind.TIMEOUT) == ["first p-a-0", "fallback p-b-0"]


def test_the_next_key_comes_before_the_next_deployment() -> None:
    """5c: after 429, an empty account or a refused key; after other failures the deployment's other keys come last."""
    first = model(lane("a", keys=3), lane("b"), balance="order")
    limited = (ErrorKind.RATE_LIMITED, ErrorKind.AUTH, ErrorKind.QUOTA)
    assert walk_names(plan(first), *limited) == ["first p-a-0", "next_key p-a-1", "next_key p-a-2", "fallback p-b-0"]
    failed = (ErrorKind.PROVIDER, ErrorKind.PROVIDER, ErrorKind.PROVIDER)
    assert walk_names(plan(first), *failed) == ["first p-a-0", "fallback p-b-0", "again p-a-1", "again p-a-2"]
    resting = Memory(resting={first.lanes[0].seats[1]: NOW + 5})
    assert walk_names(plan(first, memory=resting), ErrorKind.RATE_LIMITED)[:2] == ["first p-a-0", "next_key p-a-2"]


def test_a_prompt_that_is_too_long_goes_only_where_more_fits() -> None:
    """5d, decision 11: what has no larger window is skipped before it fails."""
    sizes = {"a": 8000, "b": 4000, "c": 8000, "d": 32_000}
    lanes_ = [lane(name, facts=ModelFacts(size)) for name, size in sizes.items()]
    made = plan(model(*lanes_, lane("unknown"), balance="order"))
    names = walk_names(made, ErrorKind.CONTEXT_LENGTH, ErrorKind.CONTEXT_LENGTH)
    assert names == ["first p-a-0", "fallback p-d-0", "fallback p-unknown-0"]


def test_a_model_may_have_its_own_number_of_attempts() -> None:
    """In place of FWD_ATTEMPTS."""
    first = model(*(lane(name) for name in "abcd"), attempts=2)
    assert len(walk_names(plan(first), *[ErrorKind.PROVIDER] * 4)) == 2


def test_a_sticky_seed_is_of_the_model_too() -> None:
    """Otherwise all models would send the same conversations to their first deployments."""
    assert sticky_seed("a", "x") != sticky_seed("b", "x") != sticky_seed("b", "y")
