"""From the model's name to a plan: which deployments to try, in which order.

First match wins: an explicit prefix (``openai:``, only the first colon counts), then a family without prefix.
Nothing here sends anything; a plan is a tuple, fixed before the first byte goes out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.errors import (
    BadRequest,
    GatewayError,
    ModelNotFound,
    ProviderNotAvailable,
    ProviderNotConfigured,
)
from fwd_server.values.provider_info import PROVIDER_TABLE, provider_info

_NAME: Final = re.compile(r"[A-Za-z0-9._:/@-]{1,128}")  # contract T17
_OPTIONS: Final = re.compile(r"[!-~]{0,512}")  # what may follow a "?" in a model of echo


@frozen
class Routes:
    """Every endpoint by its name, and the priority list.

    ``known`` are public names of models, for suggestions only: a model that is not among them is not wrong.
    """

    endpoints: Mapping[str, Endpoint]
    priority: tuple[str, ...] = ()
    known: tuple[str, ...] = field(default=(), repr=False)

    _listed: tuple[Deployment, ...] = field(init=False, repr=False)

    @_listed.default
    def _list(self) -> tuple[Deployment, ...]:
        found = (self.endpoints[name] for name in self.priority)
        return tuple(Deployment(e, cut_prefix(e.default_model or "", e.provider)) for e in found if _is_usable(e))

    def priority_plan(self) -> tuple[Deployment, ...]:
        """The priority list as deployments, each with its default model: made once, asked for by every call."""
        return self._listed


def plan_call(routes: Routes, model: str | None, *, fallback: bool = True) -> tuple[Deployment, ...]:
    """The deployments for a call, first choice first.

    No model: the priority list. A model: its own provider, then the rest of the list. With ``fallback`` off only
    the first of them.
    Raises BadRequest (``model_required``), ModelNotFound, ProviderNotConfigured or ProviderNotAvailable.
    """
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
    bare, _, options = model.partition("?")
    if (bare and not _NAME.fullmatch(bare)) or not _OPTIONS.fullmatch(options):
        raise ModelNotFound("The model's name is not valid: 1 to 128 letters, digits and . _ : / @ - are allowed.")
    prefix, colon, rest = model.partition(":")
    if colon and prefix in routes.endpoints and (rest or provider_info(prefix).built_in):
        return routes.endpoints[prefix], rest
    for name, endpoint in routes.endpoints.items():
        if model.startswith(provider_info(name).families):
            return endpoint, model
    if colon and rest and prefix in PROVIDER_TABLE:
        # Nothing sets it up, so it has no endpoint; but its prefix is not a typing error.
        return Endpoint(prefix, enabled_by=PROVIDER_TABLE[prefix].enabled_by), rest
    raise _model_not_found(routes, model)


def cut_prefix(model: str, provider: str) -> str:
    """``model`` without its provider's prefix, if it has one."""
    return model.removeprefix(f"{provider}:")


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


def _model_not_found(routes: Routes, model: str) -> ModelNotFound:
    prefixes = ", ".join(f"{name}:" for name in routes.endpoints)
    near = _nearest_names(routes, model)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return ModelNotFound(
        f"The model {model!r} does not exist or has no provider.{hint} "
        f"Name a provider with a prefix ({prefixes}) or use a family that needs none (gpt-*, claude-*, gemini-*)."
    )


def _nearest_names(routes: Routes, model: str) -> list[str]:
    """Up to two names that look like ``model``: a prefix mistyped, or a model known by a name close to it."""
    prefix, colon, rest = model.partition(":")
    near = difflib.get_close_matches(prefix, {**routes.endpoints, **PROVIDER_TABLE}, n=1, cutoff=0.6)
    if near and (colon or not rest):
        return [f"'{near[0]}:{rest or ('' if provider_info(near[0]).built_in else 'MODEL')}'"]
    known = {name.partition(":")[2]: name for name in (*routes.known, *(d.name for d in routes.priority_plan()))}
    return [f"'{known[name]}'" for name in difflib.get_close_matches(model, known, n=2, cutoff=0.6)]
