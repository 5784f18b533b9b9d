"""``GET /v1/models``: what a caller can reach, each id with its prefix, so that it routes back here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from fwd_server.chat import Json
from fwd_server.errors import ModelNotFound
from fwd_server.models import Catalog, Model
from fwd_server.routing import Endpoint, Routes, cut_prefix, resolve
from fwd_server.web.base import BaseHandler

ECHO_MODELS: Final = ("", "tools", "json", "slow")
# OpenAI's own clients want a number here; the table gives no dates of birth.
_CREATED: Final = 0


def listing(routes: Routes, catalog: Catalog) -> list[Json]:
    """Every model of every endpoint that is on, as objects of the API."""
    found = (entry for endpoint in routes.endpoints.values() for entry in _of(endpoint, catalog))
    return list({entry["id"]: entry for entry in found}.values())


def entry(routes: Routes, catalog: Catalog, name: str) -> Json:
    """One model, also one that is not in the table. Raises ModelNotFound when no provider here serves it."""
    endpoint, model = resolve(routes, name)
    if not endpoint.on:
        raise ModelNotFound(f"The model {name!r} is not served: set {endpoint.turned_on_by} on the gateway.")
    return _entry(endpoint, model, catalog.find(endpoint.provider, model))


def _of(endpoint: Endpoint, catalog: Catalog) -> Iterator[Json]:
    if not (endpoint.on and endpoint.available):
        return
    names = ECHO_MODELS if endpoint.provider == "echo" else ()
    default = cut_prefix(endpoint.default_model or "", endpoint.provider)
    known = {model.id: model for model in catalog.of(endpoint.provider) if model.kind == "chat"}
    for name in (*([default] if default else []), *names, *known):
        yield _entry(endpoint, name, known.get(name))


def _entry(endpoint: Endpoint, name: str, known: Model | None) -> Json:
    return {
        "id": f"{endpoint.provider}:{name}",
        "object": "model",
        "created": _CREATED,
        "owned_by": endpoint.provider,
        "fwd": {"provider": endpoint.provider, **(_details(known) if known else {})},
    }


def _details(model: Model) -> Json:
    return {
        "context": model.context_window,
        "output": model.max_output,
        "abilities": sorted(name for name, has in model.supports.items() if has),
        "prices": dict(model.price_usd_per_mtok),
        "source": model.source,
    }


class ModelsHandler(BaseHandler):
    """The list, or with an id one of it."""

    def initialize(self, routes: Routes, catalog: Catalog) -> None:
        """What it reads."""
        self.routes = routes
        self.catalog = catalog

    def get(self, name: str | None = None) -> Any:
        """Answer with the list, or the one model named in the path."""
        if name is not None:
            self.write_json(orjson.dumps(entry(self.routes, self.catalog, name)))
        else:
            self.write_json(orjson.dumps({"object": "list", "data": listing(self.routes, self.catalog)}))
