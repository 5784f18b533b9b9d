"""Settings and tools as Gemini takes them, beside what the wire fixtures show."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.providers.google.helpers import (
    NEWER,
    OLDER,
    TOOL,
    calls,
    config,
    opened,
    refusal,
    result,
    user,
)

# -- tools


def test_a_name_gemini_refuses_is_changed_everywhere_and_comes_back() -> None:
    tools = [{"type": "function", "function": {"name": "9lives"}}]
    choice = {"type": "function", "function": {"name": "9lives"}}
    messages = [user("Hi"), calls("9lives"), result(0, "1")]
    exchange = opened(tools=tools, tool_choice=choice, messages=messages)
    assert exchange.body["tools"] == [{"functionDeclarations": [{"name": "_9lives"}]}]
    assert exchange.body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["_9lives"]
    assert exchange.body["contents"][1]["parts"][0]["functionCall"]["name"] == "_9lives"
    answer = exchange.answer(b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"_9lives"}}]}}]}')
    assert answer.data["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "9lives"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"mode": "auto", "tools": [TOOL]}, {"mode": "VALIDATED", "allowedFunctionNames": ["ping"]}),
        ({"mode": "required", "tools": [TOOL]}, {"mode": "ANY", "allowedFunctionNames": ["ping"]}),
    ],
)
def test_every_mode_of_tool_choice(choice: Any, sent: dict[str, Any]) -> None:
    """Pitfall 37."""
    wanted = {"type": "allowed_tools", "allowed_tools": choice} if isinstance(choice, dict) else choice
    exchange = opened(tools=[TOOL], tool_choice=wanted)
    assert exchange.body["toolConfig"] == {"functionCallingConfig": sent}
    assert exchange.dropped == ()


def test_a_choice_without_tools_is_lost_and_said() -> None:
    assert opened(tool_choice="required").dropped == ("tool_choice",)
    assert opened(tool_choice="auto").dropped == ()


# -- settings


@pytest.mark.parametrize(
    ("effort", "model", "thinking"),
    [
        ("none", "gemini-3.5-flash", {"thinkingLevel": "MINIMAL", "includeThoughts": False}),
        ("none", "gemini-3.8-flash", {"thinkingLevel": "LOW", "includeThoughts": False}),
        ("medium", "gemini-3.8-flash", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("max", "gemini-3.8-flash", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("none", "gemini-2.5-pro", {"thinkingBudget": 128, "includeThoughts": False}),
        ("low", "gemini-2.5-pro", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("xhigh", "gemini-2.5-flash", {"thinkingBudget": 24576, "includeThoughts": True}),
    ],
)
def test_effort_is_a_level_or_a_budget(effort: str, model: str, thinking: dict[str, Any]) -> None:
    assert config(model, reasoning_effort=effort) == {"thinkingConfig": thinking}


def test_effort_is_lost_on_a_model_that_does_not_think() -> None:
    assert opened("gemma-3-27b-it", reasoning_effort="low").dropped == ("reasoning_effort",)


def test_the_callers_own_thinking_takes_the_place_of_effort() -> None:
    """A level and a budget together are 400."""
    thinking = {"thinkingConfig": {"thinkingBudget": 7}}
    expected = {"thinkingConfig": {"thinkingBudget": 7, "includeThoughts": True}}
    assert config(reasoning_effort="low", google=thinking) == expected
    assert config(google=thinking) == thinking


def test_sampling_goes_where_it_is_taken() -> None:
    body = {"temperature": 0.1, "top_k": 3, "frequency_penalty": 1, "n": 2, "logprobs": True, "top_logprobs": 4}
    exchange = opened("gemini-3.5-flash", **body)
    expected = {"temperature": 0.1, "topK": 3, "candidateCount": 2, "responseLogprobs": True, "logprobs": 4}
    assert exchange.body["generationConfig"] == expected
    assert exchange.dropped == ("frequency_penalty",)
    assert opened("gemini-3.8-flash", **body).dropped == ("temperature", "top_k", "frequency_penalty")


@pytest.mark.parametrize(("seed", "sent"), [(7, 7), (-1, -1), (2**31, 0), (2**40 + 3, 3)])
def test_a_long_seed_is_folded_into_32_bits(seed: int, sent: int) -> None:
    assert config(seed=seed) == {"seed": sent}


@pytest.mark.parametrize(
    ("tier", "sent", "dropped"),
    [("default", "standard", ()), ("fast", "priority", ()), ("auto", None, ()), ("scale", None, ("service_tier",))],
)
def test_service_tiers_have_other_names(tier: str, sent: str | None, dropped: tuple[str, ...]) -> None:
    exchange = opened(service_tier=tier)
    assert (exchange.body.get("serviceTier"), exchange.dropped) == (sent, dropped)


def test_json_without_a_schema_is_a_media_type() -> None:
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    assert config(response_format={"type": "text"}) == {}


def test_pictures_are_asked_of_models_that_draw() -> None:
    modalities = {"modalities": ["text", "image"]}
    assert config("gemini-3-pro-image-preview", **modalities) == {"responseModalities": ["TEXT", "IMAGE"]}
    assert refusal(**modalities).param == "modalities"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 9}, "n"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"tools": [{"type": "custom", "custom": {"name": "a"}}]}, "tools[0]"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {"name": "a"}}}, "tool_choice"),
        ({"google": "x"}, "google"),
        ({"google": {"tools": {}}}, "google.tools"),
        ({"reasoning_effort": "turbo"}, "reasoning_effort"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    assert refusal(**body).param == param


@pytest.mark.parametrize("form", [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "a"}}])
def test_tools_and_json_together_need_a_newer_model(form: dict[str, Any]) -> None:
    """Pitfall 25."""
    assert refusal(OLDER, tools=[TOOL], response_format=form).param == "response_format"
    assert opened(NEWER, tools=[TOOL], response_format=form).dropped == ()


def test_googles_own_words_are_merged_last() -> None:
    google = {"safetySettings": [{"category": "c"}], "tools": [{"googleSearch": {}}], "generationConfig": {"topP": 1}}
    body = opened(tools=[TOOL], top_p=0.5, google=google).body
    assert body["tools"] == [{"functionDeclarations": [{"name": "ping"}]}, {"googleSearch": {}}]
    assert body["safetySettings"] == [{"category": "c"}]
    assert body["generationConfig"] == {"topP": 1}


def test_what_has_no_counterpart_is_named() -> None:
    """Nothing is lost silently."""
    lost = {"user": "u", "logit_bias": {"1": 1}, "store": True, "verbosity": "low", "anthropic": {}}
    assert opened(**lost).dropped == tuple(lost)
