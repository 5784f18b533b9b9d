"""Price lists of others: LiteLLM's, genai-prices' and models.dev's, as small cuttings of the real files."""

from __future__ import annotations

import json

import pytest

from fwd_server.metering.price_changes import compare_prices
from fwd_server.metering.price_file import PriceFileError
from fwd_server.metering.price_sources import read_price_list
from fwd_server.metering.price_text import dump_model, dump_prices

LITELLM = {
    "sample_spec": {"litellm_provider": "openai", "input_cost_per_token": 0.0},
    "gpt-6-sol": {
        "litellm_provider": "openai", "max_output_tokens": 128000, "max_input_tokens": 922000,
        "input_cost_per_token": 2e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 2e-07,
        "cache_creation_input_token_cost_above_12hr": 5e-06,
        "input_cost_per_token_above_272k_tokens": 4e-06, "output_cost_per_token_above_272k_tokens": 1.5e-05,
        "input_cost_per_token_flex": 1e-06, "output_cost_per_token_flex": 5e-06,
        "input_cost_per_token_batches": 1e-06, "output_cost_per_token_batches": 5e-06,
        "output_cost_per_reasoning_token": 1e-05,
        "search_context_cost_per_query": {"search_context_size_medium": 0.01, "search_context_size_high": 0.02},
    },
    "gemini/gemini-x": {"litellm_provider": "gemini", "input_cost_per_token": 1.25e-07, "output_cost_per_token": 5e-07},
    "whisper": {"litellm_provider": "openai", "input_cost_per_second": 0.0001},
    "elsewhere": {"litellm_provider": "bedrock", "input_cost_per_token": "nonsense"},
    "priceless": {"litellm_provider": "openai", "mode": "chat"},
}  # fmt: skip

GENAI = [
    {
        "id": "google",
        "models": [
            {
                "id": "gemini-4-argon", "context_window": 1048576,
                "match": {"or": [{"equals": "gemini-4-argon"}, {"equals": "argon"}, {"starts_with": "argon-"}]},
                "prices": [
                    {"prices": {"input_mtok": "2", "output_mtok": "10", "web_searches_kcount": "14"}},
                    {"constraint": {"start_date": "2026-12-01"}, "prices": {"input_mtok": 4, "output_mtok": 20}},
                ],
                "price_variants": [
                    {"when": {"processing": "batch"}, "prices": {"input_mtok": 1},
                     "constraint": {"start_date": "2026-10-14"}},
                    {"when": {"processing": "batch"}, "prices": {"input_mtok": 2},
                     "constraint": {"start_date": "2026-12-01"}},
                    {"when": {"speed": "fast"}, "prices": {"input_mtok": 9}},
                ],
            },
            {
                "id": "tiered", "match": {"equals": "tiered"},
                "prices": {"input_mtok": {"base": 1, "tiers": [{"start": 1000, "price": 2}]}, "output_mtok": 3},
            },
            {
                "id": "nightly", "match": {"equals": "nightly"},
                "prices": [{"constraint": {"start_time": "16:30", "end_time": "00:30"}, "prices": {"input_mtok": 1}}],
            },
        ],
    },
    {"id": "aws", "models": [{"id": "x", "match": {"equals": "x"}, "prices": {"input_mtok": 1}}]},
]  # fmt: skip

MODELS_DEV = {
    "anthropic": {
        "models": {
            "claude": {
                "cost": {"input": 3, "output": 15, "cache_read": 0.3,
                         "context_over_200k": {"input": 6, "output": 22.5}},
                "limit": {"output": 64000, "context": 200000},
            }
        }
    }
}  # fmt: skip


def rows(value: object) -> dict[str, object]:
    layer = read_price_list(json.dumps(value).encode())
    return {price.id: dump_model(price) for price in layer.models.values()}


def test_litellm_is_read_with_its_steps_tiers_and_units() -> None:
    found = rows(LITELLM)
    assert sorted(found) == ["gemini-x", "gpt-6-sol", "whisper"]
    assert found["gpt-6-sol"] == {
        "provider": "openai", "id": "gpt-6-sol", "max_output": 128000, "context": 922000, "source": "litellm",
        "rates": [
            {"input": 2, "output": 10, "cached_input": 0.2},
            # A step inherits nothing in our form, so what LiteLLM leaves out of it is filled in.
            {"above": 272000, "input": 4, "output": 15, "cached_input": 0.2},
            {"tier": "batch", "input": 1, "output": 5},
            {"tier": "flex", "input": 1, "output": 5},
        ],
        "units": {"web_search": 0.01},
    }  # fmt: skip
    assert found["gemini-x"]["rates"] == [{"input": 0.125, "output": 0.5}]  # type: ignore[index]


def test_genai_prices_is_read_with_its_days_and_variants() -> None:
    found = rows(GENAI)
    assert sorted(found) == ["gemini-4-argon", "tiered"]
    assert found["gemini-4-argon"] == {
        "provider": "google", "id": "gemini-4-argon", "aliases": ["argon"], "context": 1048576,
        "source": "genai-prices",
        "rates": [
            {"input": 2, "output": 10},
            {"since": "2026-12-01", "input": 4, "output": 20},
            {"tier": "batch", "input": 1},
            {"tier": "batch", "since": "2026-12-01", "input": 2},
        ],
        "units": {"web_search": 0.014},
    }  # fmt: skip
    assert found["tiered"]["rates"] == [  # type: ignore[index]
        {"input": 1, "output": 3},
        {"above": 1000, "input": 2, "output": 3},
    ]


def test_models_dev_is_read_with_its_step() -> None:
    assert rows(MODELS_DEV)["claude"]["rates"] == [  # type: ignore[index]
        {"input": 3, "output": 15, "cached_input": 0.3},
        {"above": 200000, "input": 6, "output": 22.5, "cached_input": 0.3},
    ]


@pytest.mark.parametrize(
    "value",
    [
        {}, 5, "x", [], {"a": 1}, [{"id": "openai"}], [5],
        {"m": {"litellm_provider": "openai", "input_cost_per_token": "free"}},
        {"m": {"litellm_provider": "openai", "input_cost_per_token": -1}},
        {"m": {"litellm_provider": "openai", "input_cost_per_token": 1}},
        {"m": {"litellm_provider": "bedrock", "input_cost_per_token": 1e-6}},
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_used_is_refused_whole(value: object) -> None:
    with pytest.raises(PriceFileError):
        read_price_list(json.dumps(value).encode())


def test_our_own_form_is_known_too() -> None:
    layer = read_price_list(json.dumps(LITELLM).encode())
    own = dump_prices(layer.models.values(), "2026-12-01")
    assert read_price_list(own).models == layer.models
    assert read_price_list(own, "fwd").as_of == "2026-12-01"


def test_what_changes_is_listed_and_alarms_are_raised() -> None:
    before = read_price_list(json.dumps(LITELLM).encode())
    cheap = json.loads(json.dumps(LITELLM))
    cheap["gpt-6-sol"] |= {
        "input_cost_per_token": 0,
        "output_cost_per_token": 1.1e-4,
        "output_cost_per_token_flex": 6e-6,
    }
    del cheap["whisper"]
    cheap["new"] = {"litellm_provider": "openai", "input_cost_per_token": 1e-6}
    difference = compare_prices(before, read_price_list(json.dumps(cheap).encode()))
    assert (difference.new, difference.gone) == (("openai:new",), ("openai:whisper",))
    percents = {(change.tier, change.above, change.meter): change.percent for change in difference.changes}
    assert percents[("flex", None, "output")] == 20
    assert percents[("", None, "input")] == -100
    alarms = difference.find_alarms()
    assert len(alarms) == 3
    assert "1 of 3 models lose their price" in alarms[-1]
    assert not any("flex" in alarm for alarm in alarms)
