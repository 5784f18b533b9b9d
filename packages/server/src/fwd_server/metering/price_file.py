"""Price files in format 2: read whole and checked whole, or refused whole (contract S23, money M10).

    {"schema": 2, "as_of": "2026-12-01", "currency": "USD", "unit": "USD per 1,000,000 tokens; units per piece",
     "models": [{"provider": "openai", "id": "gpt-6-sol", "aliases": ["gpt-6-sol-latest"],
                 "rates": [{"input": 2, "output": 10, "cached_input": 0.2},
                           {"above": 272000, "input": 4, "output": 15, "cached_input": 0.4},
                           {"since": "2027-01-01", "input": 3, "output": 12, "cached_input": 0.3},
                           {"tier": "flex", "input": 1, "output": 5}],
                 "units": {"web_search": 0.01}}],
     "providers": {"mycompany": {"like": "openai"}}}

``above: N`` prices the whole call when its prompt has more than N tokens, ``from: N`` when it has N or more (xAI).
``since`` is the first UTC day of a rate set; ``null`` and an absent meter both mean *no price of its own*; 0 is free.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from attrs import define, field

from fwd_server.metering.money import NANO, RATE_SCALE, scale_exactly
from fwd_server.metering.prices import (
    METERS,
    UNITS,
    ModelPrice,
    PriceLayer,
    PriceTable,
    Rate,
    group_rates,
)
from fwd_server.values.usage import ORDINARY_TIERS

SCHEMA: Final = 2
UNIT: Final = "USD per 1,000,000 tokens; units per piece"
MOST_USD: Final = 100_000  # for a million tokens, or a piece: beyond this it is a typing mistake
MOST_TOKENS: Final = 1 << 40
_MOST_PROBLEMS: Final = 20
_ID_DIGITS: Final = 12

_PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TIER: Final = re.compile(r"[a-z0-9_-]{1,32}")
_MODEL: Final = re.compile(r"[^\s*]{1,255}\*?|\*")
_TABLE_KEYS: Final = {"schema", "as_of", "currency", "unit", "sources", "models", "providers"}
_MODEL_KEYS: Final = {"provider", "id", "aliases", "max_output", "context", "source", "rates", "units"}
_RATE_KEYS: Final = {*METERS, "since", "tier", "above", "from"}


class PriceFileError(ValueError):
    """A price file that is refused whole. ``problems`` are sentences, each beginning with the path of a value."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: Final = tuple(problems)
        rest = len(self.problems) - _MOST_PROBLEMS
        shown = "; ".join(self.problems[:_MOST_PROBLEMS])
        super().__init__(shown + (f"; and {rest} more" if rest > 0 else ""))


def parse_prices(data: bytes, source: str = "") -> PriceLayer:
    """Read a price file. Raises PriceFileError naming the path of everything that is wrong with it."""
    table = load_exact_json(data)
    reader = _Reader()
    layer = reader.read_table(table, hashlib.sha256(data).hexdigest(), source)
    if reader.problems:
        raise PriceFileError(reader.problems)
    return layer


def join_layers(layers: Iterable[PriceLayer]) -> PriceTable:
    """A table of several files, the first of which wins; its id changes when any of them does."""
    kept = tuple(layers)
    joined = hashlib.sha256(" ".join(layer.digest for layer in kept).encode())
    return PriceTable(kept, joined.hexdigest()[:_ID_DIGITS])


def load_exact_json(data: bytes) -> Any:
    """JSON with exact decimals; a repeated name, NaN and Infinity are refused. Raises PriceFileError."""
    try:
        return json.loads(
            data.decode("utf-8"),
            # As a float, 0.1 would not be a whole number of pico-dollars.
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_repeats,
        )
    except RecursionError:
        raise PriceFileError(["the file is nested too deeply"]) from None
    except (UnicodeDecodeError, ValueError) as error:
        raise PriceFileError([f"the file is not valid JSON: {error}"]) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # JSON parsers keep the last of two equal names: a correction pasted above the old line would be lost silently.
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the name {next(name for name in names if names.count(name) > 1)!r} is repeated in one object"
        )
    return value


@define
class _Reader:
    """Collects problems instead of stopping at the first one: a hand-written file is fixed in one go."""

    problems: list[str] = field(factory=list)

    def refuse(self, path: str, why: str) -> None:
        self.problems.append(f"{path} {why}")

    def read_table(self, table: object, digest: str, source: str) -> PriceLayer:
        if not isinstance(table, dict):
            raise PriceFileError(["the file is not a JSON object"])
        if type(table.get("schema")) is not int or table["schema"] != SCHEMA:
            # Nothing else in a file of another schema can be judged.
            raise PriceFileError([f"schema is not {SCHEMA}"])
        self._check_keys(table, _TABLE_KEYS, "")
        as_of = self._read_day(table, "as_of", "")
        if table.get("currency") != "USD":
            self.refuse("currency", "is not USD")
        if table.get("unit", UNIT) != UNIT:
            self.refuse("unit", f"is not {UNIT!r}")
        models: dict[tuple[str, str], ModelPrice] = {}
        rows = table.get("models")
        if not isinstance(rows, list):
            self.refuse("models", "is not a list")
            rows = []
        for index, row in enumerate(rows):
            price = self._read_model(row, f"models[{index}]")
            if price is None:
                continue
            if models.setdefault((price.provider, price.id), price) is not price:
                self.refuse(f"models[{index}]", f"repeats {price.provider}:{price.id}")
        self._check_aliases(models)
        return PriceLayer(models, as_of, digest, source, self._read_providers(table.get("providers", {})))

    def _check_keys(self, value: Mapping[str, Any], known: set[str], path: str) -> None:
        for name in value:
            if name not in known:
                self.refuse(f"{path}{name}", "is unknown")

    def _check_aliases(self, models: Mapping[tuple[str, str], ModelPrice]) -> None:
        names = set(models)
        for price in models.values():
            for alias in price.aliases:
                if (price.provider, alias) in names:
                    self.refuse(f"the alias {alias!r} of {price.provider}:{price.id}", "names another model too")
                names.add((price.provider, alias))

    def _read_providers(self, value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            self.refuse("providers", "is not an object")
            return {}
        like: dict[str, str] = {}
        for name, options in value.items():
            path = f"providers.{name}"
            if not isinstance(options, dict) or set(options) != {"like"}:
                self.refuse(path, 'is not an object such as {"like": "openai"}')
            elif not (isinstance(options["like"], str) and _PROVIDER.fullmatch(options["like"])):
                self.refuse(f"{path}.like", "is not the name of a provider")
            elif options["like"] in value:
                # One step only: chains would have to be checked for circles, and nobody needs them.
                self.refuse(f"{path}.like", "names a provider that is itself priced like another")
            else:
                like[name] = options["like"]
        return like

    def _read_model(self, row: object, path: str) -> ModelPrice | None:
        if not isinstance(row, dict):
            self.refuse(path, "is not an object")
            return None
        self._check_keys(row, _MODEL_KEYS, f"{path}.")
        provider = self._read_text(row, "provider", path, _PROVIDER.fullmatch)
        name = self._read_text(row, "id", path, _MODEL.fullmatch)
        aliases = row.get("aliases", [])
        if not isinstance(aliases, list) or not all(isinstance(alias, str) and alias for alias in aliases):
            self.refuse(f"{path}.aliases", "is not a list of names")
            aliases = []
        source = row.get("source", "")
        if not isinstance(source, str):
            self.refuse(f"{path}.source", "is not text")
        rates = self._read_rates(row.get("rates", []), f"{path}.rates")
        units = self._read_units(row.get("units", {}), f"{path}.units")
        if not rates and not units:
            self.refuse(path, "has neither rates nor units: a model without a price is left out")
        return ModelPrice(
            provider,
            name,
            group_rates(rates),
            units,
            tuple(aliases),
            self._read_tokens(row, "max_output", path),
            self._read_tokens(row, "context", path),
            str(source),
        )

    def _read_text(self, row: Mapping[str, Any], name: str, path: str, is_valid: Callable[[str], object]) -> str:
        value = row.get(name)
        if not isinstance(value, str) or not is_valid(value):
            self.refuse(f"{path}.{name}", "is missing" if value is None else "is not a valid name")
            return ""
        return value

    def _read_tokens(self, row: Mapping[str, Any], name: str, path: str, least: int = 1) -> int | None:
        value = row.get(name)
        if value is None:
            return None
        # Not isinstance: `true` is an int in Python.
        if type(value) is not int or not least <= value <= MOST_TOKENS:
            self.refuse(f"{path}.{name}", f"is not a whole number of tokens from {least} on")
            return None
        return value

    def _read_rates(self, rows: object, path: str) -> list[Rate]:
        if not isinstance(rows, list):
            self.refuse(path, "is not a list")
            return []
        rates: list[Rate] = []
        places: set[tuple[str, str, int]] = set()
        for index, row in enumerate(rows):
            rate = self._read_rate(row, f"{path}[{index}]")
            if rate is None:
                continue
            if (rate.tier, rate.since, rate.threshold) in places:
                self.refuse(f"{path}[{index}]", "repeats the tier, day and step of another rate")
            places.add((rate.tier, rate.since, rate.threshold))
            rates.append(rate)
        for index, rate in enumerate(rates):
            # A step inherits nothing, so small prompts of a set without a base rate would have no price.
            if (rate.tier, rate.since, 0) not in places:
                self.refuse(f"{path}[{index}]", "is a step without a base rate of the same tier and day")
        return rates

    def _read_rate(self, row: object, path: str) -> Rate | None:
        if not isinstance(row, dict):
            self.refuse(path, "is not an object")
            return None
        self._check_keys(row, _RATE_KEYS, f"{path}.")
        meters = {name: self._read_price(row[name], f"{path}.{name}", RATE_SCALE) for name in METERS if name in row}
        own = {name: price for name, price in meters.items() if price is not None}
        if not own:
            self.refuse(path, "prices nothing")
        since = self._read_day(row, "since", f"{path}.") if "since" in row else ""
        tier = row.get("tier", "")
        if "tier" in row and not (isinstance(tier, str) and _TIER.fullmatch(tier) and tier not in ORDINARY_TIERS):
            self.refuse(f"{path}.tier", "is not a tier such as flex, batch or priority")
            return None
        return Rate.from_meters(own, self._read_threshold(row, path), tier, since)

    def _read_threshold(self, row: Mapping[str, Any], path: str) -> int:
        """The least number of prompt tokens that a rate is for: ``above`` 10 begins at 11, ``from`` 10 at 10."""
        if "above" in row and "from" in row:
            self.refuse(path, "has both above and from")
        above, start = self._read_tokens(row, "above", path, 0), self._read_tokens(row, "from", path)
        return above + 1 if above is not None else start or 0

    def _read_units(self, value: object, path: str) -> dict[str, int]:
        if not isinstance(value, dict):
            self.refuse(path, "is not an object")
            return {}
        self._check_keys(value, set(UNITS), f"{path}.")
        prices = {name: self._read_price(value[name], f"{path}.{name}", NANO) for name in UNITS if name in value}
        return {name: price for name, price in prices.items() if price is not None}

    def _read_price(self, value: object, path: str, scale: int) -> int | None:
        if value is None:
            return None
        if type(value) is not int and not isinstance(value, Decimal):
            self.refuse(path, "is not a number")
            return None
        try:
            return scale_exactly(value, scale, MOST_USD)
        except ValueError as error:
            self.refuse(path, str(error))
            return None

    def _read_day(self, row: Mapping[str, Any], name: str, path: str) -> str:
        value = row.get(name)
        try:
            # fromisoformat also reads other forms from Python 3.11 on; days are compared as text, so one form only.
            if isinstance(value, str) and date.fromisoformat(value).isoformat() == value:
                return value
        except ValueError:
            pass
        self.refuse(f"{path}{name}", "is not a day such as 2026-12-01")
        return ""
