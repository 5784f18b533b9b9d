"""From the model's name to a plan: which deployments to try, in which order.

First match wins: a provider's name in front (``openai:``), then a family that needs none. Nothing here sends
anything; a plan is a tuple, fixed before the first byte goes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from fwd_server.routing.names import check_name, cut_prefix, explain_unknown, find_family, split_provider
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
KEPT_PLANS: Final = 4096

Plans = dict[str | None, tuple[Deployment, ...]]


@frozen
class Routes:
    """Every endpoint by its name, and the priority list.

    ``known`` are public names of models, for suggestions only: a model that is not among them is not wrong. Plans are
    kept by the model's name, one set with the rest of the list and one without: a table never changes, so neither do
    they.
    """

    endpoints: Mapping[str, Endpoint]
    priority: tuple[str, ...] = ()
    known: tuple[str, ...] = field(default=(), repr=False)

    _known_names: frozenset[str] = field(init=False, repr=False, eq=False)
    _listed: tuple[Deployment, ...] = field(init=False, repr=False)
    _plans: tuple[Plans, Plans] = field(init=False, repr=False, eq=False, factory=lambda: ({}, {}))

    @_known_names.default
    def _index_known(self) -> frozenset[str]:
        return frozenset(self.known)

    @_listed.default
    def _list_priority(self) -> tuple[Deployment, ...]:
        listed = (self.endpoints[name] for name in self.priority)
        return tuple(Deployment(e, cut_prefix(e.default_model or "", e.provider)) for e in listed if _is_usable(e))

    def priority_plan(self) -> tuple[Deployment, ...]:
        """The priority list as deployments, each with its default model: made once, asked for by every call."""
        return self._listed

    def split_provider(self, model: str) -> tuple[str, str] | None:
        """The provider that a name begins with, and the model there; None if it begins with none."""
        return split_provider(model, self.endpoints, self._known_names)

    def kept_plans(self, *, fallback: bool) -> Plans:
        """The plans made so far."""
        return self._plans[fallback]


def plan_call(routes: Routes, model: str | None, *, fallback: bool = True) -> tuple[Deployment, ...]:
    """The deployments for a call, first choice first.

    No model: the priority list. A model: its own provider, then the rest of the list. With ``fallback`` off only
    the first of them.
    Raises BadRequest (``model_required``), ModelNotFound, ProviderNotConfigured or ProviderNotAvailable.
    """
    plans = routes.kept_plans(fallback=fallback)
    plan = plans.get(model)
    if plan is None:
        plan = _make_plan(routes, model, fallback=fallback)
        if len(plans) >= KEPT_PLANS:
            plans.clear()
        plans[model] = plan
    return plan


def _make_plan(routes: Routes, model: str | None, *, fallback: bool) -> tuple[Deployment, ...]:
    if model is None:
        listed = _listed_or_refuse(routes)
        return listed if fallback else listed[:1]
    endpoint, name = resolve_model(routes, model)
    rest = tuple(d for d in routes.priority_plan() if d.provider != endpoint.provider) if fallback else ()
    if _is_usable(endpoint):
        return (Deployment(endpoint, name), *rest)
    if rest:
        return rest
    raise unusable_endpoint(endpoint)


def resolve_model(routes: Routes, model: str) -> tuple[Endpoint, str]:
    """The endpoint that a model's name picks, and the name without prefix. Raises ModelNotFound."""
    check_name(model)
    provider, name = routes.split_provider(model) or (find_family(model, routes.endpoints), model)
    if provider is None:
        names = (*routes.known, *(d.name for d in routes.priority_plan()))
        raise ModelNotFound(explain_unknown(model, routes.endpoints, names, ()))
    endpoint = routes.endpoints.get(provider)
    # A provider that nothing sets up has no endpoint; but its prefix is not a typing error.
    return endpoint or Endpoint(provider, enabled_by=PROVIDER_TABLE[provider].enabled_by), name


def unusable_endpoint(endpoint: Endpoint) -> GatewayError:
    """Why an endpoint cannot be used, and what to do about it."""
    if not endpoint.available:
        return ProviderNotAvailable(f"This version of fwd does not speak to {endpoint.provider} yet.")
    return ProviderNotConfigured(
        f"The provider {endpoint.provider} is not configured: set {endpoint.enabled_by} on the gateway."
    )


def _is_usable(endpoint: Endpoint) -> bool:
    return (endpoint.enabled or endpoint.always_tried) and endpoint.available


def _listed_or_refuse(routes: Routes) -> tuple[Deployment, ...]:
    listed = routes.priority_plan()
    if listed:
        return listed
    raise BadRequest(
        "No model was given and the gateway has no list of its own. Send 'model', or set PROVIDERS_PRIORITY and "
        "the default model of each provider in it (for example OPENAI_MODEL) on the gateway.",
        code="model_required",
        param="model",
    )
