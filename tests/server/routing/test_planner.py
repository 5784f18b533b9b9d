"""From a model's name to a plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.plans import written_plan

from fwd_server.routing.planner import KEPT_NAMES, Routes
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import BadRequest, ModelNotFound, ProviderNotAvailable, ProviderNotConfigured

NAMES = ("openai", "anthropic", "google", "groq", "openrouter", "ollama", "local", "echo")


def routes(*priority: str, off: tuple[str, ...] = (), unspoken: tuple[str, ...] = ()) -> Routes:
    """Every provider on, but for those named."""
    found = {
        name: Endpoint(
            name,
            default_model=f"{name}-default",
            enabled=name not in off,
            enabled_by=f"{name.upper()}_API_KEY",
            available=name not in unspoken,
            always_tried=name == "ollama",
        )
        for name in NAMES
    }
    return Routes(found, priority, ("openai:gpt-6-luna", "groq:llama-x", "openrouter:openrouter/auto"))


def names(model: str | None, *priority: str, fallback: bool = True, off: tuple[str, ...] = ()) -> list[str]:
    return [deployment.name for deployment in written_plan(routes(*priority, off=off), model, fallback=fallback)]


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("openai:gpt-x", "openai:gpt-x"),
        ("anthropic:claude-x", "anthropic:claude-x"),
        ("ollama:llama3:8b", "ollama:llama3:8b"),
        ("openrouter:meta-llama/llama-3:free", "openrouter:meta-llama/llama-3:free"),
        ("local:any/model@v1", "local:any/model@v1"),
        ("echo:", "echo:"),
        ("echo:slow?ttft=500ms&rate=50", "echo:slow?ttft=500ms&rate=50"),
        ("gpt-6", "openai:gpt-6"),
        ("chatgpt-4o-latest", "openai:chatgpt-4o-latest"),
        ("o1", "openai:o1"),
        ("o3-mini", "openai:o3-mini"),
        ("o4-mini", "openai:o4-mini"),
        ("text-embedding-3-small", "openai:text-embedding-3-small"),
        ("claude-opus-4.8", "anthropic:claude-opus-4.8"),
        ("gemini-3-pro", "google:gemini-3-pro"),
        ("ft:gpt-6:org", None),
        # Names people bring from elsewhere: a slash after a provider, and any case of the provider.
        ("openai/gpt-6", "openai:gpt-6"),
        ("anthropic/claude-x", "anthropic:claude-x"),
        ("OPENAI:gpt-X", "openai:gpt-X"),
        ("Google/gemini-3-pro", "google:gemini-3-pro"),
        ("openrouter/meta-llama/llama-3:free", "openrouter:meta-llama/llama-3:free"),
        ("openrouter/auto", "openrouter:openrouter/auto"),
        ("openrouter:openrouter/auto", "openrouter:openrouter/auto"),
        ("echo/slow", "echo:slow"),
        ("meta-llama/llama-3", None),
        ("openai/", None),
    ],
)
def test_prefixes_and_families(model: str, found: str | None) -> None:
    """Design, *Routing*: first match wins, only the first colon counts."""
    if found is None:
        with pytest.raises(ModelNotFound):
            names(model)
    else:
        assert names(model) == [found]


def test_a_model_then_the_rest_of_the_list() -> None:
    """Design, *Fallback*: its own provider first, and it does not come twice."""
    assert names("groq:x", "openai", "groq", "local") == ["groq:x", "openai:openai-default", "local:local-default"]


def test_an_echo_answers_nobody_who_named_a_model() -> None:
    """It stands in where no model was named, and where it was named itself."""
    assert names("groq:x", "openai", "echo") == ["groq:x", "openai:openai-default"]
    assert names(None, "openai", "echo") == ["openai:openai-default", "echo:echo-default"]
    assert names("echo:slow", "openai", "echo") == ["echo:slow", "openai:openai-default"]
    with pytest.raises(ProviderNotConfigured, match="GROQ_API_KEY"):
        names("groq:x", "echo", off=("groq",))


def test_no_model_is_the_list() -> None:
    assert names(None, "openai", "echo") == ["openai:openai-default", "echo:echo-default"]


def test_without_fallback_only_the_first() -> None:
    """x-fwd-fallback: none."""
    assert names("groq:x", "openai", fallback=False) == ["groq:x"]
    assert names(None, "openai", "echo", fallback=False) == ["openai:openai-default"]


def test_a_provider_without_key_leaves_the_call_to_the_list() -> None:
    """Design, *Routing*: with a priority list the list is tried first."""
    assert names("groq:x", "openai", "groq", off=("groq",)) == ["openai:openai-default"]


def test_a_provider_without_key_names_the_variable() -> None:
    with pytest.raises(ProviderNotConfigured, match="GROQ_API_KEY") as caught:
        names("groq:x", off=("groq",))
    assert (caught.value.status, caught.value.should_retry) == (503, False)


def test_a_provider_that_nothing_sets_up_is_not_a_typing_error() -> None:
    """It is in the provider table and in no list: the answer names the variable, and a priority list is tried first."""
    with pytest.raises(ProviderNotConfigured, match="set MISTRAL_API_KEY"):
        names("mistral:large")
    assert names("mistral:large", "openai") == ["openai:openai-default"]
    with pytest.raises(ModelNotFound, match="'mistral:large'"):
        names("mistrall:large")


def test_ollama_is_tried_on_its_prefix_in_any_case() -> None:
    assert names("ollama:llama3", off=("ollama",)) == ["ollama:llama3"]


def test_a_provider_not_spoken_yet_is_501() -> None:
    with pytest.raises(ProviderNotAvailable, match="google") as caught:
        written_plan(routes(unspoken=("google",)), "gemini-3-pro")
    assert (caught.value.status, caught.value.code) == (501, "provider_not_available")


def test_no_model_and_no_list_says_what_to_set() -> None:
    with pytest.raises(BadRequest, match="PROVIDERS_PRIORITY") as caught:
        written_plan(routes(), None)
    assert caught.value.code == "model_required"


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("opneai:gpt-x", "'openai:gpt-x'"),
        ("antropic:c", "'anthropic:c'"),
        ("gtp-6-luna", "'openai:gpt-6-luna'"),
        ("ehco:", "'echo:'"),
        ("grok", "'groq:MODEL'"),
        ("openai:", "'openai:MODEL'"),
    ],
)
def test_near_names_are_suggested(model: str, near: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        written_plan(routes(), model)
    assert near in caught.value.message


@given(st.sampled_from(["openai", "groq", "local"]), st.text("abcXYZ-:/.@_1", min_size=1, max_size=40))
def test_the_form_with_a_slash_means_the_form_with_a_colon(provider: str, model: str) -> None:
    """Whatever the model is called, and in any case of the provider; the model's own case is kept."""
    expected = names(f"{provider}:{model}")
    assert expected == [f"{provider}:{model}"]
    assert names(f"{provider.upper()}:{model}") == expected
    if ":" not in model:
        assert names(f"{provider}/{model}") == names(f"{provider.title()}/{model}") == expected


def test_a_plan_is_made_once_for_a_name() -> None:
    """The same tuple again, apart for calls that may fall back and those that may not; never more than are allowed."""
    table = routes("openai")
    first = written_plan(table, "groq:x")
    assert written_plan(table, "groq:x") is first
    assert written_plan(table, "groq:x", fallback=False) == first[:1]
    assert written_plan(routes("echo"), "groq:x") != first, "another table has plans of its own"
    for number in range(KEPT_NAMES + 10):
        written_plan(table, f"groq:{number}")
    assert len(table._reachable) <= KEPT_NAMES
    assert written_plan(table, "groq:x") == first


@pytest.mark.parametrize("model", ["", "a b", "x" * 129, "gpt-\n", "é", "gpt-x?" + "a" * 600, "openai:", "google:"])
def test_names_that_cannot_be_are_refused(model: str) -> None:
    """T17: letters, digits and . _ : / @ - only."""
    with pytest.raises(ModelNotFound):
        written_plan(routes(), model)
