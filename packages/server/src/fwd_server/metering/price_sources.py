"""Price lists of others, in our form: LiteLLM's map, genai-prices' ``data_slim.json``, models.dev's ``api.json``.

Only providers that fwd speaks to are read, and of them every row or none: a list with one unusable number is refused
like a file of our own. Rows whose price depends on the time of day are left out, because a table has no place for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from fwd_server.metering.money import NANO, RATE_SCALE, scale_exactly
from fwd_server.metering.price_file import MOST_USD, PriceFileError, load_exact_json, parse_prices
from fwd_server.metering.prices import FALLBACKS, ModelPrice, PriceLayer, Rate, group_rates

# A provider as its source names it, and as fwd does.
_LITELLM: Final = {"gemini": "google", "together_ai": "together", "fireworks_ai": "fireworks"} | {
    name: name
    for name in (
        "openai",
        "anthropic",
        "groq",
        "openrouter",
        "ollama",
        "mistral",
        "deepseek",
        "xai",
        "cerebras",
        "perplexity",
    )
}
_GENAI: Final = {name: name for name in _LITELLM.values() if name != "ollama"} | {"x-ai": "xai"}
_MODELS_DEV: Final = {name: name for name in _LITELLM.values()} | {
    "togetherai": "together",
    "fireworks-ai": "fireworks",
}

_LITELLM_METERS: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_input",
    "cache_read_input_audio_token_cost": "audio_cached",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_reasoning_token": "reasoning",
    "output_cost_per_audio_token": "audio_output",
    "output_cost_per_image_token": "image_output",
}
_LITELLM_KEY: Final = re.compile(
    rf"({'|'.join(sorted(_LITELLM_METERS, key=len, reverse=True))})"
    r"(?:_above_(\d+)k_tokens)?(?:_(batches|flex|priority|ultrafast))?"
)
_GENAI_METERS: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_input",
    "cache_audio_read_mtok": "audio_cached",
    "input_image_mtok": "image_input",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_output",
    "output_image_mtok": "image_output",
}
_MODELS_DEV_METERS: Final = {
    "input": "input",
    "output": "output",
    "cache_read": "cached_input",
    "cache_write": "cache_write",
    "reasoning": "reasoning",
    "input_audio": "audio_input",
    "output_audio": "audio_output",
}
_REPEATED_BY_SOURCES: Final = ("reasoning", "audio_cached")

Meters = dict[str, int]
Steps = dict[tuple[str, str, int], Meters]  # (tier, since, threshold) -> meters


def read_price_list(data: bytes, form: str = "auto", source: str = "") -> PriceLayer:
    """A price list in any known form, as a layer. Raises PriceFileError; ``form`` is one of ``FORMS`` or ``auto``."""
    if form == "fwd":
        return parse_prices(data, source)
    value = load_exact_json(data)
    form = _detect_form(value) if form == "auto" else form
    if form == "fwd":
        return parse_prices(data, source)
    try:
        rows = [*FORMS[form](value)]
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise PriceFileError([f"the file is not in the form of {form} ({type(error).__name__})"]) from None
    if not rows:
        raise PriceFileError([f"the file, read as {form}, has no price of a provider that fwd knows"])
    models = {(row.provider, row.id): row for row in rows}
    return PriceLayer(models, "", hashlib.sha256(data).hexdigest(), source or form)


def _detect_form(value: object) -> str:
    if isinstance(value, dict) and "schema" in value:
        return "fwd"
    if isinstance(value, list):
        return "genai-prices"
    rows = [row for row in value.values() if isinstance(row, dict)] if isinstance(value, dict) else []
    if any("litellm_provider" in row for row in rows):
        return "litellm"
    if rows and any(isinstance(row.get("models"), dict) for row in rows):
        return "models.dev"
    raise PriceFileError(["the file is in none of the known formats: fwd, litellm, genai-prices or models.dev"])


def _read_litellm(value: Mapping[str, Any]) -> Iterator[ModelPrice]:
    for key, row in value.items():
        provider = _LITELLM.get(row.get("litellm_provider") or "")
        # `sample_spec` is LiteLLM's explanation of its own format, not a model.
        if provider is None or key == "sample_spec":
            continue
        name = key.removeprefix(f"{row['litellm_provider']}/")
        steps: Steps = {}
        for field, number in row.items():
            match = _LITELLM_KEY.fullmatch(field)
            if match is None or number is None:
                continue
            meter, step, tier = match.groups()
            # "Above 200k" begins with the token after it.
            threshold = int(step) * 1000 + 1 if step else 0
            tier = "batch" if tier == "batches" else tier or ""
            # The price of one token; ours are for a million.
            price = _token_price(number, f"{key}.{field}", tokens=1)
            steps.setdefault((tier, "", threshold), {})[_LITELLM_METERS[meter]] = price
        yield from _make_model(
            provider, name, steps, dict(_litellm_units(key, row)),
            row.get("max_output_tokens"), row.get("max_input_tokens"), "litellm",
        )  # fmt: skip


def _litellm_units(key: str, row: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    search = row.get("search_context_cost_per_query")
    if isinstance(search, Mapping) and search:
        # The size of a search is not in a provider's usage: the medium one is the default.
        search = search.get("search_context_size_medium", max(search.values()))
        yield "web_search", _unit_price(search, f"{key}.search_context_cost_per_query")
    pieces = (
        ("second", "input_cost_per_second"), ("second", "output_cost_per_second"),
        ("character", "input_cost_per_character"), ("image", "output_cost_per_image"),
    )  # fmt: skip
    for unit, field in pieces:
        if row.get(field):
            yield unit, _unit_price(row[field], f"{key}.{field}")


def _read_genai(value: list[Mapping[str, Any]]) -> Iterator[ModelPrice]:
    for provider in value:
        name = _GENAI.get(provider["id"])
        for model in provider["models"] if name else ():
            steps: Steps = {}
            units: dict[str, int] = {}
            prices = model["prices"]
            is_timed = False
            for conditional in prices if isinstance(prices, list) else [{"prices": prices}]:
                constraint = conditional.get("constraint") or {}
                is_timed = is_timed or "start_time" in constraint
                since = str(constraint.get("start_date", ""))
                _add_genai_prices(conditional["prices"], "", since, steps, units, model["id"])
            for variant in model.get("price_variants") or ():
                when = variant["when"]
                tier = when.get("processing") or when.get("service_tier")
                if len(when) == 1 and tier in ("batch", "flex", "priority"):
                    # A variant's first day is when it was verified, not when it began: older calls have no other price.
                    _add_genai_prices(
                        variant["prices"], str(tier), _variant_day(variant, model), steps, {}, model["id"]
                    )
            if not is_timed:
                aliases = tuple(sorted(set(_equal_names(model.get("match", {}))) - {model["id"]}))
                yield from _make_model(
                    name or "", model["id"], steps, units, None, model.get("context_window"), "genai-prices", aliases
                )


def _variant_day(variant: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    """The day a variant begins where another one of the same kind came before it; else always."""
    day = str((variant.get("constraint") or {}).get("start_date", ""))
    same = (other for other in model["price_variants"] if other["when"] == variant["when"])
    days = [str((other.get("constraint") or {}).get("start_date", "")) for other in same]
    return "" if day == min(days) else day


def _add_genai_prices(
    prices: Mapping[str, Any], tier: str, since: str, steps: Steps, units: dict[str, int], model: str
) -> None:
    for field, value in prices.items():
        if value is None:
            continue
        if field in ("web_searches_kcount", "requests_kcount"):
            unit = "web_search" if field.startswith("web") else "request"
            units[unit] = _unit_price(value, f"{model}.{field}", pieces=1000)
        meter = _GENAI_METERS.get(field)
        if meter is None:
            continue
        is_tiered = isinstance(value, Mapping)
        base = value["base"] if is_tiered else value
        steps.setdefault((tier, since, 0), {})[meter] = _token_price(base, f"{model}.{field}")
        for step in value["tiers"] if is_tiered else ():
            place = steps.setdefault((tier, since, int(step["start"]) + 1), {})
            place[meter] = _token_price(step["price"], f"{model}.{field}")


def _equal_names(clause: Mapping[str, Any]) -> Iterator[str]:
    if "equals" in clause:
        yield clause["equals"]
    for part in clause.get("or", ()):
        yield from _equal_names(part)


def _read_models_dev(value: Mapping[str, Any]) -> Iterator[ModelPrice]:
    for key, provider in value.items():
        name = _MODELS_DEV.get(key)
        for model_id, model in provider["models"].items() if name else ():
            cost = model.get("cost") or {}
            steps: Steps = {}
            for threshold, meters in ((0, cost), (200_001, cost.get("context_over_200k") or {})):
                for field, number in meters.items():
                    if field in _MODELS_DEV_METERS and number is not None:
                        price = _token_price(number, f"{key}.{model_id}.{field}")
                        steps.setdefault(("", "", threshold), {})[_MODELS_DEV_METERS[field]] = price
            limit = model.get("limit") or {}
            yield from _make_model(
                name or "", model_id, steps, {}, limit.get("output"), limit.get("context"), "models.dev"
            )


FORMS: Final[Mapping[str, Callable[[Any], Iterator[ModelPrice]]]] = {
    "litellm": _read_litellm,
    "genai-prices": _read_genai,
    "models.dev": _read_models_dev,
}


def _make_model(
    provider: str,
    name: str,
    steps: Steps,
    units: Mapping[str, int],
    max_output: object,
    context: object,
    source: str,
    aliases: tuple[str, ...] = (),
) -> Iterator[ModelPrice]:
    """The model, unless nothing of it has a price."""
    steps = {place: _drop_repetitions(meters) for place, meters in steps.items()}
    rates: list[Rate] = []
    for (tier, since, threshold), meters in steps.items():
        base = steps.get((tier, since, 0))
        if base is not None:  # else a step of a tier whose ordinary price the source does not give
            # Sources leave a meter out of a step where it does not change; ours inherit nothing.
            rates.append(Rate.from_meters(base | meters, threshold, tier, since))
    if rates or units:
        limits = {
            limit: value
            for limit, value in (("max_output", max_output), ("context", context))
            if type(value) is int and value > 0
        }
        yield ModelPrice(provider, name, group_rates(rates), units, aliases, source=source, **limits)


def _drop_repetitions(meters: Meters) -> Meters:
    """Without the meters that only repeat what they would fall back to: a step would inherit them as a discount."""
    return {
        meter: price
        for meter, price in meters.items()
        if meter not in _REPEATED_BY_SOURCES or price != meters.get(FALLBACKS[meter])
    }


def _token_price(value: object, path: str, tokens: int = 10**6) -> int:
    """Pico-dollars a token of a price for so many tokens."""
    return _read_price(value, RATE_SCALE * 10**6 // tokens, RATE_SCALE, path)


def _unit_price(value: object, path: str, pieces: int = 1) -> int:
    """Nano-dollars a piece of a price for so many pieces."""
    return _read_price(value, NANO // pieces, NANO, path)


def _read_price(value: object, scale: int, unit: int, path: str) -> int:
    """A number of another list as an integer of ours. Theirs are products of floats: noise beyond it is rounded off."""
    number = value if isinstance(value, Decimal) else _read_decimal(value)
    if number is None:
        raise PriceFileError([f"{path} is not a number"])
    try:
        return scale_exactly(round(number * scale), 1, MOST_USD * unit)
    except ValueError as error:
        raise PriceFileError([f"{path} {error}"]) from None


def _read_decimal(value: object) -> Decimal | None:
    if type(value) is int:
        return Decimal(value)
    # genai-prices writes its decimals as text.
    text = value if isinstance(value, str) else ""
    return Decimal(text) if re.fullmatch(r"\d{1,12}(\.\d{1,18})?", text) else None
