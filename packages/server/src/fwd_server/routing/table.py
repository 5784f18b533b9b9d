"""What the routing table is made of: providers with their keys, deployments, public models. All of it immutable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from attrs import field, frozen

from fwd_server.routing.hashing import hash64
from fwd_server.values.deployment import Deployment, Endpoint

MAY_BE_TOO_LONG: Final = 0.8  # of a window; an estimate is rough
PRIORITY: Final = "@priority"  # in a list of fallbacks: PROVIDERS_PRIORITY


@frozen
class Limits:
    """The limits of an account: requests and tokens a minute, calls at once. None: no limit."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is limited."""
        return self.rpm is None and self.tpm is None and self.concurrency is None


NO_LIMITS: Final = Limits()


@frozen
class Change:
    """What becomes of one parameter: ``default``, ``force``, ``deny`` or ``drop``; the first two have a value."""

    action: str
    value: Any = None


Changes = Mapping[str, Change]


@frozen(eq=False)
class ProviderKey:
    """A key of a provider, as the endpoint that is asked with it.

    ``identity`` is the same as long as the secret is, and gives nothing of it away; what is remembered of a key is
    remembered under it. ``models`` are patterns of the models it may be used for; empty: all.
    """

    name: str
    endpoint: Endpoint = field(repr=False)
    identity: str
    weight: float = 1.0
    limits: Limits = NO_LIMITS
    models: tuple[str, ...] = ()
    salt: int = field(init=False, repr=False)

    @salt.default
    def _make_salt(self) -> int:
        return hash64("key", self.identity)

    def serves(self, model: str) -> bool:
        """Whether it may be used for a model of its provider."""
        return not self.models or any(matches(pattern, model) for pattern in self.models)


@frozen(eq=False)
class Instance:
    """A provider as configured, with all of its keys. ``spread`` uses them by weight, else the first usable one."""

    name: str
    keys: tuple[ProviderKey, ...]
    spread: bool = False
    labels: frozenset[str] = frozenset()
    changes: Changes = field(factory=dict)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint with the first key."""
        return self.keys[0].endpoint


@frozen
class ModelFacts:
    """What is known of a provider's model; None and an absent ability mean that nobody says.

    ``context`` is its window in tokens, ``lacks`` are abilities it is known not to have (image, audio, file, tools,
    json_schema), ``price`` is (3 x input + output) / 4 in USD for a million tokens.
    """

    context: int | None = None
    lacks: frozenset[str] = frozenset()
    price: float | None = None


NO_FACTS: Final = ModelFacts()


@frozen(eq=False)
class Seat:
    """A deployment with one of its keys: where an attempt can go. ``target`` is what is sent where.

    ``limited`` says that the key or the deployment has limits of ours; all others need no counting.
    """

    target: Deployment
    key: ProviderKey
    lane: Lane = field(repr=False)
    limited: bool = field(init=False, repr=False)

    @limited.default
    def _check_limits(self) -> bool:
        return not (self.key.limits.empty and self.lane.limits.empty)


@frozen(eq=False)
class Lane:
    """A deployment of a model, as the file has it. ``name`` is its name there, ``identity`` that of what it remembers.

    Its seats are in the order of the keys. ``weight`` 0 is used only when all others of its ``tier`` are out.
    ``timed`` says that its latencies are needed, by a model that is balanced by them.
    """

    name: str
    instance: Instance = field(repr=False)
    model: str
    weight: float = 1.0
    tier: int = 0
    labels: frozenset[str] = frozenset()
    limits: Limits = NO_LIMITS
    facts: ModelFacts = NO_FACTS
    changes: Changes = field(factory=dict)
    key_names: frozenset[str] = frozenset()
    endpoints: tuple[Endpoint, ...] | None = field(default=None, repr=False)  # those of the keys, where they differ
    timed: bool = False
    identity: tuple[str, str, str] = field(init=False)
    salt: int = field(init=False, repr=False)
    seats: tuple[Seat, ...] = field(init=False, repr=False)

    @identity.default
    def _make_identity(self) -> tuple[str, str, str]:
        # With the address: a provider that moves begins without the cooldowns of its old place.
        return (self.instance.name, self.instance.endpoint.base_url, self.model)

    @salt.default
    def _make_salt(self) -> int:
        return hash64("deployment", *self.identity)

    @seats.default
    def _make_seats(self) -> tuple[Seat, ...]:
        keys = self.instance.keys
        endpoints = self.endpoints or tuple(key.endpoint for key in keys)
        return tuple(
            Seat(Deployment(endpoint, self.model), key, self)
            for key, endpoint in zip(keys, endpoints, strict=True)
            if key.serves(self.model) and (not self.key_names or key.name in self.key_names)
        )


@frozen
class Deprecation:
    """A model that will go: what to use instead, and the day (ISO) it goes."""

    replacement: str = ""
    sunset: str = ""

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What answers say of it.

        RFC 9745 wants the day of the deprecation, which nobody wrote down; any day in the past says that it is in
        force. The day it goes is RFC 8594's.
        """
        sunset = date.fromisoformat(self.sunset) if self.sunset else None
        return (
            ("deprecation", "@0"),
            *((("sunset", f"{sunset:%a, %d %b %Y} 00:00:00 GMT"),) if sunset else ()),
            *((("x-fwd-replacement", self.replacement),) if self.replacement else ()),
        )


@frozen
class OffProvider:
    """A provider that a model would use and that cannot be used, by the code of the error that says why.

    ``before`` is the number of deployments that stand before it, where their order is the written one.
    """

    name: str
    reason: str
    before: int = 0


@frozen(eq=False)
class PublicModel:
    """A name that callers write, and everything that is behind it.

    ``chosen`` says that the caller named a provider's model itself: then a model that does not exist there, or whose
    context is too small, is the caller's to change (contract F17). ``fallback`` and ``on`` hold names: of models, of
    deployments, or ``@priority``. ``off`` are providers it would use if they were configured. ``reveal`` False: callers
    are told its name and nothing that is behind it.
    """

    name: str
    lanes: tuple[Lane, ...]
    description: str = ""
    hidden: bool = False
    reveal: bool = True
    balance: str = "weighted"
    sticky: str = "off"
    fallback: tuple[str, ...] = ()
    on: Mapping[str, tuple[str, ...]] = field(factory=dict)
    attempts: int | None = None
    max_price_ratio: float | None = None
    deprecated: Deprecation | None = None
    chosen: bool = False
    off: tuple[OffProvider, ...] = ()
    headers: tuple[tuple[str, str], ...] = field(init=False, repr=False)
    denied: frozenset[str] = field(init=False, repr=False)
    is_plain: bool = field(init=False, repr=False)
    lacks: frozenset[str] = field(init=False, repr=False)
    sure_context: float = field(init=False, repr=False)
    sure_seat: Seat | None = field(init=False, repr=False)

    @headers.default
    def _make_headers(self) -> tuple[tuple[str, str], ...]:
        return self.deprecated.headers() if self.deprecated else ()

    @denied.default
    def _find_denied(self) -> frozenset[str]:
        """The parameters that none of its deployments takes, because the file says so: its fallbacks do not either."""
        denied = [
            frozenset(name for name, change in lane.changes.items() if change.action == "deny") for lane in self.lanes
        ]
        return frozenset.intersection(*denied) if denied else frozenset()

    @lacks.default
    def _find_lacks(self) -> frozenset[str]:
        """Every ability that one of its deployments is known not to have."""
        return frozenset().union(*(lane.facts.lacks for lane in self.lanes))

    @is_plain.default
    def _check_plain(self) -> bool:
        """Whether its first seat depends on nothing but balance: one tier, real weights, no limits of ours."""
        limits = [limits for lane in self.lanes for limits in (lane.limits, *(seat.key.limits for seat in lane.seats))]
        return (
            bool(self.lanes)
            and all(lane.seats and lane.weight > 0 for lane in self.lanes)
            and len({lane.tier for lane in self.lanes}) == 1
            and all(limit.empty for limit in limits)
        )

    @sure_context.default
    def _find_sure_context(self) -> float:
        """The longest prompt, by our own estimate, that surely fits every deployment."""
        contexts = [lane.facts.context for lane in self.lanes if lane.facts.context is not None]
        return MAY_BE_TOO_LONG * min(contexts, default=math.inf)

    @sure_seat.default
    def _find_sure_seat(self) -> Seat | None:
        """The seat that comes first whatever the call is; None where that depends on it."""
        if not self.is_plain or len(self.lanes) > 1 or self.lacks or self.sure_context < math.inf:
            return None
        lane = self.lanes[0]
        return None if lane.instance.spread and len(lane.seats) > 1 else lane.seats[0]


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern, which may have one ``*`` at its end."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
