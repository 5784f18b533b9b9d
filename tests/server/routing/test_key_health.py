"""Keys that cool down: the table of 5c as a state machine, against a slow model of it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fwd_server.routing.key_health import KeyHealth
from fwd_server.routing.table import Instance, Lane, ProviderKey, Seat
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import UpstreamError, from_status, upstream_failure

from .test_laws import model, plan

KINDS = {
    "limited": (429, 7.0),
    "limited long": (429, 3600.0),
    "limited silent": (429, None),
    "empty": (402, None),
    "refused": (401, None),
    "forbidden": (403, None),
    "failed": (500, None),
    "bad request": (400, None),
}


def failure(kind: str) -> UpstreamError:
    status, retry_after_s = KINDS[kind]
    return from_status(status, "no", retry_after_s=retry_after_s)


def seats(keys: int = 2, models: tuple[str, ...] = ("m", "n")) -> list[Seat]:
    endpoint = Endpoint("p", "https://p.example", enabled=True)
    instance = Instance("p", tuple(ProviderKey(f"k{n}", endpoint, f"id-{n}") for n in range(keys)))
    return [seat for name in models for seat in Lane(f"p:{name}", instance, name).seats]


@define
class Rest:
    """What the table of 5c says of one scope."""

    until: float
    length_s: float
    probing: bool = False


class KeyMachine(RuleBasedStateMachine):
    """RT14: never asked while at rest unless all are; one probe; cooldowns only grow by the table."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = KeyHealth()
        self.seats = seats()
        self.now = 100.0
        self.rests: dict[tuple[str, str], Rest] = {}
        self.running: set[Seat] = set()

    def scopes(self, seat: Seat) -> list[tuple[str, str]]:
        return [(seat.key.identity, seat.target.model), (seat.key.identity, "")]

    def is_resting(self, seat: Seat) -> bool:
        rests = [self.rests[scope] for scope in self.scopes(seat) if scope in self.rests]
        return any(rest.probing or rest.until > self.now for rest in rests)

    @rule(seconds=st.sampled_from([0.5, 4.9, 5.0, 59.0, 61.0, 700.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(index=st.integers(0, 3))
    def begin(self, index: int) -> None:
        seat = self.seats[index]
        if seat in self.running:
            return
        self.running.add(seat)
        self.keys.note_attempt(seat, self.now)
        for scope in self.scopes(seat):
            if scope in self.rests and self.rests[scope].until <= self.now:
                self.rests[scope].probing = True

    @rule(data=st.data(), kind=st.sampled_from(sorted(KINDS)))
    def fail(self, data: st.DataObject, kind: str) -> None:
        if not self.running:
            return
        seat = data.draw(st.sampled_from(sorted(self.running, key=self.seats.index)))
        self.running.remove(seat)
        alarm = self.keys.note_failure(seat, failure(kind), self.now)
        model_scope, key_scope = self.scopes(seat)
        table = {
            "limited": (model_scope, 7.0, False),
            "limited long": (model_scope, 600.0, False),
            "limited silent": (model_scope, 5.0, False),
            "empty": (key_scope, 60.0, True),
            "refused": (key_scope, 60.0, True),
            "forbidden": (model_scope, 60.0, True),
        }
        expected = False
        if kind in table:
            expected = self.rest(*table[kind])
        else:
            for scope in (model_scope, key_scope):
                if scope in self.rests:
                    self.rests[scope].probing = False
        assert alarm == expected

    def rest(self, scope: tuple[str, str], seconds: float, doubles: bool) -> bool:
        old = self.rests.get(scope)
        if old is not None and old.until > self.now:
            old.probing = False
            if not doubles:
                old.until = max(old.until, self.now + seconds)
            return False
        if doubles and old is not None:
            seconds = min(max(2 * old.length_s, seconds), 3600.0)
        self.rests[scope] = Rest(self.now + seconds, seconds)
        return doubles

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        if not self.running:
            return
        seat = data.draw(st.sampled_from(sorted(self.running, key=self.seats.index)))
        self.running.remove(seat)
        self.keys.note_success(seat)
        for scope in self.scopes(seat):
            self.rests.pop(scope, None)

    @invariant()
    def agree(self) -> None:
        for seat in self.seats:
            assert (self.keys.resting_until(seat, self.now) is not None) == self.is_resting(seat)

    @invariant()
    def a_plan_asks_a_resting_key_only_behind_the_others(self) -> None:
        lane = self.seats[0].lane
        order = [self.is_resting(seat) for seat in plan(model(lane), memory=StateOf(self.keys, self.now))]  # type: ignore[arg-type]
        assert order == sorted(order)


@define
class StateOf:
    """A state in which nothing but keys cools down."""

    keys: KeyHealth
    now: float
    quiet: bool = False

    def resting_until(self, seat: Seat, now: float) -> float | None:
        return self.keys.resting_until(seat, self.now)

    def limit_wait_s(self, seat: Seat, tokens: int, now: float) -> float:
        return 0.0

    def inflight(self, lane: Lane) -> int:
        return 0

    def latency_s(self, lane: Lane, now: float, *, stream: bool) -> float:
        return 0.001


TestKeyMachine: Any = KeyMachine.TestCase
TestKeyMachine.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_only_one_call_probes() -> None:
    """When a cooldown is over, the first call tries; for the others the key cools down until that call knows more."""
    keys, (seat, *_) = KeyHealth(), seats()
    keys.note_failure(seat, failure("empty"), 0.0)
    assert keys.resting_until(seat, 59.0) == 60.0
    assert keys.resting_until(seat, 60.0) is None
    keys.note_attempt(seat, 61.0)
    assert keys.resting_until(seat, 61.0) is not None
    keys.note_failure(seat, upstream_failure("upstream_reset"), 62.0)
    assert keys.resting_until(seat, 62.0) is None, "a lost connection says nothing about the key"


@pytest.mark.parametrize(("kind", "other_model", "other_key"), [("limited", False, False), ("empty", True, False)])
def test_what_rests(kind: str, other_model: bool, other_key: bool) -> None:
    """A rate limit: the key for one model. An empty account: the key. Never another key."""
    keys = KeyHealth()
    first, second, first_n, second_n = seats()
    keys.note_failure(first, failure(kind), 0.0)
    assert keys.resting_until(first, 1.0) is not None
    assert (keys.resting_until(first_n, 1.0) is not None) == other_model
    assert (keys.resting_until(second, 1.0) is not None) == other_key
    assert (keys.resting_until(second_n, 1.0) is not None) == other_key


def test_a_headers_word_that_nothing_is_left_is_believed_for_a_minute() -> None:
    """x-ratelimit-remaining-requests: 0, with the time at which it starts again."""
    keys, (seat, *_) = KeyHealth(), seats()
    keys.note_exhausted(seat, 20.0, 0.0)
    assert keys.resting_until(seat, 19.0) == 20.0
    keys.note_exhausted(seat, 4000.0, 30.0)
    assert keys.resting_until(seat, 31.0) == 90.0


def test_keys_of_no_table_are_forgotten() -> None:
    """RT5: the others keep their cooldowns over a reload."""
    keys = KeyHealth()
    first, second, *_ = seats()
    for seat in (first, second):
        keys.note_failure(seat, failure("refused"), 0.0)
    keys.forget_others(frozenset({second.key.identity}))
    assert keys.resting_until(first, 1.0) is None
    assert keys.resting_until(second, 1.0) == 60.0
    assert keys.cooling_down(10.0) == [(("id-1", ""), 50.0)]
