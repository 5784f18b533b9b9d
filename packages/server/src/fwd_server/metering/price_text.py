"""Price tables as text: the format 2 form of models, written so that reading it again gives the same table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from fwd_server.metering.money import NANO, RATE_SCALE
from fwd_server.metering.price_file import SCHEMA, UNIT
from fwd_server.metering.prices import METERS, UNITS, ModelPrice, PriceLayer, Rate


def dump_prices(
    models: Iterable[ModelPrice], as_of: str, sources: Iterable[str] = (), like: Mapping[str, str] | None = None
) -> bytes:
    """A price file with one model a line, sorted, so that two versions of it compare well."""
    rows = sorted((dump_model(price) for price in models), key=lambda row: (row["provider"], row["id"]))
    head: dict[str, Any] = {"schema": SCHEMA, "as_of": as_of, "currency": "USD", "unit": UNIT}
    if listed := [*sources]:
        head["sources"] = listed
    if like:
        head["providers"] = {name: {"like": other} for name, other in sorted(like.items())}
    lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
    opening = json.dumps(head, ensure_ascii=False)[:-1]
    return f'{opening}, "models": [\n{lines}\n]}}\n'.encode()


def dump_layer(layer: PriceLayer) -> bytes:
    """A layer as a file again."""
    return dump_prices(layer.models.values(), layer.as_of, like=layer.like)


def dump_model(price: ModelPrice) -> dict[str, Any]:
    """One row of a price file; what is unknown is left out."""
    row: dict[str, Any] = {"provider": price.provider, "id": price.id}
    if price.aliases:
        row["aliases"] = [*price.aliases]
    row |= {name: value for name in ("max_output", "context") if (value := getattr(price, name)) is not None}
    if price.source:
        row["source"] = price.source
    rates = [rate for sets in price.tiers.values() for rates in sets for rate in rates.rates]
    if rates:
        row["rates"] = [dump_rate(rate) for rate in sorted(rates, key=_rate_order)]
    if price.units:
        row["units"] = {name: plain_number(price.units[name], NANO) for name in UNITS if name in price.units}
    return row


def dump_rate(rate: Rate) -> dict[str, Any]:
    """One rate with the meters it prices itself, not those that fall back."""
    row: dict[str, Any] = {}
    if rate.tier:
        row["tier"] = rate.tier
    if rate.since:
        row["since"] = rate.since
    if rate.threshold:
        row["above"] = rate.threshold - 1
    return row | {name: plain_number(getattr(rate, name), RATE_SCALE) for name in METERS if name in rate.own}


def _rate_order(rate: Rate) -> tuple[str, str, int]:
    return rate.tier, rate.since, rate.threshold


_MOST_EXACT: Final = 1 << 53


def plain_number(value: int, scale: int) -> int | float:
    """``value / scale`` as JSON shows it: whole where it is whole, else a float whose decimal text is exact."""
    if value % scale == 0:
        return value // scale
    number = float(Decimal(value) / scale)
    # Prices are at most 10**14 of the smallest unit, so 15 digits carry them; this catches a change of that limit.
    if value >= _MOST_EXACT or Decimal(repr(number)) * scale != value:
        raise ValueError(f"{value}/{scale} cannot be written exactly")
    return number
