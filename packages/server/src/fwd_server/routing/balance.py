"""Which of several free deployments of one tier comes first, and in which order the others follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from fwd_server.routing.hashing import draw, mix64
from fwd_server.routing.table import Lane, Seat

_SEEDS: Final = 18446744073709551616.0  # a seed has 64 bits
STICKY: Final = "sticky"  # the balance of a model for calls whose conversation is known


class LoadState(Protocol):
    """What balancing asks of the gateway's memory."""

    def inflight(self, lane: Lane) -> int:
        """Attempts that run at a deployment now."""
        ...

    def latency_s(self, lane: Lane, now: float, *, stream: bool) -> float:
        """What an answer of it takes, by its last ones."""
        ...


def order_lanes(
    balance: str, lanes: Sequence[Lane], seed: int, state: LoadState, now: float, *, stream: bool
) -> list[Lane]:
    """The lanes of one tier, first choice first. Those of weight 0 come behind all others, whatever the balance."""
    order = _BALANCES[balance]
    weighted = [lane for lane in lanes if lane.weight > 0]
    if len(weighted) == len(lanes):
        return order(weighted, seed, state, now, stream)
    spare = [lane for lane in lanes if lane.weight <= 0]
    return [*order(weighted, seed, state, now, stream), *order(spare, seed, state, now, stream)]


def choose_first(balance: str, lanes: Sequence[Lane], seed: int, state: LoadState, now: float, *, stream: bool) -> Lane:
    """The one that ``order_lanes`` puts first, for lanes that all have a weight: mostly nobody needs the others."""
    choose = _FIRST_CHOICES.get(balance)
    if choose is not None:
        return choose(lanes, seed, state, now, stream)
    return order_lanes(balance, lanes, seed, state, now, stream=stream)[0]


def order_seats(seats: Sequence[Seat], seed: int, *, spread: bool) -> list[Seat]:
    """The usable keys of one deployment: as written, or by weight."""
    if not spread or len(seats) == 1:
        return list(seats)
    return sorted(seats, key=lambda seat: draw(seed, seat.key.salt, seat.key.weight or 1e-9))


def _as_written(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> list[Lane]:
    return list(lanes)


def _by_weight(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> list[Lane]:
    """Lane i first with probability w_i / sum w, and the others by the same rule without it."""
    if not lanes:
        return []
    first = _pick_by_weight(lanes, seed, state, now, stream)
    seed = mix64(seed)
    others = [lane for lane in lanes if lane is not first]
    return [first, *sorted(others, key=lambda lane: draw(seed, lane.salt, lane.weight or 1.0))]


def _pick_by_weight(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> Lane:
    total = 0.0
    for lane in lanes:
        total += lane.weight or 1.0
    left = total * seed / _SEEDS
    for lane in lanes:
        left -= lane.weight or 1.0
        if left < 0:
            return lane
    return lanes[-1]  # what rounding leaves


def _by_conversation(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> list[Lane]:
    """Weighted rendezvous: the seed is of the conversation, and taking a lane out moves only what it had."""
    return sorted(lanes, key=lambda lane: draw(seed, lane.salt, lane.weight or 1.0))


def _pick_by_conversation(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> Lane:
    return min(lanes, key=lambda lane: draw(seed, lane.salt, lane.weight or 1.0))


def _by_load(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> list[Lane]:
    """The fewest attempts in flight for its weight; ties at random."""
    return sorted(lanes, key=lambda lane: ((state.inflight(lane) + 1) / (lane.weight or 1.0), mix64(seed ^ lane.salt)))


def _pick_by_load(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> Lane:
    loads = [(state.inflight(lane) + 1) / (lane.weight or 1.0) for lane in lanes]
    least = min(loads)
    found = [lane for lane, load in zip(lanes, loads, strict=True) if load == least]
    return found[0] if len(found) == 1 else min(found, key=lambda lane: mix64(seed ^ lane.salt))


def _by_latency(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> list[Lane]:
    """Power of two choices: of two drawn at random the faster one, then all others from the fastest on.

    Always taking the fastest would send everything there at once, on figures that are old by then.
    """
    if len(lanes) < 2:
        return list(lanes)
    chosen = _pick_by_latency(lanes, seed, state, now, stream)
    others = [lane for lane in lanes if lane is not chosen]
    return [chosen, *sorted(others, key=lambda lane: _latency_score(lane, state, now, stream))]


def _pick_by_latency(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> Lane:
    first = seed % len(lanes)
    other = (seed >> 32) % (len(lanes) - 1)
    # The second number skips the first, so two different deployments are compared.
    one, two = lanes[first], lanes[other + (other >= first)]
    return one if _latency_score(one, state, now, stream) <= _latency_score(two, state, now, stream) else two


def _latency_score(lane: Lane, state: LoadState, now: float, stream: bool) -> float:
    return state.latency_s(lane, now, stream=stream) * (1 + state.inflight(lane)) / (lane.weight or 1.0)


def _by_price(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> list[Lane]:
    """The cheapest; an unknown price is the highest. Ties by weight."""
    return sorted(
        _by_weight(lanes, seed, state, now, stream),
        key=lambda lane: float("inf") if lane.facts.price is None else lane.facts.price,
    )


_Order = Callable[[Sequence[Lane], int, LoadState, float, bool], list[Lane]]
_BALANCES: Final[Mapping[str, _Order]] = {
    "order": _as_written,
    "weighted": _by_weight,
    STICKY: _by_conversation,
    "least-busy": _by_load,
    "latency": _by_latency,
    "cheapest": _by_price,
}
_First = Callable[[Sequence[Lane], int, LoadState, float, bool], Lane]
_FIRST_CHOICES: Final[Mapping[str, _First]] = {
    "order": lambda lanes, seed, state, now, stream: lanes[0],
    "weighted": _pick_by_weight,
    STICKY: _pick_by_conversation,
    "least-busy": _pick_by_load,
    "latency": _pick_by_latency,
}
