"""``GET /v1/models``: what a caller can reach, each id with its prefix, so that it routes back here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
import orjson
from attrs import frozen

from fwd_server.callers.error_language import speaks_anthropic
from fwd_server.callers.messages.models import PAGE_FIELDS, list_page, model_object
from fwd_server.providers import echo
from fwd_server.providers.model_catalog import CatalogModel, ModelCatalog
from fwd_server.routing.names import cut_prefix
from fwd_server.routing.planner import Routes, resolve_model
from fwd_server.routing.table import PublicModel
from fwd_server.upstream.discovery import ModelDiscovery
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import ModelNotFound
from fwd_server.values.provider_info import provider_info
from fwd_server.web.base import BaseHandler

ECHO_MODELS: Final = ("", "tools", "json", "slow")
# OpenAI's own clients want a number here; the table gives no dates of birth.
_CREATED: Final = 0
_ENDPOINTS: Final = frozenset({"chat", "embeddings"})  # those the gateway has; others are not listed


@frozen
class ModelIndex:
    """Everything a list of models is made of: where calls can go, what is known, what providers say they have."""

    routes: Routes
    catalog: ModelCatalog
    discovery: ModelDiscovery

    def usable_endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints whose models can be called."""
        return tuple(e for e in self.routes.endpoints.values() if e.enabled and e.available)

    def list_models(self) -> list[Json]:
        """The public models, then, unless only those may be used, every model of every endpoint that is on."""
        public = [_public_entry(model) for model in self.routes.public_models()]
        if self.routes.only_listed:
            return public
        found = (
            self._model_entry(endpoint, name)
            for endpoint in self.usable_endpoints()
            for name in self._model_names(endpoint)
        )
        # The same model may come from the settings, the provider and the table; ids are unique in the answer.
        return list({entry["id"]: entry for entry in (*public, *found)}.values())

    def find_model(self, name: str) -> Json:
        """One model, also one that is in no list. Raises ModelNotFound when no provider here serves it."""
        public = self.routes.find_public(name)
        if public is not None:
            return _public_entry(public)
        endpoint, model = resolve_model(self.routes, name)
        if not endpoint.enabled:
            raise ModelNotFound(f"The model {name!r} is not served: set {endpoint.enabled_by} on the gateway.")
        if provider_info(endpoint.provider).built_in and model.partition("?")[0] not in echo.OPTIONS:
            raise ModelNotFound(f"echo has no {model!r}; it has {', '.join('echo:' + one for one in echo.OPTIONS)}.")
        return self._model_entry(endpoint, model)

    def _model_names(self, endpoint: Endpoint) -> Iterator[str]:
        """The default model first, then the provider's own list, then what else is known of it."""
        default = _default_model(endpoint)
        callable_ = {model.id: model.endpoint in _ENDPOINTS for model in self.catalog.models_of(endpoint.provider)}
        # A live list is complete: the table would add models that are not installed there.
        more = () if self.discovery.knows_all(endpoint) else callable_
        names = (*([default] if default else []), *self._provider_names(endpoint), *more)
        return (name for name in names if callable_.get(name, True))

    def _provider_names(self, endpoint: Endpoint) -> tuple[str, ...]:
        return ECHO_MODELS if provider_info(endpoint.provider).built_in else self.discovery.listed_names(endpoint)

    def _model_entry(self, endpoint: Endpoint, name: str) -> Json:
        known = self.catalog.find_model(endpoint.provider, name)
        listed = {"listed": self._listed_by(endpoint, name, known)}
        return {
            "id": f"{endpoint.provider}:{name}",
            "object": "model",
            "created": _CREATED,
            "owned_by": endpoint.provider,
            "fwd": {"provider": endpoint.provider, **listed, **(_model_details(known) if known else {})},
        }

    def _listed_by(self, endpoint: Endpoint, name: str, known: CatalogModel | None) -> str | None:
        """The source of a model, the most reliable one first; None: no source knows it."""
        if name in self._provider_names(endpoint):
            return "provider"
        if known:
            return "table"
        return "configured" if name == _default_model(endpoint) else None


def _public_entry(model: PublicModel) -> Json:
    """A model of the file. What is behind it is in ``deployments``, unless it is not to be revealed."""
    deprecated = model.deprecated
    facts = {
        "description": model.description or None,
        "deployments": [f"{lane.instance.name}:{lane.model}" for lane in model.lanes] if model.reveal else None,
        "deprecated": attrs.asdict(deprecated) if deprecated else None,
    }
    return {
        "id": model.name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "fwd",
        "fwd": {"listed": "configured", **{name: value for name, value in facts.items() if value is not None}},
    }


def _default_model(endpoint: Endpoint) -> str:
    return cut_prefix(endpoint.default_model or "", endpoint.provider)


def _model_details(model: CatalogModel) -> Json:
    return {
        "kind": model.kind,
        "context": model.context_window,
        "output": model.max_output,
        "abilities": sorted(name for name, has in model.supports.items() if has),
        "prices": dict(model.price_usd_per_mtok),
        "source": model.source,
    }


class ModelsHandler(BaseHandler):
    """The list, or with an id one of it."""

    def initialize(self, model_index: ModelIndex) -> None:
        """What it reads."""
        self.model_index = model_index

    async def get(self, name: str | None = None) -> None:
        """Answer with the list, or the one model named in the path."""
        anthropic = speaks_anthropic(self.request.headers)
        if name is not None:
            found = self.model_index.find_model(name)
            self.write_json(orjson.dumps(model_object(found) if anthropic else found))
            return
        # A second at most: a provider that is slow must not hold up the list of all others.
        await self.model_index.discovery.refresh_lists(self.model_index.usable_endpoints())
        listed = self.model_index.list_models()
        if anthropic:
            query = {name: self.get_query_argument(name, "") for name in PAGE_FIELDS}
            self.write_json(orjson.dumps(list_page(listed, query)))
            return
        self.write_json(orjson.dumps({"object": "list", "data": listed}))
