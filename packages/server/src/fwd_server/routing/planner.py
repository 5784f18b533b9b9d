"""The routing table: from the name a caller writes to a model and its deployments.

First match wins: a public name or an alias of ``fwd.toml``, its patterns (the longest first), a provider's name in
front (``openai:``), a family that needs none. Nothing here sends anything, and a table never changes: a reload makes a
new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from attrs import evolve, field, frozen

from fwd_server.routing.names import check_name, cut_prefix, explain_unknown, find_family, split_provider
from fwd_server.routing.needs import Ask, CallNeeds
from fwd_server.routing.plan import Plan, PlanState
from fwd_server.routing.table import (
    NO_FACTS,
    PRIORITY,
    Instance,
    Lane,
    ModelFacts,
    OffProvider,
    ProviderKey,
    PublicModel,
    matches,
)
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.errors import (
    BadRequest,
    GatewayError,
    ModelNotFound,
    ProviderNotAvailable,
    ProviderNotConfigured,
)
from fwd_server.values.provider_info import PROVIDER_TABLE

# Callers choose names, so there must be a bound. Real traffic uses a few dozen.
KEPT_NAMES: Final = 4096
DEFAULT_MODEL: Final = "default"  # a public model of that name serves calls that name none

K = TypeVar("K")
T = TypeVar("T")
FactsOf = Callable[[str, str], ModelFacts]


def know_nothing(provider_type: str, model: str) -> ModelFacts:
    """Nothing, of any model."""
    return NO_FACTS


@frozen
class Routes:
    """Everything that decides where calls can go.

    ``endpoints`` are the providers by their names, each with its first key; ``instances`` are the same with all keys
    (default: that one). ``models`` are the public models of ``fwd.toml`` by every name they have, patterns among them;
    with ``only_listed`` nothing else can be reached. ``known`` are names of models for suggestions only: a model that
    is not among them is not wrong. ``facts_of`` says what is known of a provider's model. ``version`` names the file.
    """

    endpoints: Mapping[str, Endpoint]
    priority: tuple[str, ...] = ()
    known: tuple[str, ...] = field(default=(), repr=False)
    instances: Mapping[str, Instance] = field(repr=False)
    models: Mapping[str, PublicModel] = field(factory=dict, repr=False)
    only_listed: bool = False
    facts_of: FactsOf = field(default=know_nothing, repr=False)
    version: str = ""

    _known_names: frozenset[str] = field(init=False, repr=False, eq=False)
    _patterns: tuple[str, ...] = field(init=False, repr=False, eq=False)
    _lanes: Mapping[str, tuple[PublicModel, Lane]] = field(init=False, repr=False, eq=False)
    _priority_model: PublicModel = field(init=False, repr=False, eq=False)
    _first_of_priority: PublicModel = field(init=False, repr=False, eq=False)
    _found: dict[str | None, PublicModel] = field(init=False, repr=False, eq=False, factory=dict)
    _reachable: dict[tuple[str, bool], tuple[Deployment, ...]] = field(init=False, repr=False, eq=False, factory=dict)

    @instances.default
    def _make_instances(self) -> Mapping[str, Instance]:
        return {name: Instance(name, (single_key(endpoint),)) for name, endpoint in self.endpoints.items()}

    @_known_names.default
    def _index_known(self) -> frozenset[str]:
        return frozenset(self.known)

    @_patterns.default
    def _sort_patterns(self) -> tuple[str, ...]:
        return tuple(sorted((name for name in self.models if name.endswith("*")), key=len, reverse=True))

    @_lanes.default
    def _index_lanes(self) -> Mapping[str, tuple[PublicModel, Lane]]:
        return {lane.name: (model, lane) for model in self.models.values() for lane in model.lanes}

    @_priority_model.default
    def _make_priority_model(self) -> PublicModel:
        lanes: list[Lane] = []
        off: list[OffProvider] = []
        for name in self.priority:
            endpoint = self.endpoints[name]
            if _is_usable(endpoint):
                lanes.append(self._lane(self.instances[name], cut_prefix(endpoint.default_model or "", name)))
            else:
                off.append(_off_provider(endpoint, len(lanes)))
        return PublicModel(PRIORITY, tuple(lanes), balance="order", off=tuple(off))

    @_first_of_priority.default
    def _make_first_of_priority(self) -> PublicModel:
        return evolve(self._priority_model, lanes=self._priority_model.lanes[:1])

    def public_models(self) -> tuple[PublicModel, ...]:
        """The models of ``fwd.toml`` that callers may be shown, each once, in the file's order."""
        shown = (model for name, model in self.models.items() if name == model.name and not model.hidden)
        return tuple(model for model in shown if not model.name.endswith("*"))

    def priority_plan(self) -> tuple[Deployment, ...]:
        """The priority list as deployments, each with its default model."""
        return tuple(lane.seats[0].target for lane in self._priority_model.lanes)

    def find_model(self, name: str | None, *, fallback: bool = True) -> PublicModel:
        """The model that a name stands for, with its deployments; without a name the default one.

        Of the priority list only the first may answer where ``fallback`` is off: the others are other models.
        Raises BadRequest (``model_required``), ModelNotFound, ProviderNotConfigured or ProviderNotAvailable.
        """
        model = self._found.get(name)
        if model is None:
            model = self._default_model() if name is None else self.find_public(name) or self._provider_model(name)
            _keep(self._found, name, model)
        return self._first_of_priority if not fallback and model is self._priority_model else model

    def reachable(self, model: PublicModel, *, fallback: bool) -> tuple[Deployment, ...]:
        """The deployments of a model as they are written, then those of its fallbacks: one for all keys of each."""
        key = (model.name, fallback)
        targets = self._reachable.get(key)
        if targets is None:
            # Without any memory nothing cools down and nothing is at a limit, so the plan holds everything there is.
            plan = Plan(model, Ask(fallback=fallback), 0.0, 0, self, _NOTHING_KNOWN)
            # Reversed, so that of several keys the first one stays in the dictionary.
            first_seats = {seat.lane: seat.target for seat in reversed(tuple(plan))}
            targets = tuple(first_seats[lane] for lane in dict.fromkeys(seat.lane for seat in plan))
            _keep(self._reachable, key, targets)
        return targets

    def fallback_lanes(self, name: str) -> tuple[PublicModel, tuple[Lane, ...]]:
        """What an entry of a list of fallbacks stands for: ``@priority``, a deployment's name, or a model's."""
        if name == PRIORITY:
            return self._priority_model, self._priority_model.lanes
        # A deployment may have the name of a model; the model then wins, as it does for callers.
        if name in self._lanes and name not in self.models:
            model, lane = self._lanes[name]
            return model, (lane,)
        model = self.find_public(name) or self._provider_model(name)
        return model, model.lanes

    def _default_model(self) -> PublicModel:
        model = self.models.get(DEFAULT_MODEL)
        if model is not None:
            return model
        if self._priority_model.lanes:
            return self._priority_model
        raise BadRequest(
            "No model was given, and the gateway has no default. Send 'model', or set PROVIDERS_PRIORITY and "
            "the default model of each provider in it (for example OPENAI_MODEL) on the gateway.",
            code="model_required",
            param="model",
        )

    def find_public(self, name: str) -> PublicModel | None:
        """The model of the file that has this name, or a pattern for it; None if there is none."""
        model = self.models.get(name)
        if model is not None:
            return model
        pattern = next((pattern for pattern in self._patterns if matches(pattern, name)), None)
        return _fill_pattern(self.models[pattern], name, name[len(pattern) - 1 :]) if pattern else None

    def _provider_model(self, name: str) -> PublicModel:
        """A provider's model that the caller named itself; then the list goes on, if there is one."""
        endpoint, model = resolve_model(self, name)
        fallback = (PRIORITY,) if self._priority_model.lanes else ()
        lanes = (self._lane(self.instances[endpoint.provider], model),) if _is_usable(endpoint) else ()
        # With a priority list somebody else can still answer, and the call says which provider was skipped.
        if not lanes and not fallback:
            raise unusable_endpoint(endpoint)
        off = () if lanes else (_off_provider(endpoint),)
        return PublicModel(name, lanes, fallback=fallback, chosen=True, off=off)

    def _lane(self, instance: Instance, model: str) -> Lane:
        facts = self.facts_of(instance.endpoint.info.name, model)
        return Lane(f"{instance.name}:{model}", instance, model, facts=facts, changes=instance.changes)


def make_plan(routes: Routes, name: str | None, call: CallNeeds, state: PlanState, now: float, seed: int) -> Plan:
    """The plan of a call: its seats, first choice first. ``now`` is in monotonic seconds, ``seed`` has 64 bits.

    Raises what ``find_model`` and ``plan_model`` raise.
    """
    return plan_model(routes, routes.find_model(name, fallback=call.fallback), call, state, now, seed)


def plan_model(routes: Routes, model: PublicModel, call: CallNeeds, state: PlanState, now: float, seed: int) -> Plan:
    """The plan of a call for a model of this table.

    Raises ProviderNotConfigured or ProviderNotAvailable where nothing of it can be used, and GatewayError 429 where
    every seat is at a limit of this gateway.
    """
    plan = Plan(model, call, now, seed, routes, state)
    if plan.first() is None:
        if model.chosen and not model.lanes:
            raise unusable_endpoint(resolve_model(routes, model.name)[0])
        if not model.lanes:
            raise ProviderNotConfigured(f"No deployment of the model {model.name} is enabled; fwd check shows why.")
        raise plan.refusal()
    return plan


class _NothingKnown:
    """The memory of a gateway that has just started."""

    quiet = True

    def resting_until(self, seat: object, now: float) -> float | None:
        return None

    def limit_wait_s(self, seat: object, call: object, now: float) -> float:
        return 0.0

    def inflight(self, lane: object) -> int:
        return 0

    def latency_s(self, lane: object, now: float, *, stream: bool) -> float:
        return 0.0


_NOTHING_KNOWN: Final = _NothingKnown()


def resolve_model(routes: Routes, model: str) -> tuple[Endpoint, str]:
    """The endpoint that a provider's model picks, and the model's name there. Raises ModelNotFound."""
    check_name(model)
    parts = None
    if not routes.only_listed:
        parts = split_provider(model, routes.endpoints, routes._known_names)
        family = None if parts else find_family(model, routes.endpoints)
        parts = parts or ((family, model) if family else None)
    if parts is None:
        listed = [name for name in routes.models if not routes.models[name].hidden]
        known = () if routes.only_listed else (*routes.known, *(d.name for d in routes.priority_plan()))
        raise ModelNotFound(explain_unknown(model, routes.endpoints, known, listed, only_listed=routes.only_listed))
    provider, name = parts
    endpoint = routes.endpoints.get(provider)
    # A provider that nothing sets up has no endpoint; but its prefix is not a typing error.
    return endpoint or Endpoint(provider, enabled_by=PROVIDER_TABLE[provider].enabled_by), name


def unusable_endpoint(endpoint: Endpoint) -> GatewayError:
    """Why an endpoint cannot be used, and what to do about it."""
    if not endpoint.available:
        return ProviderNotAvailable(f"This version of fwd does not support {endpoint.provider} yet.")
    return ProviderNotConfigured(
        f"The provider {endpoint.provider} is not configured: set {endpoint.enabled_by} on the gateway."
    )


def _off_provider(endpoint: Endpoint, before: int = 0) -> OffProvider:
    return OffProvider(endpoint.provider, str(unusable_endpoint(endpoint).code), before)


def single_key(endpoint: Endpoint) -> ProviderKey:
    """An endpoint's one key, or the place of it where none is needed."""
    return ProviderKey(endpoint.key_name, endpoint, f"{endpoint.provider} {endpoint.key_name}")


def _fill_pattern(model: PublicModel, name: str, rest: str) -> PublicModel:
    """The model of a pattern for one name: ``*`` of its deployments is what ``*`` of the pattern matched."""
    lanes = tuple(
        evolve(lane, name=lane.name.replace("*", rest), model=lane.model.replace("*", rest)) for lane in model.lanes
    )
    return evolve(model, name=name, lanes=lanes)


def _is_usable(endpoint: Endpoint) -> bool:
    return (endpoint.enabled or endpoint.always_tried) and endpoint.available


def _keep(kept: dict[K, T], name: K, value: T) -> None:
    if len(kept) >= KEPT_NAMES:
        # Full means that somebody makes names up; then forgetting all costs less than an order of use for every call.
        kept.clear()
    kept[name] = value
