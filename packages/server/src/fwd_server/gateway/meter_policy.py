"""The policy that counts money: limits and budgets before a call is sent, its cost before the caller's last byte.

What a key may not use, and what a hard budget has no price for, is barred for this call: a plan skips it (S22). Before
an attempt that follows a costly one the hold grows by what that one may be billed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Final

import msgspec
from attrs import define, field

from fwd_server.clock import Clock
from fwd_server.metering.bounds import InputSize, count_choices, find_output_limit
from fwd_server.metering.costs import FREE, Cost
from fwd_server.metering.periods import find_utc_day
from fwd_server.metering.prices import PriceTable
from fwd_server.metering.refusals import Refusal
from fwd_server.metering.rules import matches_model
from fwd_server.routing.planner import Routes
from fwd_server.routing.table import Lane, PublicModel
from fwd_server.store.ledger import to_micro
from fwd_server.store.meter import CallEnd, CallFacts, Meter, MeteredCall, Place, PricedAttempt, full_name
from fwd_server.values.call import Attempt, Call
from fwd_server.values.chat import ChatRequest
from fwd_server.values.errors import GatewayError
from fwd_server.values.receipt import Receipt
from fwd_server.values.record import CallRecord
from fwd_server.values.usage import Usage

# A model that is silent may be thinking, and its provider bills what nobody sees (money section 7).
SILENT_TOKENS_A_SECOND: Final = 50
MOST_SILENT_TOKENS: Final = 32_768
_LEFT_STATUS: Final = 499  # nginx's word for a caller that went away; no provider or client sees it
# Failures after which nothing can have been billed: the request did not get there.
_NEVER_SENT: Final = frozenset({"connect_failed", "connect_timeout", "dns_failed", "tls_failed", "shutdown"})
# Failures of an answer that had begun, or that was being made.
_COSTLY: Final = frozenset({"upstream_timeout", "deadline", "upstream_stalled", "upstream_truncated"})
_MOST_NAMES: Final = 4096  # callers choose names
_NOTHING_BARRED: Final[Mapping[tuple[str, str], GatewayError]] = {}

Places = tuple[Place, ...]


class UncountedCall(msgspec.Struct, frozen=True):
    """A call that no rule counts and no ledger keeps: the prices and the UTC day that it began with."""

    table: PriceTable
    day: str


@define(eq=False)
class MeterPolicy:
    """Admits calls by their key's rules and settles them with what they cost."""

    meter: Meter
    routes: Routes
    clock: Clock
    _places: dict[tuple[str | None, bool], Places] = field(factory=dict, init=False)
    _barred: dict[tuple[object, ...], tuple[Places, Mapping[tuple[str, str], GatewayError]]] = field(
        factory=dict, init=False
    )

    def admit(self, record: CallRecord) -> Awaitable[None] | None:
        """Reserve what the call may cost, and write it down. Raises GatewayError."""
        call = record.call
        caller = call.caller
        # Before anything is counted: a call without a user could not be put into anybody's account.
        if caller.needs_user and not call.user:
            raise Refusal("user_required").to_error()
        # No rule and no ledger: the receipt needs only the prices, so a plain call is spared the rest.
        if self.meter.counts_nothing and not caller.models:
            record.admitted = UncountedCall(self.meter.table, find_utc_day(self.clock.now()))
            return None
        places = self.find_places(call)
        barred = _NOTHING_BARRED
        if caller.models:
            places, barred = self._apply_rights(call, places)
        metered = self.meter.admit(_facts_of(call, places))
        record.admitted = metered
        # Barred and not refused: another deployment of the plan may have a price.
        if metered.unpriced:
            unknown = Refusal("price_unknown", model=call.request.model or "the model").to_error()
            barred = {**barred, **{(place.provider, place.model): unknown for place in metered.unpriced}}
        record.barred = barred
        # Without a counter nothing is held, so a further attempt needs no permission.
        if metered.open_call.counters:
            record.may_continue = SpendGuard(self, record, metered)
        return self.meter.record_open(metered) if self.meter.is_durable else None

    def settle(self, record: CallRecord) -> Awaitable[bool] | None:
        """Book what the call cost, and write it down. What it returns is awaited before the caller's last byte."""
        metered: MeteredCall | UncountedCall = record.admitted
        if isinstance(metered, UncountedCall):
            record.receipt = self._price_plain_end(record, metered)
            if record.receipt is not None:
                return None
            # Admitted late, which changes nothing: no rule counts it.
            metered = self.meter.admit(_facts_of(record.call, self.find_places(record.call)))
        now = self.clock.monotonic()
        end = self._describe_end(record, metered, now)
        # A caller who has left waits for no last byte, so nobody waits for the write.
        record.receipt, written = self.meter.settle(metered, end, wait=not record.was_disconnected)
        return written

    def find_places(self, call: Call) -> Places:
        """Everywhere that a call can lead, remembered by its model's name. Raises GatewayError for an unknown one."""
        key = (call.request.model, call.fallback and isinstance(call.request, ChatRequest))
        places = self._places.get(key)
        if places is None:
            if len(self._places) >= _MOST_NAMES:
                self._places.clear()
            places = self._places[key] = list_places(self.routes, *key)
        return places

    def _apply_rights(self, call: Call, places: Places) -> tuple[Places, Mapping[tuple[str, str], GatewayError]]:
        """The places that the key may use, and a refusal for each of the others. Raises GatewayError (403)."""
        caller, model = call.caller, call.request.model
        key = (caller.models, model, places)
        rights = self._barred.get(key)
        if rights is None:
            if model is not None and not matches_model(caller.models, model):
                raise Refusal("model_not_allowed", model=model).to_error()
            names = {place: full_name(place.provider, place.model) for place in places}
            allowed = tuple(place for place in places if matches_model(caller.models, names[place]))
            barred = {
                (place.provider, place.model): Refusal("model_not_allowed", model=names[place]).to_error()
                for place in places
                if place not in allowed
            }
            if not allowed:
                raise next(iter(barred.values()), Refusal("model_not_allowed", model=model or "this model").to_error())
            if len(self._barred) >= _MOST_NAMES:
                self._barred.clear()
            rights = self._barred[key] = allowed, barred
        return rights

    # -- the end of a call

    def _price_plain_end(self, record: CallRecord, call: UncountedCall) -> Receipt | None:
        """The receipt of an uncounted call that its first attempt answered; None for every other end."""
        deployment, usage = record.deployment, record.usage
        if not record.attempts:  # refused before anything was sent
            return Receipt("", 0, "exact", call.table.id)
        if deployment is None or usage is None or len(record.attempts) != 1 or record.was_disconnected:
            return None
        place = Place(deployment.provider, deployment.display_name, deployment.endpoint.type)
        total = self.meter.price_answer(call.table, place, usage, call.day)
        return Receipt("", total.nano, total.kind, call.table.id)

    def _describe_end(self, record: CallRecord, metered: MeteredCall, now: float) -> CallEnd:
        usage, error = record.settled_usage(), record.error
        ended_at = to_micro(self.clock.now())
        attempts = [
            self._price_attempt(record, metered, attempt, usage, ended_at, is_last=attempt is record.attempts[-1])
            for attempt in record.attempts
        ]
        if record.running is not None:  # the caller left, or the gateway stops, in the middle of an attempt
            deployment, began = record.running
            attempts.append(
                self._price_running(metered, deployment.provider, deployment.display_name, now - began, ended_at)
            )
        if record.was_disconnected:
            state, status = "left", _LEFT_STATUS
        elif error is None:
            state, status = "done", 200
        else:
            state, status = ("broken", 200) if record.broke_midstream else ("failed", error.status)
        first = record.first_content_at
        return CallEnd(
            state,
            status,
            tuple(attempts),
            usage,
            None if first is None else (first - record.started) * 1000,
            (now - record.started) * 1000,
            None if error is None else error.code or error.type,
            record.dropped,
        )

    def _price_attempt(
        self, record: CallRecord, metered: MeteredCall, attempt: Attempt, usage: Usage | None, at: int, *, is_last: bool
    ) -> PricedAttempt:
        provider, model = attempt.provider, attempt.model
        used: Usage | None = None
        # The usage is that of the answer; attempts that failed before it have none of their own.
        if is_last and record.deployment is not None:
            used = usage
        elif attempt.code in _COSTLY:
            used = estimate_silence(metered.facts, attempt.ms / 1000)
        # A failure is taken as free unless an answer was being made: then the provider may bill it.
        price = FREE if used is None and attempt.code is not None else self._cost_of(metered, provider, model, used)
        return PricedAttempt(provider, model, price, used, at, attempt.ms, attempt.status, attempt.code)

    def _price_running(self, metered: MeteredCall, provider: str, model: str, seconds: float, at: int) -> PricedAttempt:
        used = estimate_silence(metered.facts, seconds)
        price = self._cost_of(metered, provider, model, used)
        return PricedAttempt(provider, model, price, used, at, seconds * 1000, None, "left")

    def _cost_of(self, metered: MeteredCall, provider: str, model: str, used: Usage | None) -> Cost:
        """What an attempt cost; without any figures at least the prompt was read."""
        usage = used or Usage(prompt=metered.facts.size.likely_tokens(), estimated=True)
        return self.meter.price_attempt(metered, provider, model, usage)

    def price_failure(self, metered: MeteredCall, attempt: Attempt) -> int:
        """The amount a provider may bill for a failed attempt, in nano-dollars; 0 if nothing was generated."""
        if attempt.code not in _COSTLY or attempt.code in _NEVER_SENT:
            return 0
        used = estimate_silence(metered.facts, attempt.ms / 1000)
        return self.meter.price_attempt(metered, attempt.provider, attempt.model, used).nano or 0


class SpendGuard:
    """Whether a call may make another attempt: its budgets must have room for what the failed ones may be billed."""

    __slots__ = ("_call", "_policy", "_record", "_refused", "_seen")

    def __init__(self, policy: MeterPolicy, record: CallRecord, call: MeteredCall) -> None:
        self._policy, self._record, self._call = policy, record, call
        self._seen = 0
        self._refused = False

    def __call__(self) -> bool:
        """Asked after each failure, and may be asked twice about the same one."""
        attempts = self._record.attempts
        for attempt in attempts[self._seen :]:
            amount = self._policy.price_failure(self._call, attempt)
            if amount and not self._policy.meter.raise_hold(self._call, amount):
                self._refused = True
        self._seen = len(attempts)
        return not self._refused


def _facts_of(call: Call, places: Places) -> CallFacts:
    request, caller = call.request, call.caller
    limit: int | None = 0  # vectors are no tokens
    choices, tier, surface = 1, "", "embeddings"
    if isinstance(request, ChatRequest):
        surface = "chat"
        plain = request.plain
        if plain is not None:
            limit = plain.max_completion_tokens or plain.max_tokens
        else:
            limit, choices, tier = (
                find_output_limit(request.body),
                count_choices(request.body),
                request.view.service_tier or "",
            )
            if request.extra_body:  # it is merged last, under names that only its provider knows
                limit, choices = None, max(choices, count_choices(request.extra_body))
    return CallFacts(
        caller.ledger_id, request.model or "", places, InputSize(call.text_bytes, call.media_tokens), caller.name,
        caller.project, call.user, call.tags, call.id, surface, limit, choices, tier, request.stream, call.writes_1h,
    )  # fmt: skip


def estimate_silence(facts: CallFacts, seconds: float) -> Usage:
    """The amount a provider may bill for an answer that nobody received: the prompt, and 50 tokens per second."""
    most = facts.output_limit if facts.output_limit is not None else MOST_SILENT_TOKENS
    completion = min(int(seconds * SILENT_TOKENS_A_SECOND), most * facts.choices)
    return Usage(facts.size.likely_tokens(), completion, estimated=True)


def list_places(routes: Routes, name: str | None, fallback: bool) -> Places:
    """Every provider and model that a name can lead to, its own first, each once. Raises GatewayError."""
    model = routes.find_model(name)
    lanes = [*model.lanes]
    if fallback:
        for other in _fallbacks_of(model):
            lanes += routes.fallback_lanes(other)[1]
    return tuple(dict.fromkeys(map(_place_of, lanes)))


def _fallbacks_of(model: PublicModel) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*model.fallback, *(name for names in model.on.values() for name in names))))


def _place_of(lane: Lane) -> Place:
    endpoint = lane.instance.endpoint
    return Place(lane.instance.name, lane.model or f"{lane.instance.name}:", endpoint.type)
