"""Prices by provider, model, day, tier and prompt size; immutable, and swapped whole (money M11).

A model has one *rate set* for each (tier, first day); a set has a base rate and any number of steps. Exactly one rate
prices a call, input and output alike: no provider we know bills only the tokens above a step at the step's price.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import field, frozen

from fwd_server.values.usage import ORDINARY_TIERS

# "gpt-5-2025-08-07", "claude-haiku-4-5-20251001": a snapshot costs what its model costs, unless it has its own row.
_SNAPSHOT: Final = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8})$")
_MEMO_LIMIT: Final = 4096

# A meter without a price of its own takes the price of the meter named here: never a discount, never 0.
FALLBACKS: Final[Mapping[str, str]] = {
    "cached_input": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "audio_input": "input",
    "audio_cached": "audio_input",
    "image_input": "input",
    "reasoning": "output",
    "audio_output": "output",
    "image_output": "output",
}
METERS: Final = ("input", "output", *FALLBACKS)
UNITS: Final = ("web_search", "second", "character", "image", "request")


@frozen
class Rate:
    """Pico-dollars a token for each meter, with the fallbacks filled in; None is unknown, 0 is free.

    ``own`` names the meters the table prices itself: the others make a cost an estimate. The rate applies from
    ``threshold`` prompt tokens upwards (0: the base rate); ``tier`` and ``since`` say which set it belongs to.
    """

    input: int | None = None
    output: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    audio_input: int | None = None
    audio_cached: int | None = None
    image_input: int | None = None
    reasoning: int | None = None
    audio_output: int | None = None
    image_output: int | None = None
    own: frozenset[str] = frozenset()
    threshold: int = 0
    tier: str = ""
    since: str = ""

    @classmethod
    def from_meters(cls, meters: Mapping[str, int], threshold: int = 0, tier: str = "", since: str = "") -> Rate:
        """A rate of the meters that have a price of their own; the others follow ``FALLBACKS``."""
        values: dict[str, int | None] = {name: meters.get(name) for name in ("input", "output")}
        for name, fallback in FALLBACKS.items():  # in this order a fallback is resolved before it is used
            values[name] = meters.get(name, values[fallback])
        return cls(**values, own=frozenset(meters), threshold=threshold, tier=tier, since=since)

    @property
    def dearest_input(self) -> int | None:
        """The most an input token can cost without 1-hour cache writes; None when that is unknown."""
        prices = (self.input, self.cache_write, self.cached_input, self.audio_input, self.image_input)
        return None if self.input is None else max(price for price in prices if price is not None)

    @property
    def dearest_output(self) -> int | None:
        """The most an output token can cost; None when that is unknown."""
        prices = (self.output, self.reasoning, self.audio_output, self.image_output)
        return None if self.output is None else max(price for price in prices if price is not None)


@frozen
class RateSet:
    """The rates of one tier from one day on, by ascending threshold; the first one is the base rate."""

    since: str
    rates: tuple[Rate, ...]
    _thresholds: tuple[int, ...] = field(init=False, repr=False, eq=False)

    @_thresholds.default
    def _read_thresholds(self) -> tuple[int, ...]:
        return tuple(rate.threshold for rate in self.rates)

    def at_prompt(self, prompt: int) -> Rate:
        """The rate of the largest step that ``prompt`` tokens reach."""
        if len(self.rates) == 1:
            return self.rates[0]
        return self.rates[bisect_right(self._thresholds, prompt) - 1]


@frozen
class ModelPrice:
    """Everything the table says of one model: rate sets by tier (newest first), and nano-dollars of other units."""

    provider: str
    id: str
    tiers: Mapping[str, tuple[RateSet, ...]] = field(factory=dict)
    units: Mapping[str, int] = field(factory=dict)
    aliases: tuple[str, ...] = ()
    max_output: int | None = None
    context: int | None = None
    source: str = ""

    def find_rate(self, day: str, tier: str, prompt: int) -> tuple[Rate | None, bool]:
        """The rate for a call on a UTC day (``2026-12-01``), and whether its tier is priced.

        A tier without a rate is billed at the base rate, and the caller of this says that it is an estimate.
        """
        tier = "" if tier in ORDINARY_TIERS else tier
        sets = self.tiers.get(tier)
        rate = _pick_rate(sets, day, prompt) if sets else None
        if rate is not None or not tier:
            return rate, True
        return _pick_rate(self.tiers.get("", ()), day, prompt), False

    def find_reachable(self, day: str, tier: str, prompt: int) -> list[Rate]:
        """Every rate that a call of at most ``prompt`` tokens may be billed at.

        Those of its tier and of the base tier, which a provider may answer with instead, up to the largest step.
        """
        reachable: list[Rate] = []
        for name in ("",) if tier in ORDINARY_TIERS else ("", tier):
            rates = next((rates for rates in self.tiers.get(name, ()) if rates.since <= day), None)
            if rates is not None:
                reachable += [rate for rate in rates.rates if rate.threshold <= prompt]
        return reachable


def _pick_rate(sets: Iterable[RateSet], day: str, prompt: int) -> Rate | None:
    for rates in sets:  # newest first; ISO days compare as text, and "" is always in the past
        if rates.since <= day:
            return rates.at_prompt(prompt)
    return None


def group_rates(rates: Iterable[Rate]) -> dict[str, tuple[RateSet, ...]]:
    """Rate sets by tier, newest first, each with ascending thresholds."""
    groups: dict[tuple[str, str], list[Rate]] = {}
    for rate in rates:
        groups.setdefault((rate.tier, rate.since), []).append(rate)
    tiers: dict[str, list[RateSet]] = {}
    for (tier, since), members in sorted(groups.items(), reverse=True):
        ordered = tuple(sorted(members, key=lambda rate: rate.threshold))
        tiers.setdefault(tier, []).append(RateSet(since, ordered))
    return {tier: tuple(sets) for tier, sets in tiers.items()}


@frozen
class PriceTable:
    """One immutable table, made of layers: the operator's file first, the packaged table last.

    ``id`` is on every ledger row: the first 12 hex digits of the SHA-256 of all layers. The first layer that knows a
    model wins, also with a wildcard: that is how an operator says that everything of a provider is free.
    """

    layers: tuple[PriceLayer, ...] = ()
    id: str = ""
    _memo: dict[tuple[str, str], ModelPrice | None] = field(factory=dict, init=False, repr=False, eq=False)

    def find(self, provider: str, model: str) -> ModelPrice | None:
        """The price of a model as its provider names it; None is *unknown*, never free."""
        key = (provider, model)
        if key in self._memo:
            return self._memo[key]
        price = next((price for layer in self.layers if (price := layer.find(provider, model))), None)
        # Callers may invent model names: a bounded memo cannot be filled by them.
        if len(self._memo) < _MEMO_LIMIT:
            self._memo[key] = price
        return price

    def list_models(self) -> tuple[ModelPrice, ...]:
        """Every row that can be in force, by provider and model."""
        rows: dict[tuple[str, str], ModelPrice] = {}
        for layer in self.layers:
            for price in layer.models.values():
                rows.setdefault((price.provider, price.id), price)
        return tuple(rows[key] for key in sorted(rows))


@frozen
class PriceLayer:
    """The rows of one file. ``like`` prices a compatible server's models as another provider's."""

    models: Mapping[tuple[str, str], ModelPrice]
    as_of: str = ""
    digest: str = ""
    source: str = ""
    like: Mapping[str, str] = field(factory=dict)
    _aliases: Mapping[tuple[str, str], ModelPrice] = field(init=False, repr=False, eq=False)
    _wildcards: Mapping[str, tuple[ModelPrice, ...]] = field(init=False, repr=False, eq=False)

    @_aliases.default
    def _index_aliases(self) -> Mapping[tuple[str, str], ModelPrice]:
        return {(price.provider, alias): price for price in self.models.values() for alias in price.aliases}

    @_wildcards.default
    def _index_wildcards(self) -> Mapping[str, tuple[ModelPrice, ...]]:
        wildcards: dict[str, list[ModelPrice]] = {}
        for price in sorted(self.models.values(), key=lambda price: -len(price.id)):  # longest prefix first
            if price.id.endswith("*"):
                wildcards.setdefault(price.provider, []).append(price)
        return {provider: tuple(prices) for provider, prices in wildcards.items()}

    def find(self, provider: str, model: str) -> ModelPrice | None:
        """Exact id, then without its snapshot date, then an alias, then the longest prefix, then ``like``."""
        bare = _SNAPSHOT.sub("", model)
        for name in dict.fromkeys((model, bare)):
            price = self.models.get((provider, name)) or self._aliases.get((provider, name))
            if price is not None:
                return price
        for price in self._wildcards.get(provider, ()):
            if model.startswith(price.id[:-1]):
                return price
        other = self.like.get(provider)
        return self.find(other, model) if other else None
