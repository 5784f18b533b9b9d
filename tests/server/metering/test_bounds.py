"""Bounds: what a call can cost at most (law W8, T40)."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.metering.golden_costs import PRICES

from fwd_server.metering.bounds import (
    InputSize,
    count_choices,
    find_bound_output,
    find_output_limit,
    fit_output,
    likely_cost,
    measure_input,
    prepare_bound,
)
from fwd_server.metering.costs import cost
from fwd_server.metering.price_file import join_layers, parse_prices
from fwd_server.metering.prices import ModelPrice
from fwd_server.values.usage import Usage

TABLE = join_layers([parse_prices(PRICES)])
DAYS = ["2026-11-30", "2026-12-01"]
MODELS = ["gpt-a", "cl-b", "cl-h", "gem-c", "gr-d", "lo-k", "pp-p", "req-j", "odd-l"]
SIZES = st.integers(0, 400_000)


def bound_cost(
    price: ModelPrice, day: str, tier: str, prompt: int, completion: int, *, writes_1h: bool = False
) -> int | None:
    return prepare_bound(price, day, tier, writes_1h=writes_1h).cost(prompt, completion)


def price_of(model: str) -> ModelPrice:
    price = TABLE.find("openai", model)
    assert price is not None
    return price


@given(st.data(), st.sampled_from(MODELS), st.sampled_from(DAYS), st.sampled_from(["", "flex", "priority", "batch"]))
def test_a_bound_is_at_least_the_cost_of_every_usage_within_it(
    data: st.DataObject, model: str, day: str, tier: str
) -> None:
    """W8: whatever the tokens are called, and whether the tier that answers is the requested or the base one."""
    prompt, completion = data.draw(SIZES), data.draw(SIZES)
    writes_1h = data.draw(st.booleans())
    bound = bound_cost(price_of(model), day, tier, prompt, completion, writes_1h=writes_1h)
    assert bound is not None
    real, said = data.draw(st.integers(0, prompt)), data.draw(st.integers(0, completion))
    cached = data.draw(st.integers(0, real))
    write = data.draw(st.integers(0, real - cached))
    usage = Usage(
        prompt=real,
        completion=said,
        cached=cached,
        cache_write=write,
        cache_write_1h=data.draw(st.integers(0, write)) if writes_1h else 0,
        reasoning=data.draw(st.integers(0, said)),
        tier=data.draw(st.sampled_from([tier, "", "default"])),
    )
    result = cost(usage, price_of(model), day)
    assert result.nano is not None
    assert result.nano <= bound


@given(st.sampled_from(MODELS), SIZES, st.integers(0, 10**10), st.integers(1, 3))
def test_the_output_that_fits_fits_and_one_more_does_not(model: str, prompt: int, free: int, choices: int) -> None:
    price = price_of(model)
    fits = fit_output(price, "2026-12-01", "", prompt, free, choices)
    bound = bound_cost(price, "2026-12-01", "", prompt, fits * choices)
    assert bound is not None
    if fits:
        assert bound <= free + 1  # a bound is rounded up
        more = bound_cost(price, "2026-12-01", "", prompt, (fits + 1) * choices)
        assert more is not None
        assert more > free - 1


def test_a_million_tokens_of_output_are_bound_by_the_models_limit() -> None:
    """T40: no max_tokens, and a budget of a cent."""
    price = ModelPrice("p", "m", price_of("gem-c").tiers, max_output=1_048_576)
    completion = find_bound_output(find_output_limit({}), count_choices({}), price)
    assert completion == 1_048_576
    bound = bound_cost(price, "2026-12-01", "", 5, completion)
    assert bound is not None
    assert bound > 10**7


@pytest.mark.parametrize(
    ("body", "limit", "choices"),
    [({}, None, 1), ({"max_tokens": 5}, 5, 1), ({"max_completion_tokens": 7, "max_tokens": 5}, 7, 1),
     ({"max_output_tokens": 9, "n": 3}, 9, 3), ({"max_tokens": "5", "n": 0}, None, 1), ({"n": True}, None, 1)],
)  # fmt: skip
def test_the_output_limit_is_read_in_every_language(body: dict[str, Any], limit: int | None, choices: int) -> None:
    assert (find_output_limit(body), count_choices(body)) == (limit, choices)


def test_unknown_prices_have_no_bound() -> None:
    assert bound_cost(price_of("emb-m"), "2026-12-01", "", 5, 1) is None
    assert bound_cost(price_of("emb-m"), "2026-12-01", "", 5, 0) == 650
    assert bound_cost(price_of("wh-g"), "2026-12-01", "", 5, 1) is None
    assert likely_cost(price_of("emb-m"), "2026-12-01", "", 5, 1) is None
    assert likely_cost(price_of("gpt-a"), "2026-12-01", "", 5, 1) == 20_000


def message(*parts: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
    data = {"messages": [{"role": "user", "content": list(parts)}]}
    return json.dumps(data).encode(), data


def uri(kind: str, size: int) -> str:
    return f"data:{kind};base64," + base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        ({"type": "image_url", "image_url": {"url": uri("image/png", 90_000)}}, 3000),
        ({"type": "file", "file": {"file_data": uri("application/pdf", 19_000)}}, 3000),
        ({"type": "file", "file": {"file_data": uri("application/pdf", 39_000)}}, 6000),
        ({"type": "input_audio", "input_audio": {"format": "wav", "data": uri("x", 6000)[14:]}}, 120),
        ({"type": "video_url", "video_url": {"url": uri("video/mp4", 9_000)}}, 300),
    ],
)
def test_files_are_counted_by_what_they_are_not_by_their_base64(part: dict[str, Any], tokens: int) -> None:
    body, data = message(part, {"type": "text", "text": "Hello"})
    size = measure_input(body, SimpleNamespace(body=data))
    assert size.media_tokens == tokens
    assert size.text_bytes < 200


def test_a_body_without_files_is_its_length() -> None:
    body, data = message({"type": "text", "text": "the word data: alone"})
    assert measure_input(body, SimpleNamespace(body=data)) == InputSize(len(body))
    assert InputSize(7).bound_tokens() == 4
    assert InputSize(7).bound_tokens(3) == 3
    assert InputSize(7, 10).likely_tokens() == 12
