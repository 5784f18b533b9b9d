"""The table of providers, and the recipe for one more."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from attrs import fields
from kit.fakeup import Fakeup, Seen, Step, completion, json_answer
from kit.gateways import gateway

from fwd_server.providers import LANGUAGES
from fwd_server.settings.schema import TIMES
from fwd_server.values import provider_info
from fwd_server.values.provider_info import PROVIDER_TABLE, ProviderInfo, featured_names, stem_of
from fwd_server.values.secret import Secret

CONTRIBUTING = Path(__file__).parents[3] / "CONTRIBUTING.md"
KEY = "fwd_" + "r" * 43
ROWS = pytest.mark.parametrize("info", PROVIDER_TABLE.values(), ids=lambda info: info.name)


@ROWS
def test_a_row_can_be_used(info: ProviderInfo) -> None:
    """Its name is a prefix and a part of variables, its language has a codec, its times are those there are."""
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,31}", info.name)
    assert info.language in LANGUAGES
    assert set(info.timeouts) <= set(TIMES)
    assert info.models_path.startswith("/")
    assert info.key_required or info.any_variable or info.built_in or not info.featured


@ROWS
def test_an_address_is_https_or_on_this_machine(info: ProviderInfo) -> None:
    """A key never travels readable by default, and the address has no slash at its end that would double."""
    url = urlsplit(info.base_url)
    assert not info.base_url or url.scheme == ("http" if url.hostname == "localhost" else "https")
    assert not url.path.endswith("/")
    assert info.base_url or info.address_form.startswith("https://") or not info.key_required, "what may it look like?"


def test_names_families_and_variables_belong_to_one_provider() -> None:
    """Otherwise two rows would claim the same call or the same variable."""
    families = [family for info in PROVIDER_TABLE.values() for family in info.families]
    assert not any(a != b and a.startswith(b) for a in families for b in families)
    assert len({stem_of(name) for name in PROVIDER_TABLE}) == len(PROVIDER_TABLE)
    assert list(PROVIDER_TABLE) == [info.name for info in PROVIDER_TABLE.values()]


def test_what_is_built_in_comes_last_in_lists() -> None:
    """After all providers that are asked over the network."""
    assert featured_names()[-1] == "echo"
    assert [name for name, info in PROVIDER_TABLE.items() if info.built_in] == ["echo"]


def test_the_key_travels_as_the_row_says() -> None:
    """Where it stays a secret, and nothing is sent without one."""
    auths = {name: PROVIDER_TABLE[name].auth for name in ("openai", "anthropic", "google")}
    shown = {
        name: [(h, s.display_text()) for h, s in auth.header_pair(Secret("k", "KEY"))] for name, auth in auths.items()
    }
    assert shown == {
        "openai": [("authorization", "Bearer $KEY")],
        "anthropic": [("x-api-key", "$KEY")],
        "google": [("x-goog-api-key", "$KEY")],
    }
    assert all(auth.header_pair(None) == () for auth in auths.values())


def test_every_field_of_a_row_is_explained() -> None:
    """The docstring is the reference of whoever adds a row."""
    text = ProviderInfo.__doc__ or ""
    assert [field.name for field in fields(ProviderInfo) if f"``{field.name}``" not in text] == []


def recipe() -> ProviderInfo:
    """The row that CONTRIBUTING.md adds."""
    (code,) = re.findall(r"```python\n(ProviderInfo\(.*?\))\n```", CONTRIBUTING.read_text(encoding="utf-8"), re.DOTALL)
    row = eval(code, vars(provider_info))  # the document is ours
    assert isinstance(row, ProviderInfo)
    return row


@pytest.mark.gen_test
async def test_the_recipe_for_one_more_provider_ends_in_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row is enough: settings, prefix, key, list of models and a call."""
    row = recipe()
    sent: list[tuple[str, str | None]] = []

    def answer(seen: Seen) -> list[Step]:
        sent.append((seen.target, seen.headers.get("authorization")))
        listed = {"data": [{"id": "large"}]}
        return [json_answer(listed if seen.target.endswith("/models") else completion("Hello from Acme"))]

    monkeypatch.setitem(PROVIDER_TABLE, row.name, row)
    stem = stem_of(row.name)
    with Fakeup(answer) as up:
        env = {f"{stem}_BASE_URL": up.url, f"{stem}_API_KEY": "sk-acme"}
        async with (
            gateway(tmp_path, KEY, **env) as running,
            httpx.AsyncClient(base_url=running.url, headers={"Authorization": f"Bearer {KEY}"}) as client,
        ):
            body = {"model": f"{row.name}:large", "messages": [{"role": "user", "content": "Hi"}]}
            answered = await client.post("/v1/chat/completions", json=body)
            models = await client.get("/v1/models")
    assert answered.status_code == 200, answered.text
    assert answered.json()["choices"][0]["message"]["content"] == "Hello from Acme"
    assert f"{row.name}:large" in {model["id"] for model in models.json()["data"]}
    assert sent == [("/v1/chat/completions", "Bearer sk-acme"), ("/v1/models", "Bearer sk-acme")]
