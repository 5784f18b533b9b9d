"""Which providers there are, and which of them can be used."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from kit.plans import written_plan

from fwd_server.providers import LANGUAGES
from fwd_server.routing.planner import Routes
from fwd_server.settings import load_settings
from fwd_server.settings.endpoints import build_endpoints
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import ProviderNotConfigured
from fwd_server.values.provider_info import PROVIDER_TABLE, ProviderInfo, provider_info


def fleet(languages: Collection[str] = LANGUAGES, **env: str) -> dict[str, Endpoint]:
    """The endpoints that these variables make."""
    return build_endpoints(load_settings({}, env).settings, languages)


def test_the_order_is_known_providers_then_compat_then_echo() -> None:
    """As people see them in lists."""
    env = {"FWD_COMPAT": "vllm,box", "VLLM_BASE_URL": "http://x", "BOX_BASE_URL": "http://y"}
    expected = ["openai", "anthropic", "google", "groq", "openrouter", "ollama", "vllm", "box", "echo"]
    assert list(fleet(**env)) == expected


def test_without_settings_only_echo_is_on() -> None:
    """And every other one says which variable turns it on."""
    found = fleet()
    assert [name for name, endpoint in found.items() if endpoint.enabled] == ["echo"]
    assert [endpoint.enabled_by for endpoint in found.values()] == [
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GOOGLE_API_KEY",
        "GROQ_API_KEY",
        "OPENROUTER_API_KEY",
        "OLLAMA_BASE_URL",
        "FWD_ECHO",
    ]


def test_a_key_turns_a_provider_on_and_is_bound_to_its_address() -> None:
    """Contract S11."""
    openai = fleet(OPENAI_API_KEY="sk-1", OPENAI_BASE_URL="https://eu.api.openai.com/v1/")["openai"]
    assert openai.enabled
    assert openai.key is not None
    assert (openai.base_url, openai.key.reveal()) == ("https://eu.api.openai.com/v1", "sk-1")
    assert openai.key_name == "OPENAI_API_KEY"


def test_a_server_of_compat_is_on_and_spoken() -> None:
    """It needs no key, and speaks OpenAI's language."""
    vllm = fleet(FWD_COMPAT="vllm", VLLM_BASE_URL="http://x", VLLM_MODEL="vllm:m")["vllm"]
    assert (vllm.enabled, vllm.available, vllm.default_model) == (True, True, "vllm:m")
    assert vllm.enabled_by == "VLLM_BASE_URL"


@pytest.mark.parametrize("info", [i for i in PROVIDER_TABLE.values() if i.key_required], ids=lambda info: info.name)
def test_a_provider_of_the_table_is_one_key_away(info: ProviderInfo) -> None:
    """Or two variables, where only the owner knows the address; without them it is off, and says what to set."""
    stem = info.name.upper()
    setup = {f"{stem}_API_KEY": "k"} if info.base_url else {f"{stem}_API_KEY": "k", f"{stem}_BASE_URL": "https://x"}
    off, on = fleet(**{f"{stem}_MODEL": "m"})[info.name], fleet(**setup)[info.name]
    assert (off.enabled, on.enabled) == (False, True)
    assert (off.enabled_by, on.base_url) == (" and ".join(setup), info.base_url or "https://x")


def test_a_key_alone_does_not_turn_on_what_has_no_address() -> None:
    """An Azure key reaches nothing by itself; the message names both variables."""
    azure = fleet(AZURE_API_KEY="k")["azure"]
    assert (azure.enabled, azure.enabled_by) == (False, "AZURE_API_KEY and AZURE_BASE_URL")


@pytest.mark.parametrize("name", [name for name, info in PROVIDER_TABLE.items() if not info.featured])
def test_a_provider_of_the_table_appears_once_it_is_named(name: str) -> None:
    """By a variable of its own, in FWD_COMPAT (as it had to be once) or in the priority list; else in no list."""
    stem = name.upper()
    setup = {f"{stem}_API_KEY": "k", f"{stem}_BASE_URL": "http://x", f"{stem}_MODEL": "m"}
    assert name not in fleet()
    for variable, value in setup.items():
        needed = {} if provider_info(name).base_url else {f"{stem}_BASE_URL": "http://x"}
        assert name in fleet(**{**needed, variable: value})
    assert name in fleet(**setup, FWD_COMPAT=name)
    assert fleet(**setup, PROVIDERS_PRIORITY=name)[name].enabled
    assert name not in fleet(**{f"{stem}_USE_V1": "1"}), "its own programs read variables of that name, too"


def test_a_provider_without_codec_is_not_available() -> None:
    """It is known all the same."""
    found = fleet(languages=("openai", "echo"))
    unspoken = [name for name, endpoint in found.items() if not endpoint.available]
    assert unspoken == ["anthropic", "google", "ollama"]


def test_echo_can_be_turned_off() -> None:
    """Then its prefix is answered by naming the variable."""
    found = fleet(FWD_ECHO="false")
    assert not found["echo"].enabled
    with pytest.raises(ProviderNotConfigured, match="set FWD_ECHO"):
        written_plan(Routes(found), "echo:")


def test_ollama_is_on_when_mentioned_and_tried_on_its_prefix_in_any_case() -> None:
    """Design section 4."""
    assert not fleet()["ollama"].enabled
    assert [d.name for d in written_plan(Routes(fleet()), "ollama:llama3:8b")] == ["ollama:llama3:8b"]
    assert fleet(OLLAMA_MODEL="llama3:8b")["ollama"].enabled


def test_openrouter_is_told_about_the_app_when_that_is_set() -> None:
    """By two headers, and nobody else is."""
    found = fleet(FWD_OPENROUTER_REFERER="https://app.example", FWD_OPENROUTER_TITLE="My app")
    expected = (("http-referer", "https://app.example"), ("x-openrouter-title", "My app"))
    assert found["openrouter"].headers == expected
    assert found["openai"].headers == ()
    assert fleet()["openrouter"].headers == ()
