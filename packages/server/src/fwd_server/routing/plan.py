"""From a model to a plan: which seats to try, in which order, and why the others are left out.

A plan is fixed when it is made: it holds the model, the time and one random number, and asking again gives the same
order. Its first seat costs little; the rest is worked out only after a failure.

    free seats of the model      by tier; inside a tier what surely fits before what may not, then by balance
    free seats of its fallbacks  each ordered in the same way; no deployment twice
    seats that cool down         soonest first: last, and never left out (contract G10)

Of a deployment with several keys the first usable one stands in this order; its other keys come after the deployments
of the same tier. A seat at a limit of ours is in no plan.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, Protocol

from attrs import frozen

from fwd_server.routing.balance import STICKY, LoadState, choose_first, order_lanes, order_seats
from fwd_server.routing.needs import CallNeeds
from fwd_server.routing.sticky import sticky_seed
from fwd_server.routing.table import MAY_BE_TOO_LONG, PRIORITY, Lane, PublicModel, Seat
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import GatewayError

SURELY_TOO_LONG: Final = 2.0  # times the window; the estimate is rough


class PlanState(LoadState, Protocol):
    """What planning asks of the gateway's memory."""

    @property
    def quiet(self) -> bool:
        """Whether nothing cools down, so that nobody has to be asked about it."""
        ...

    def resting_until(self, seat: Seat, now: float) -> float | None:
        """When the seat's cooldown ends; None if it has none."""
        ...

    def limit_wait_s(self, seat: Seat, call: CallNeeds, now: float) -> float:
        """Seconds until the seat has room under our own limits; 0: it has."""
        ...


class ModelLookup(Protocol):
    """Where names of fallbacks are looked up."""

    def fallback_lanes(self, name: str) -> tuple[PublicModel, tuple[Lane, ...]]:
        """The model and the deployments that an entry of a list of fallbacks stands for."""
        ...

    def reachable(self, model: PublicModel, *, fallback: bool) -> tuple[Deployment, ...]:
        """The deployments of a model as they are written, then those of its fallbacks."""
        ...


@frozen
class Omission:
    """A deployment that is not in the plan, and why: in a word for headers, and in words for people."""

    name: str
    provider: str
    code: str
    reason: str


class Plan:
    """The seats for one call, first choice first. Iterating works them out as far as they are asked for."""

    __slots__ = (
        *("ask", "model", "now", "omissions", "seed", "_first", "_limit_waits", "_lookup", "_rest"),
        *("_resting", "_seats", "_state"),
    )

    def __init__(
        self, model: PublicModel, ask: CallNeeds, now: float, seed: int, lookup: ModelLookup, state: PlanState
    ) -> None:
        self.model, self.ask, self.now, self.seed = model, ask, now, seed
        self._lookup, self._state = lookup, state
        self._rest: Iterator[Seat] | None = None
        self._first = self._obvious_first()

    def __iter__(self) -> Iterator[Seat]:
        index = 0
        while (seat := self.seat(index)) is not None:
            yield seat
            index += 1

    def first(self) -> Seat | None:
        """The seat to try first; None where there is none. Nearly always the only one that is asked for."""
        return self._first or self.seat(0)

    def seat(self, index: int) -> Seat | None:
        """The seat at this place; None behind the last one."""
        rest = self._rest
        if rest is None:
            rest = self._start()
        while len(self._seats) <= index:
            seat = next(rest, None)
            if seat is None:
                return None
            self._seats.append(seat)
        return self._seats[index]

    def refusal(self) -> GatewayError:
        """Why there is no seat at all: every one is at a limit of ours (or there is none)."""
        wait_s = min(self._limit_waits, default=math.inf)
        return GatewayError(
            f"This gateway's limits for {self.model.name} are reached.",
            429,
            "rate_limit_error",
            "rate_limit_exceeded",
            retry_after_s=None if wait_s == math.inf else float(math.ceil(wait_s)),
            should_retry=False if wait_s == math.inf else None,
        )

    def expand(self, names: Iterable[str]) -> Iterator[Seat]:
        """The free seats of these fallbacks, then those of them that cool down: a plan in place of this one."""
        resting: list[tuple[float, Seat]] = []
        planned: set[tuple[str, str, str]] = set()
        for name in names:
            yield from self._fallback_seats(name, planned, resting, None)
        yield from _soonest_first(resting)

    def deployments(self) -> tuple[Deployment, ...]:
        """Everything the call may reach, as it is written: the model's own deployments, then those of its fallbacks."""
        return self._lookup.reachable(self.model, fallback=self.ask.fallback)

    @property
    def meant(self) -> Seat:
        """The seat that the call was meant for, whatever stands in its way now."""
        own = self.model.lanes
        if own and own[0].seats and (len(own) == 1 or self.model.balance == "order"):
            return own[0].seats[0]
        first = self.first()
        if first is None:
            raise AssertionError("a plan without seats is refused before it is used")
        return first

    @property
    def is_clear(self) -> bool:
        """Whether the first seat was the obvious one, and no provider stood before it."""
        return self._rest is None and not self.model.off

    def skipped(self, answered: Lane | None, tried: Collection[str]) -> tuple[tuple[str, str], ...]:
        """The providers that were passed over on the way to the deployment that answered, each with the reason.

        None: nobody answered. ``tried`` are the providers that were asked.
        """
        if self.is_clear:
            return ()
        reasons = dict(self._off_before(answered))
        if self._rest is not None:
            for omission in self.omissions:
                reasons.setdefault(omission.provider, omission.code)
            for _, seat in self._resting:
                reasons.setdefault(seat.lane.instance.name, "cooling_down")
        own = {*tried, *({answered.instance.name} if answered else ())}
        return tuple((name, reason) for name, reason in reasons.items() if name not in own)

    def is_free(self, seat: Seat) -> bool:
        """Whether a seat was planned as one that does not cool down."""
        return all(seat is not other for _, other in self._resting)

    # -- working it out

    def _obvious_first(self) -> Seat | None:
        """The first seat where nothing can be in its way: one tier, no limit, nothing cools down, all of it fits.

        It is the one that the long way finds, for a fraction of the cost; a property test compares them.
        """
        model, ask = self.model, self.ask
        if not model.is_plain or not self._state.quiet:
            return None
        if model.sure_seat is not None:
            return model.sure_seat
        if ask.exceeds(model.sure_context):
            return None
        if model.lacks and ask.needs & model.lacks:
            return None
        lanes = model.lanes
        if len(lanes) == 1:
            lane = lanes[0]
        else:
            seed = self._seed_for(model)
            balance = model.balance if seed == self.seed else STICKY
            lane = choose_first(balance, lanes, seed, self._state, self.now, stream=ask.stream)
        seats = lane.seats
        if len(seats) > 1 and lane.instance.spread:
            return order_seats(seats, self._seed_for(model), spread=True)[0]
        return seats[0]

    def _off_before(self, answered: Lane | None) -> Iterator[tuple[str, str]]:
        """The providers that are off and would have been asked before this deployment."""
        models = [(self.model, self.model.lanes)]
        if answered not in self.model.lanes and self.ask.fallback:
            models += [self._lookup.fallback_lanes(name) for name in self.model.fallback]
        for model, lanes in models:
            place = lanes.index(answered) if answered in lanes else len(lanes)
            yield from ((off.name, off.reason) for off in model.off if off.before <= place)
            if answered in lanes:
                return

    def _start(self) -> Iterator[Seat]:
        self._seats: list[Seat] = []
        self.omissions: list[Omission] = []
        self._resting: list[tuple[float, Seat]] = []
        self._limit_waits: list[float] = []
        self._rest = self._make_seats()
        return self._rest

    def _make_seats(self) -> Iterator[Seat]:
        planned: set[tuple[str, str, str]] = set()
        yield from self._free_seats(self.model, self.model.lanes, planned, self._resting)
        if self.ask.fallback and self.model.fallback:
            ceiling = self._price_ceiling()
            for name in self.model.fallback:
                yield from self._fallback_seats(name, planned, self._resting, ceiling)
        yield from _soonest_first(self._resting)

    def _fallback_seats(
        self,
        name: str,
        planned: set[tuple[str, str, str]],
        resting: list[tuple[float, Seat]],
        ceiling: float | None,
    ) -> Iterator[Seat]:
        model, lanes = self._lookup.fallback_lanes(name)
        # Who named a provider's model and saw it fail is not sent back there with another model.
        own = {lane.instance.name for lane in self.model.lanes} if self.model.chosen else set()
        # An echo is no answer to who named a model; it is one where the file says so, or nobody named anything.
        echoes = name != PRIORITY or self.model.name == PRIORITY
        kept = []
        for lane in lanes:
            if lane.identity in planned or lane.instance.name in own:
                continue
            if not echoes and lane.instance.endpoint.info.built_in:
                continue
            if ceiling is not None and lane.facts.price is not None and lane.facts.price > ceiling:
                self._omit(lane, "price_ratio", "it costs more than max_price_ratio allows")
                continue
            kept.append(lane)
        yield from self._free_seats(model, tuple(kept), planned, resting)

    def _free_seats(
        self,
        model: PublicModel,
        lanes: tuple[Lane, ...],
        planned: set[tuple[str, str, str]],
        resting: list[tuple[float, Seat]],
    ) -> Iterator[Seat]:
        """The free seats of a model's deployments in order; what cools down is put aside."""
        for tier in _tiers(self._eligible(lanes)):
            free: dict[Lane, list[Seat]] = {}
            for lane in tier:
                planned.add(lane.identity)
                seats = self._usable_seats(lane, resting)
                if seats:
                    free[lane] = seats
            ordered = self._order_tier(model, list(free))
            queues = [order_seats(free[lane], self._seed_for(model), spread=lane.instance.spread) for lane in ordered]
            # First the chosen key of every deployment; a second key helps only where the first one is at fault.
            for turn in range(max(map(len, queues), default=0)):
                yield from (queue[turn] for queue in queues if turn < len(queue))

    def _omit(self, lane: Lane, code: str, reason: str) -> None:
        self.omissions.append(Omission(lane.name, lane.instance.name, code, reason))

    def _usable_seats(self, lane: Lane, resting: list[tuple[float, Seat]]) -> list[Seat]:
        usable = []
        for seat in lane.seats:
            wait_s = self._state.limit_wait_s(seat, self.ask, self.now)
            until = self._state.resting_until(seat, self.now)
            # A limit of ours is certain, so the seat is left out; a cooldown is a guess, so it is only tried last
            # (contract G10).
            if wait_s > 0:
                self._limit_waits.append(wait_s)
                name = f"{lane.name} ({seat.key.name})"
                self.omissions.append(
                    Omission(name, lane.instance.name, "own_limit", "it has reached a limit set in this gateway")
                )
            elif until is not None:
                resting.append((until, seat))
            else:
                usable.append(seat)
        return usable

    def _eligible(self, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
        """Without what certainly cannot serve the call; all of them where that leaves nothing.

        Then the provider says why: we do not invent a refusal.
        """
        unfit = {lane: why for lane in lanes if (why := self._unfit(lane))}
        if not unfit or len(unfit) == len(lanes):
            return lanes
        for lane, (code, words) in unfit.items():
            self._omit(lane, code, words)
        return tuple(lane for lane in lanes if lane not in unfit)

    def _unfit(self, lane: Lane) -> tuple[str, str] | None:
        lacking = sorted(self.ask.needs & lane.facts.lacks) if lane.facts.lacks else []
        if lacking:
            return f"lacks_{lacking[0]}", f"it does not support {', '.join(lacking)}"
        context = lane.facts.context
        if context is not None and self.ask.exceeds(SURELY_TOO_LONG * context):
            return "context_length", f"the prompt of about {self.ask.estimate:,} tokens does not fit its {context:,}"
        return None

    def _order_tier(self, model: PublicModel, lanes: list[Lane]) -> list[Lane]:
        fits, doubtful = list[Lane](), list[Lane]()
        for lane in lanes:
            context = lane.facts.context
            fits_surely = context is None or not self.ask.exceeds(MAY_BE_TOO_LONG * context)
            (fits if fits_surely else doubtful).append(lane)
        if not doubtful:
            return self._balance(model, fits)
        return [lane for group in (fits, doubtful) if group for lane in self._balance(model, group)]

    def _balance(self, model: PublicModel, lanes: Sequence[Lane]) -> list[Lane]:
        if len(lanes) < 2:
            return list(lanes)
        # A conversation's own number takes the place of the call's, and of every other balance.
        seed = self._seed_for(model)
        balance = model.balance if seed == self.seed else STICKY
        return order_lanes(balance, lanes, seed, self._state, self.now, stream=self.ask.stream)

    def _seed_for(self, model: PublicModel) -> int:
        """The number that decides: one of the conversation's own, or the call's."""
        if model.sticky != "off" and (sticky_id := self.ask.sticky_id(model.sticky)):
            return sticky_seed(model.name, sticky_id)
        return self.seed

    def _price_ceiling(self) -> float | None:
        """What a fallback may cost: ``max_price_ratio`` times the first deployment, where both are known."""
        ratio, first = self.model.max_price_ratio, self._seats[0] if self._seats else None
        price = first.lane.facts.price if first else next((lane.facts.price for lane in self.model.lanes), None)
        return None if ratio is None or price is None else ratio * price


def _tiers(lanes: tuple[Lane, ...]) -> list[list[Lane]]:
    """Deployments by tier, the lowest first."""
    if len(lanes) == 1:
        return [list(lanes)]
    tiers: dict[int, list[Lane]] = {}
    for lane in lanes:
        tiers.setdefault(lane.tier, []).append(lane)
    return [tiers[tier] for tier in sorted(tiers)]


def _soonest_first(resting: list[tuple[float, Seat]]) -> Iterator[Seat]:
    return (seat for _, seat in sorted(resting, key=lambda entry: entry[0]))
