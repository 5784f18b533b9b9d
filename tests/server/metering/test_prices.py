"""Price tables: what a file may say, what refuses it whole, and which rate applies."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_server.metering.money import format_usd, parse_usd, show_usd, to_nano
from fwd_server.metering.packaged import build_price_table, load_packaged_prices
from fwd_server.metering.price_file import PriceFileError, join_layers, parse_prices
from fwd_server.metering.price_text import dump_layer
from fwd_server.metering.prices import METERS, UNITS, PriceTable

FILE: dict[str, Any] = {
    "schema": 2,
    "as_of": "2026-12-01",
    "currency": "USD",
    "unit": "USD per 1,000,000 tokens; units per piece",
    "models": [
        {
            "provider": "openai",
            "id": "gpt",
            "aliases": ["gpt-latest"],
            "max_output": 1000,
            "rates": [
                {"input": 2, "output": 10, "cached_input": 0.25},
                {"since": "2027-01-01", "input": 3, "output": 12},
                {"since": "2027-01-01", "above": 100, "input": 4, "output": 14},
                {"tier": "flex", "input": 1, "output": 5},
            ],
            "units": {"web_search": 0.01},
        },
        {"provider": "mine", "id": "*", "rates": [{"input": 0, "output": 0}]},
        {"provider": "mine", "id": "big-*", "rates": [{"input": 1, "output": 1}]},
    ],
    "providers": {"alike": {"like": "openai"}},
}


def table_of(value: object) -> PriceTable:
    return join_layers([parse_prices(json.dumps(value).encode())])


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = copy.deepcopy(FILE)
    change(value)
    return json.dumps(value).encode()


BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "schema is not 2": lambda f: f.update(schema=1),
    "as_of is not a day": lambda f: f.update(as_of="20261201"),
    "currency is not USD": lambda f: f.update(currency="EUR"),
    "unit is not": lambda f: f.update(unit="USD per token"),
    "extra is unknown": lambda f: f.update(extra=1),
    "models is not a list": lambda f: f.update(models={}),
    "models[0] is not an object": lambda f: f["models"].__setitem__(0, 5),
    "models[0].provider is missing": lambda f: f["models"][0].pop("provider"),
    "models[0].id is not a valid name": lambda f: f["models"][0].update(id="a b"),
    "models[0].colour is unknown": lambda f: f["models"][0].update(colour=1),
    "models[0].aliases is not a list": lambda f: f["models"][0].update(aliases="x"),
    "models[0].max_output is not a whole number": lambda f: f["models"][0].update(max_output=0),
    "models[0].rates is not a list": lambda f: f["models"][0].update(rates={}),
    "models[0].rates[0].input is not between": lambda f: f["models"][0]["rates"][0].update(input=-1),
    "models[0].rates[0].output is not between": lambda f: f["models"][0]["rates"][0].update(output=100_001),
    "models[0].rates[0].input has more than 6 decimals": lambda f: f["models"][0]["rates"][0].update(input=0.1234567),
    "models[0].rates[0].input is not a number": lambda f: f["models"][0]["rates"][0].update(input="2"),
    "models[0].rates[1].input is not a number": lambda f: f["models"][0]["rates"][1].update(input=True),
    "models[0].rates[0].inputs is unknown": lambda f: f["models"][0]["rates"][0].update(inputs=2),
    "models[0].rates[3].tier is not a tier": lambda f: f["models"][0]["rates"][3].update(tier="default"),
    "models[0].rates[1].since is not a day": lambda f: f["models"][0]["rates"][1].update(since="2027-02-30"),
    "models[0].rates[2] has both above and from": lambda f: f["models"][0]["rates"][2].update({"from": 7}),
    "models[0].rates[1] repeats": lambda f: f["models"][0]["rates"][1].pop("since"),
    "models[0].rates[1] is a step without a base rate": lambda f: f["models"][0]["rates"].pop(1),
    "models[0].units.web_search has more than 9 decimals": lambda f: f["models"][0]["units"].update(
        web_search=0.0000000001
    ),
    "models[0].units.searches is unknown": lambda f: f["models"][0]["units"].update(searches=1),
    "models[1] has neither rates nor units": lambda f: f["models"][1].pop("rates"),
    "models[1].rates[0] prices nothing": lambda f: f["models"][1].update(rates=[{"input": None}]),
    "models[3] repeats mine:*": lambda f: f["models"].append(f["models"][1]),
    "names another model too": lambda f: f["models"].append(f["models"][0] | {"id": "other"}),
    "providers.alike is not an object": lambda f: f["providers"].update(alike="openai"),
    "providers.other.like names a provider": lambda f: f["providers"].update(other={"like": "alike"}),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_one_wrong_value_refuses_the_file_and_names_its_path(problem: str) -> None:
    with pytest.raises(PriceFileError) as caught:
        parse_prices(changed(BROKEN[problem]))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"\xff", b"{", b'{"schema": NaN}', b'{"schema": 2, "schema": 2}', b"[" * 100_000]
)
def test_what_is_no_price_file_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(PriceFileError):
        parse_prices(data)


def test_every_problem_is_named_at_once() -> None:
    def spoil(file: dict[str, Any]) -> None:
        file["models"][0]["rates"][0]["input"] = -1
        file["models"][1]["rates"][0]["output"] = "x"

    with pytest.raises(PriceFileError) as caught:
        parse_prices(changed(spoil))
    assert len(caught.value.problems) == 2


GOOD = parse_prices(json.dumps(FILE).encode())
PATHS = [
    *[("models", 0, "rates", index, meter) for index in range(4) for meter in ("input", "output")],
    ("models", 1, "rates", 0, "input"),
    ("models", 0, "units", "web_search"),
    ("models", 0, "max_output"),
]


@given(
    st.sampled_from(PATHS),
    st.one_of(
        st.integers(max_value=-1), st.integers(min_value=1 << 41), st.text(), st.booleans(), st.lists(st.integers()),
        st.floats(0, 1000).filter(lambda number: number * 10**9 % 1 != 0),
    ),
)  # fmt: skip
def test_a_broken_number_anywhere_takes_nothing(path: tuple[Any, ...], wrong: object) -> None:
    """M10: the file is refused whole, and what is in use stays as it is."""
    value = copy.deepcopy(FILE)
    place: Any = value
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    before = dump_layer(GOOD)
    with pytest.raises(PriceFileError):
        parse_prices(json.dumps(value).encode())
    assert dump_layer(GOOD) == before


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("openai", "gpt", "gpt"),
        ("openai", "gpt-latest", "gpt"),
        ("openai", "gpt-2026-01-01", "gpt"),
        ("openai", "gpt-20260101", "gpt"),
        ("openai", "gpt-x", None),
        ("mine", "whatever", "*"),
        ("mine", "big-one", "big-*"),
        ("alike", "gpt", "gpt"),
        ("alike", "other", None),
        ("unheard", "gpt", None),
    ],
)
def test_a_model_is_found_by_id_snapshot_alias_prefix_and_likeness(
    provider: str, model: str, found: str | None
) -> None:
    table = table_of(FILE)
    for _ in range(2):  # the second look is from memory
        price = table.find(provider, model)
        assert (price.id if price else None) == found


@pytest.mark.parametrize(
    ("day", "tier", "prompt", "rate"),
    [
        ("2026-12-31", "", 10**6, 2),
        ("2027-01-01", "", 100, 3),
        ("2027-01-01", "", 101, 4),
        ("2027-01-01", "flex", 101, 1),
        ("2027-01-01", "scale", 101, 4),
    ],
)
def test_the_latest_day_then_the_largest_step_applies(day: str, tier: str, prompt: int, rate: int) -> None:
    price = table_of(FILE).find("openai", "gpt")
    assert price is not None
    picked, is_priced = price.find_rate(day, tier, prompt)
    assert picked is not None
    assert picked.input == rate * 10**6
    assert is_priced == (tier != "scale")


def test_a_layer_above_wins_and_changes_the_id() -> None:
    other = {"schema": 2, "as_of": "2026-12-02", "currency": "USD", "models": [FILE["models"][0] | {"aliases": []}]}
    other["models"][0]["rates"] = [{"input": 9, "output": 9}]
    lower = parse_prices(json.dumps(FILE).encode())
    joined = join_layers([parse_prices(json.dumps(other).encode()), lower])
    price = joined.find("openai", "gpt")
    assert price is not None
    assert price.find_rate("2027-01-01", "", 5)[0].input == 9 * 10**6  # type: ignore[union-attr]
    assert joined.id != join_layers([lower]).id
    assert len(joined.id) == 12
    assert len(joined.list_models()) == 3


def test_a_table_written_and_read_again_is_the_same() -> None:
    for layer in (parse_prices(json.dumps(FILE).encode()), load_packaged_prices()):
        again = parse_prices(dump_layer(layer))
        assert (again.models, again.like, again.as_of) == (layer.models, layer.like, layer.as_of)


def test_the_packaged_table_prices_every_model_of_the_catalog() -> None:
    """What it leaves out is on purpose: OpenRouter's router costs what the model it chooses costs."""
    from fwd_server.providers import model_catalog

    catalog = model_catalog.load_catalog()
    table = build_price_table()
    for provider in ("openai", "anthropic", "google", "groq", "openrouter", "ollama"):
        unknown = [model.id for model in catalog.models_of(provider) if table.find(provider, model.id) is None]
        assert unknown == (["openrouter/auto"] if provider == "openrouter" else [])
    assert table.find("compat", "anything") is None


@pytest.mark.parametrize(
    ("model", "day", "usd"),
    [("gemini-4-argon", "2026-11-30", 2), ("gemini-4-argon", "2026-12-01", 4),
     ("gemini-3.8-flash", "2026-12-31", 0.75), ("gemini-3.8-flash", "2027-01-01", 1.5)],
)  # fmt: skip
def test_prices_that_will_change_are_in_the_table_before_they_do(model: str, day: str, usd: float) -> None:
    price = build_price_table().find("google", model)
    assert price is not None
    rate, _ = price.find_rate(day, "", 1)
    assert rate is not None
    assert rate.input == usd * 10**6


def test_no_meter_of_the_packaged_table_is_cheaper_than_free() -> None:
    for price in load_packaged_prices().models.values():
        for sets in price.tiers.values():
            for rate in (rate for rates in sets for rate in rates.rates):
                assert all((getattr(rate, meter) or 0) >= 0 for meter in METERS)
        assert set(price.units) <= set(UNITS)


@pytest.mark.parametrize(
    ("text", "nano"),
    [("5", 5 * 10**9), ("2.50", 25 * 10**8), ("$5", 5 * 10**9), ("5usd", 5 * 10**9), ("0.000000001", 1)],
)  # fmt: skip
def test_an_amount_is_read_exactly(text: str, nano: int) -> None:
    assert parse_usd(text) == nano
    assert parse_usd(format_usd(nano)) == nano


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1.0000000001", "5 eur", "1,5", "99999999999", "٣", "5\n6"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        parse_usd(text)


def test_amounts_are_shown_with_at_least_two_decimals() -> None:
    assert [show_usd(nano) for nano in (0, 5 * 10**9, 482_500, -(10**8))] == ["0.00", "5.00", "0.0004825", "-0.10"]
    assert format_usd(482_500) == "0.000482500"
    assert to_nano(0.1) == 10**8
