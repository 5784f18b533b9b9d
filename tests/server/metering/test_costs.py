"""Costs: the golden table, and law W8 over the whole space of usages and rates."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.server.metering.golden_costs import CALLS, PRICES, Row

from fwd_server.metering.costs import FREE, UNKNOWN, Cost, cost, list_cost_lines, sum_costs
from fwd_server.metering.money import round_to_nano
from fwd_server.metering.price_file import join_layers, parse_prices
from fwd_server.metering.prices import METERS, ModelPrice, Rate, group_rates
from fwd_server.values.usage import Usage

TABLE = join_layers([parse_prices(PRICES)])
DAY = "2026-12-01"


def evaluate(working: str) -> Decimal:
    """The arithmetic of a row, in decimals and without any code of ours."""
    return sum((_product(term) for term in working.split("+")), Decimal())


def _product(term: str) -> Decimal:
    result = Decimal(1)
    for factor in term.split("*"):
        result *= Decimal(factor.strip())
    return result


@pytest.mark.parametrize("row", CALLS, ids=lambda row: f"{row[0]} {row[2]}")
def test_the_golden_table_is_met_to_the_nano_dollar(row: Row) -> None:
    """M9."""
    model, day, usage, _, _, nano, kind = row
    result = cost(Usage(**usage), TABLE.find("openai", model), day)  # type: ignore[arg-type]
    assert (result.nano, result.kind) == (nano, kind)


def test_the_golden_table_is_long_enough_and_its_workings_give_its_numbers() -> None:
    assert len(CALLS) >= 120
    for model, _, usage, tokens, units, nano, _ in CALLS:
        if nano is None:
            continue
        micro = evaluate(tokens) if tokens != "None" else Decimal()
        parts = [amount.quantize(Decimal(1), ROUND_HALF_UP) for amount in (micro * 1000, evaluate(units) * 10**9)]
        assert nano == sum(parts), (model, usage)


COUNTS = st.integers(0, 1 << 20)
RATES = st.dictionaries(st.sampled_from(METERS), st.integers(0, 10**9), min_size=1)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usages whose parts fit their wholes, every boundary included."""
    plain, cached_text, audio_cached, audio, image, write, write_1h = (draw(COUNTS) for _ in range(7))
    text, reasoning, audio_out, image_out = (draw(COUNTS) for _ in range(4))
    return Usage(
        prompt=plain + cached_text + audio_cached + audio + image + write + write_1h,
        cached=cached_text + audio_cached,
        audio_cached=audio_cached,
        audio_in=audio + audio_cached,
        image_in=image,
        cache_write=write + write_1h,
        cache_write_1h=write_1h,
        completion=text + reasoning + audio_out + image_out,
        reasoning=reasoning,
        audio_out=audio_out,
        image_out=image_out,
    )


def priced(meters: dict[str, int]) -> ModelPrice:
    return ModelPrice("p", "m", group_rates([Rate.from_meters({"input": 5, "output": 7} | meters)]))


@given(usages(), RATES)
def test_every_token_is_priced_once(usage: Usage, meters: dict[str, int]) -> None:
    """W8: the parts add up to the whole, and every token is in exactly one of them."""
    price = priced(meters)
    lines = list_cost_lines(usage, price, DAY)
    assert sum(line.quantity for line in lines) == usage.total
    assert cost(usage, price, DAY).nano == round_to_nano(sum(line.pico or 0 for line in lines))


PARTS = ("prompt", "completion")


@given(usages(), RATES, st.sampled_from(PARTS), st.integers(1, 1000))
def test_more_tokens_never_cost_less(usage: Usage, meters: dict[str, int], part: str, more: int) -> None:
    """W8: monotone in each count, and never negative."""
    price = priced(meters)
    before = cost(usage, price, DAY).nano
    after = cost(structs.replace(usage, **{part: getattr(usage, part) + more}), price, DAY).nano
    assert before is not None
    assert after is not None
    assert 0 <= before <= after


@given(usages(), usages(), RATES)
def test_a_call_costs_what_its_attempts_cost(one: Usage, other: Usage, meters: dict[str, int]) -> None:
    """W8: the second provider's price does not hide what the first one billed."""
    price = priced(meters)
    parts = [cost(usage, price, DAY) for usage in (one, other)]
    assert sum_costs(parts).nano == sum(part.nano or 0 for part in parts)
    assert sum_costs([*parts, FREE]) == sum_costs(parts)


def test_one_unknown_attempt_makes_a_call_unknown_and_keeps_the_known_part() -> None:
    known = Cost(5, "exact")
    assert sum_costs([known, UNKNOWN, Cost(7, "estimated")]) == Cost(None, "unknown", known_part=12)


@given(
    st.builds(Usage, *([st.integers(0, 50)] * 5), *([st.none()] + [st.booleans()] + [st.integers(0, 50)] * 10)), RATES
)
def test_whatever_a_provider_reports_costs_at_least_nothing(usage: Usage, meters: dict[str, int]) -> None:
    """T30: parts that do not fit are dropped, and the whole is billed as an estimate."""
    result = cost(usage, priced(meters), DAY)
    assert result.nano is None or result.nano >= 0
    assert (result.nano is None) == (result.kind == "unknown")


def test_a_tier_without_a_price_is_billed_at_the_base_rate_and_says_so() -> None:
    price = TABLE.find("openai", "gpt-a")
    assert cost(Usage(prompt=1, tier="scale"), price, DAY).untiered
    assert not cost(Usage(prompt=1, tier="flex"), price, DAY).untiered
