"""What is known about models."""

from __future__ import annotations

from importlib import resources

import orjson
import pytest

from fwd_server.providers.model_catalog import CatalogModel, ModelCatalog, load_catalog

TABLES = ("models.json", "prices.json")


def test_the_table_is_read_once() -> None:
    """Contract S23: a file of the package, whole, and the same object ever after."""
    assert load_catalog() is load_catalog()
    assert load_catalog().generated == "2026-11-22"
    assert {model.provider for model in load_catalog().models_of("groq")} == {"groq"}


@pytest.mark.parametrize("name", ["gpt-5", "gpt-5-2025-08-07", "gpt-5-20250807", "gpt-5@20250807"])
def test_a_snapshot_is_its_model(name: str) -> None:
    """A dated name has the abilities of the model it was taken of."""
    found = load_catalog().find_model("openai", name)
    assert found is not None
    assert found.id == "gpt-5"
    assert found.reasons
    assert found.price_usd_per_mtok["input"] == 1.25


def test_an_unknown_model_is_only_unknown() -> None:
    """The provider decides about it; nothing is guessed from another provider's model."""
    assert load_catalog().find_model("openai", "gpt-99") is None
    assert load_catalog().find_model("groq", "gpt-5") is None


def test_a_table_can_be_handed_in() -> None:
    """Tests and embedders bring their own."""
    model = CatalogModel("tiny", "local", supports={"reasoning": False})
    assert ModelCatalog([model]).find_model("local", "tiny") is model
    assert not model.reasons


def test_no_price_is_shown_that_this_table_cannot_say() -> None:
    """One that changes on a known day is unknown here, and so is one whose step for long prompts is missing."""
    tables = [orjson.loads(resources.files("fwd_server").joinpath(name).read_bytes()) for name in TABLES]
    listed, priced = ({(row["provider"], row["id"]): row for row in table["models"]} for table in tables)
    wrong = []
    for key in listed.keys() & priced.keys():
        rates = [rate for rate in priced[key]["rates"] if "tier" not in rate]
        step = listed[key].get("long_context_price_usd_per_mtok", {})
        for meter, price in listed[key]["price_usd_per_mtok"].items():
            changes = any("since" in rate for rate in rates)
            has_step = any(rate.keys() & {"above", "from"} and meter in rate for rate in rates)
            if price is not None and (changes or (has_step and step.get(meter) is None)):
                wrong.append((*key, meter))
    assert wrong == []
