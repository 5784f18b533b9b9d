"""Facts about models: ``models.json``, a dated table that is part of the package.

A model that is not in it is not wrong, only unknown: who asks gets None and lets the provider decide. Nothing is
read at import, and nothing ever comes from a network (contract S23).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, Final

import orjson
from attrs import field, frozen

# "gpt-5-2025-08-07", "claude-haiku-4-5-20251001": a snapshot has the abilities of the model it was taken of.
# Only dates: "gpt-5-mini" is another model than "gpt-5", not a snapshot of it.
_SNAPSHOT: Final = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8})$")


@frozen
class CatalogModel:
    """One model of one provider; None and an absent trait mean that the source does not say."""

    id: str
    provider: str
    kind: str = "chat"
    endpoint: str = "chat"
    context_window: int | None = None
    max_output: int | None = None
    price_usd_per_mtok: Mapping[str, float | None] = field(factory=dict, repr=False)
    supports: Mapping[str, bool] = field(factory=dict, repr=False)
    traits: Mapping[str, Any] = field(factory=dict, repr=False)
    source: str = ""

    @property
    def reasons(self) -> bool:
        """Whether it thinks before it answers."""
        return bool(self.supports.get("reasoning"))


class ModelCatalog:
    """Models by provider and id."""

    def __init__(self, models: Iterable[CatalogModel], generated: str = "") -> None:
        self._models: Final = {(model.provider, model.id): model for model in models}
        self.generated: Final = generated

    def find_model(self, provider: str, name: str) -> CatalogModel | None:
        """The model of that name, or the one that the name is a dated snapshot of."""
        found = self._models.get((provider, name))
        return found or self._models.get((provider, _SNAPSHOT.sub("", name)))

    def models_of(self, provider: str) -> tuple[CatalogModel, ...]:
        """All models of one provider, in the table's order."""
        return tuple(model for model in self._models.values() if model.provider == provider)


# Not at import: most commands of the CLI import this package and never need the table.
@functools.cache
def load_catalog() -> ModelCatalog:
    """The table of this version, read with its first use and then kept: half a millisecond, once."""
    table = orjson.loads(resources.files("fwd_server").joinpath("models.json").read_bytes())
    names = {attribute.name for attribute in CatalogModel.__attrs_attrs__}
    rows = ({key: value for key, value in row.items() if key in names} for row in table["models"])
    return ModelCatalog((CatalogModel(**row) for row in rows), table["generated"])
