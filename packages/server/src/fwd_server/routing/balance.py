"""Which of several free deployments of one tier comes first, and in which order the others follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from fwd_server.routing.hashing import draw, mix64
from fwd_server.routing.table import Lane, Seat

_SECOND_DRAW: Final = 0xD1B54A32D192ED03  # for a second, independent number from one seed


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


def order_seats(seats: Sequence[Seat], seed: int, *, spread: bool) -> list[Seat]:
    """The usable keys of one deployment: as written, or by weight."""
    if not spread or len(seats) == 1:
        return list(seats)
    return sorted(seats, key=lambda seat: draw(seed, seat.key.salt, seat.key.weight or 1e-9))


def _as_written(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> list[Lane]:
    return list(lanes)


def _by_weight(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> list[Lane]:
    """Lane i first with probability w_i / sum w; a conversation's own order where the seed is made of its id."""
    return sorted(lanes, key=lambda lane: draw(seed, lane.salt, lane.weight or 1.0))


def _by_load(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> list[Lane]:
    """The fewest attempts in flight for its weight; ties at random."""
    return sorted(lanes, key=lambda lane: ((state.inflight(lane) + 1) / (lane.weight or 1.0), mix64(seed ^ lane.salt)))


def _by_latency(lanes: Sequence[Lane], seed: int, state: LoadState, now: float, stream: bool) -> list[Lane]:
    """Power of two choices: of two drawn at random the faster one, then all others from the fastest on.

    Always taking the fastest would send everything there at once, on figures that are old by then.
    """
    if len(lanes) < 2:
        return list(lanes)
    scores = {
        lane: state.latency_s(lane, now, stream=stream) * (1 + state.inflight(lane)) / (lane.weight or 1.0)
        for lane in lanes
    }
    first = mix64(seed) % len(lanes)
    other = mix64(seed ^ _SECOND_DRAW) % (len(lanes) - 1)
    # The second number skips the first, so two different deployments are compared.
    pair = (lanes[first], lanes[other + (other >= first)])
    chosen = min(pair, key=scores.__getitem__)
    return [chosen, *sorted((lane for lane in lanes if lane is not chosen), key=scores.__getitem__)]


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
    "least-busy": _by_load,
    "latency": _by_latency,
    "cheapest": _by_price,
}
