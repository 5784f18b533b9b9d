"""Make ``prices.json`` from two independent sources, and write down what they disagree on.

    python packages/server/prices/make_prices.py LITELLM.json GENAI.json 2026-12-01

LITELLM.json is ``model_prices_and_context_window_backup.json`` of a LiteLLM wheel, GENAI.json is genai-prices'
``data_slim.json``. Run by a person before a release, never by the gateway. The rules, most important first:

1. ``DECISIONS`` below, each with its reason: a person has looked at the provider's page or at both sources.
2. What only one source gives (a tier, a step, a meter, a unit, a future price) is taken from it.
3. Where both give a number for the same thing in force on the day and the numbers differ, the dearer one is taken until
   somebody decides: a budget then errs on the safe side.
4. Where the base rate changes on a later day and a tier has one price only, the tier changes by the same factor.

Every row of models.json gets a price; so does every model of the large providers that both sources know and agree on.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fwd_server.metering.money import NANO, RATE_SCALE
from fwd_server.metering.price_sources import read_price_list
from fwd_server.metering.price_text import dump_prices, plain_number
from fwd_server.metering.prices import METERS, ModelPrice, PriceLayer, Rate, RateSet, group_rates

HERE: Final = Path(__file__).parent
SERVER: Final = HERE.parent / "src" / "fwd_server"
SHARED_PROVIDERS: Final = ("openai", "anthropic", "google", "groq", "mistral", "deepseek", "xai")

# (provider, model, meter) -> (which source is right, why).
DECISIONS: Final[Mapping[tuple[str, str, str], tuple[str, str]]] = {
    ("openai", "gpt-4.1", "web_search"): ("genai", "0.01 is what both sources give for the later models"),
    ("openai", "gpt-4.1-mini", "web_search"): ("genai", "as gpt-4.1"),
    ("openai", "gpt-4o-mini", "web_search"): ("genai", "as gpt-4.1"),
    ("groq", "openai/gpt-oss-safeguard-20b", "cached_input"): ("genai", "half of input, as its two siblings; rounded"),
    ("google", "gemini-3.5-flash-lite", "cached_input"): ("genai", "LiteLLM gives 0.02 for flex, which costs the same"),
}
# OpenRouter routes one name to several hosts, and states the cost in its answers: the table only bounds a call.
OPENROUTER: Final = ("dearer", "a bound only, because OpenRouter states the cost: the dearer one")
UNDECIDED: Final = ("dearer", "not decided yet: the dearer one")
LEFT_OUT: Final[Mapping[tuple[str, str], str]] = {
    ("openrouter", "openrouter/auto"): "it costs what the chosen model costs; OpenRouter states the cost in its answer",
}
FREE: Final = ("echo", "ollama")


def main() -> None:
    """Write ``prices.json`` and ``disagreements.md``."""
    litellm_file, genai_file, day = sys.argv[1:]
    models = json.loads((SERVER / "models.json").read_bytes())
    litellm = add_older_rows(read_price_list(Path(litellm_file).read_bytes(), "litellm"), models)
    genai = read_price_list(Path(genai_file).read_bytes(), "genai-prices")
    finder = GenaiFinder(json.loads(Path(genai_file).read_bytes()), genai)
    listed = {(row["provider"], row["id"]): row for row in models["models"] if row["provider"] not in FREE}
    rows: list[ModelPrice] = []
    notes: list[str] = []
    for key in sorted({*listed, *litellm.models}):
        if key in LEFT_OUT:
            notes.append(f"| {key[0]} | `{key[1]}` | everything | | | left out: {LEFT_OUT[key]} |")
            continue
        first, second = litellm.models.get(key), finder.find(*key)
        disagreements: list[str] = []
        price = merge(first, second, day, disagreements)
        if key in listed and price is None:
            raise SystemExit(f"no price for {key}")
        both_agree = first is not None and second is not None and not disagreements
        if price is None or (key not in listed and not (both_agree and key[0] in SHARED_PROVIDERS)):
            continue
        notes += disagreements
        rows.append(with_limits(price, listed.get(key)))
    free = group_rates([Rate.from_meters({"input": 0, "output": 0})])
    rows += [ModelPrice(provider, "*", free, source="free") for provider in FREE]
    sources = ["litellm 1.110.2 (older rows: 1.109.1, 1.100.0)", "genai-prices 0.2.3"]
    (SERVER / "prices.json").write_bytes(dump_prices(rows, day, sources))
    (HERE / "disagreements.md").write_text(report(notes, rows, day))


def add_older_rows(layer: PriceLayer, models: Mapping[str, Any]) -> PriceLayer:
    """LiteLLM's map with the rows of models.json that its newest version no longer lists."""
    rows = dict(layer.models)
    for row in models["models"]:
        key = (row["provider"], row["id"])
        if key in rows:
            continue
        rates = [Rate.from_meters(scaled(row["price_usd_per_mtok"]))]
        step = row.get("long_context_price_usd_per_mtok")
        if step:
            rates.append(Rate.from_meters(scaled(step) | keep(rates[0], step), step["over_tokens"] + 1))
        rows[key] = ModelPrice(*key, group_rates(rates), source=row["source"])
    return PriceLayer(rows)


def scaled(prices: Mapping[str, float | None]) -> dict[str, int]:
    return {name: round(prices[name] * RATE_SCALE) for name in METERS if prices.get(name) is not None}


def keep(base: Rate, step: Mapping[str, object]) -> dict[str, int]:
    return {name: getattr(base, name) for name in base.own if step.get(name) is None}


class GenaiFinder:
    """Finds a model in genai-prices by its own match clauses, in its order."""

    def __init__(self, providers: list[dict[str, Any]], layer: PriceLayer) -> None:
        self.layer = layer
        names = {"x-ai": "xai"}
        self.models = {names.get(row["id"], row["id"]): row["models"] for row in providers}

    def find(self, provider: str, name: str) -> ModelPrice | None:
        for model in self.models.get(provider, ()):
            if matches(model["match"], name):
                return self.layer.models.get((provider, model["id"]))
        return None


def matches(clause: Mapping[str, Any], name: str) -> bool:
    ((kind, value),) = clause.items()
    tests = {
        "equals": lambda: name == value,
        "starts_with": lambda: name.startswith(value),
        "ends_with": lambda: name.endswith(value),
        "contains": lambda: value in name,
        "regex": lambda: re.search(value, name) is not None,
        "or": lambda: any(matches(part, name) for part in value),
        "and": lambda: all(matches(part, name) for part in value),
    }
    return bool(tests[kind.rstrip("_")]())


def in_force(sets: tuple[RateSet, ...], day: str) -> tuple[RateSet, ...]:
    """The set in force on ``day``, without its date, and later ones: the past is not billed again."""
    later = tuple(rates for rates in sets if rates.since > day)
    now = next((rates for rates in sets if rates.since <= day), None)
    # A set that begins on the very day keeps its date: calls of the day before may still be settled.
    if now is not None and now.since == day:
        before = next((rates for rates in sets if rates.since < day), None)
        return (*later, now, *([undated(before)] if before else []))
    return (*later, *([undated(now)] if now else []))


def undated(rates: RateSet) -> RateSet:
    return dated(rates, "")


def dated(rates: RateSet, since: str) -> RateSet:
    return RateSet(since, tuple(Rate.from_meters(own(rate), rate.threshold, rate.tier, since) for rate in rates.rates))


def own(rate: Rate) -> dict[str, int]:
    return {name: getattr(rate, name) for name in METERS if name in rate.own}


def merge(first: ModelPrice | None, second: ModelPrice | None, day: str, notes: list[str]) -> ModelPrice | None:
    """One row of two: rules 1 to 4 of the module."""
    if first is None or second is None:
        only = first or second
        if only is None:
            return None
        tiers = {tier: in_force(sets, day) for tier, sets in only.tiers.items()}
        return ModelPrice(only.provider, only.id, {t: s for t, s in tiers.items() if s}, only.units, source=only.source)
    key = (first.provider, first.id)
    tiers: dict[str, tuple[RateSet, ...]] = {}
    for tier in dict.fromkeys((*first.tiers, *second.tiers)):
        left, right = (in_force(price.tiers.get(tier, ()), day) for price in (first, second))
        tiers[tier] = tuple(merge_sets(left, right, key, tier, notes))
    scale_tiers(tiers)
    units = dict(first.units)
    for unit, price in second.units.items():
        units[unit] = decide(key, unit, units.get(unit), price, NANO, "", notes)
    return ModelPrice(*key, {t: s for t, s in tiers.items() if s}, units, source="litellm, genai-prices")


def merge_sets(
    left: tuple[RateSet, ...], right: tuple[RateSet, ...], key: tuple[str, str], tier: str, notes: list[str]
) -> Iterator[RateSet]:
    if not left or not right:
        yield from left or right
        return
    # LiteLLM has no dates: its one set is compared with the set of the other that it must mean.
    lone = left[0]
    pairs = [(rates, distance(lone, rates)) for rates in right]
    best = min(pairs, key=lambda pair: pair[1])[0]
    for rates in right:
        yield merge_set(lone, rates, key, tier, notes) if rates is best else rates


def distance(one: RateSet, other: RateSet) -> int:
    pairs = [(own(a), own(b)) for a, b in zip(one.rates, other.rates, strict=False)]
    return sum(a[name] != b[name] for a, b in pairs for name in a if name in b)


def merge_set(one: RateSet, other: RateSet, key: tuple[str, str], tier: str, notes: list[str]) -> RateSet:
    rates: list[Rate] = []
    steps = {rate.threshold: own(rate) for rate in one.rates}, {rate.threshold: own(rate) for rate in other.rates}
    for threshold in sorted({*steps[0], *steps[1]}):
        place = " ".join(filter(None, (tier, f"above {threshold - 1}" if threshold else "")))
        left, right = (step.get(threshold) for step in steps)
        if left is None or right is None:
            if threshold:
                which = "LiteLLM" if right is None else "genai-prices"
                notes.append(f"| {key[0]} | `{key[1]}` | {place} | | | only {which} has this step: taken |")
            meters = left or right or {}
        else:
            both = dict.fromkeys((*left, *right))
            meters = {n: decide(key, n, left.get(n), right.get(n), RATE_SCALE, place, notes) for n in both}
        rates.append(Rate.from_meters(meters, threshold, tier, other.since))
    return RateSet(other.since, tuple(rates))


def decide(
    key: tuple[str, str], name: str, left: int | None, right: int | None, scale: int, place: str, notes: list[str]
) -> int:
    if left is None or right is None or left == right:
        return left if right is None else right  # type: ignore[return-value]
    source, why = DECISIONS.get((*key, name)) or (OPENROUTER if key[0] == "openrouter" else UNDECIDED)
    value = {"litellm": left, "genai": right, "dearer": max(left, right)}[source]
    shown = [plain_number(number, scale) for number in (left, right)]
    taken = plain_number(value, scale)
    notes.append(f"| {key[0]} | `{key[1]}` | {f'{place} {name}'.strip()} | {shown[0]} | {shown[1]} | {taken}: {why} |")
    return value


def scale_tiers(tiers: dict[str, tuple[RateSet, ...]]) -> None:
    """Rule 4: a tier with one set follows the base rate's later changes by the same factor."""
    base = tiers.get("", ())
    if len(base) < 2:
        return
    first = own(base[-1].rates[0])
    for tier, sets in tiers.items():
        if not tier or len(sets) != 1:
            continue
        added: list[RateSet] = []
        for later in base[:-1]:
            factors = own(later.rates[0])
            rates: list[Rate] = []
            for rate in sets[0].rates:
                meters = {
                    n: p * factors.get(n, first[n]) // first[n] if first.get(n) else p for n, p in own(rate).items()
                }
                rates.append(Rate.from_meters(meters, rate.threshold, tier, later.since))
            added.append(RateSet(later.since, tuple(rates)))
        tiers[tier] = (*added, undated(sets[0]))


def with_limits(price: ModelPrice, row: Mapping[str, Any] | None) -> ModelPrice:
    limits = {"max_output": row["max_output"], "context": row["context_window"]} if row else {}
    return ModelPrice(price.provider, price.id, price.tiers, price.units, source=price.source, **limits)


def report(notes: list[str], rows: list[ModelPrice], day: str) -> str:
    return f"""# Where the two price sources disagree

Made by `make_prices.py` for {day}: LiteLLM 1.110.2 and genai-prices 0.2.3. {len(rows)} rows in `prices.json`; what is
not listed here is the same in both, or in one of them only. A price is USD per million tokens, of a unit USD a piece.

| provider | model | what | LiteLLM | genai-prices | taken |
|---|---|---|--:|--:|---|
{chr(10).join(notes)}
"""


if __name__ == "__main__":
    main()
