"""What Gemini is sent, beside what the wire fixtures show."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.providers.google.helpers import (
    NEWER,
    OLDER,
    TOOL,
    calls,
    config,
    contents,
    opened,
    refusal,
    result,
    user,
)

from fwd_server.providers.google.request import PLACEHOLDER, traits_of

PICTURE = "data:image/png;base64,iVBOR"


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def file(**data: Any) -> dict[str, Any]:
    return {"type": "file", "file": data}


# -- models


@pytest.mark.parametrize(
    ("model", "newer", "thinking"),
    [
        ("gemini-3.8-flash", True, "level"),
        ("gemini-7-unheard-of", True, "level"),
        ("gemini-next-latest", True, "level"),
        ("gemini-2.5-flash-preview-09-2025", False, "budget"),
        ("gemini-2.0-flash", False, None),
        ("gemma-3-27b-it", False, None),
        ("tuned", False, None),
    ],
)
def test_a_model_is_judged_by_the_table_or_by_its_name(model: str, newer: bool, thinking: str | None) -> None:
    traits = traits_of(model)
    assert (traits.newer, traits.thinking) == (newer, thinking)


# -- turns


def test_the_first_turn_is_always_the_users() -> None:
    first, second = contents({"role": "assistant", "content": "Hello"}, model=OLDER)
    assert first == {"role": "user", "parts": [{"text": " "}]}
    assert second == {"role": "model", "parts": [{"text": "Hello"}]}


def test_a_later_system_message_stays_in_its_place() -> None:
    """Pitfall 33: what comes before it is still the same prefix."""
    body = opened(messages=[user("Hi"), {"role": "system", "content": "Be brief."}]).body
    assert body["contents"] == [{"role": "user", "parts": [{"text": "Hi"}, {"text": "<system>Be brief.</system>"}]}]
    assert "systemInstruction" not in body


def test_empty_texts_are_left_out_and_media_alone_get_a_blank() -> None:
    """Pitfall 19; Gemini wants some text beside a picture."""
    empty = {"role": "assistant", "content": ""}
    assert contents(user(image(PICTURE)), empty) == [
        {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBOR"}}, {"text": " "}]}
    ]


@pytest.mark.parametrize("role", ["user", "system", "assistant"])
def test_a_conversation_that_says_nothing_is_refused(role: str) -> None:
    assert refusal(messages=[{"role": role, "content": ""}]).param == "messages"


def test_a_refusal_goes_back_as_text() -> None:
    said = {"role": "assistant", "content": None, "refusal": "No."}
    parts = {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]}
    assert contents(user("Hi"), said, parts)[1]["parts"] == [{"text": "No."}, {"text": "Never."}]


# -- signatures

SIGNED = {"extra_content": {"google": {"thought_signature": "QUJD"}}}


def test_a_texts_signature_goes_back_on_the_text() -> None:
    assert contents(user("Hi"), {"role": "assistant", "content": "Yes", **SIGNED})[1]["parts"] == [
        {"text": "Yes", "thoughtSignature": "QUJD"}
    ]


def test_a_signature_without_a_text_goes_back_on_an_empty_one() -> None:
    parts = contents(user("Hi"), calls("ping", content="", **SIGNED), result(0, "1"))[1]["parts"]
    assert parts[0] == {"text": "", "thoughtSignature": "QUJD"}
    assert parts[1]["thoughtSignature"] == PLACEHOLDER


def test_only_the_first_call_of_a_turn_gets_the_placeholder_and_older_models_get_none() -> None:
    """Pitfall 29."""
    for model, expected in ((NEWER, [PLACEHOLDER, None]), (OLDER, [None, None])):
        turns = contents(user("Hi"), calls("a", "b"), result(0, "1"), result(1, "2"), model=model)
        assert [part.get("thoughtSignature") for part in turns[1]["parts"]] == expected


# -- tools


def test_two_calls_with_one_id_are_answered_in_their_order() -> None:
    twice = calls("a", "b")
    twice["tool_calls"][1]["id"] = "0"
    parts = contents(user("Hi"), twice, result(0, "1"), result(0, "2"))[2]["parts"]
    assert [(p["functionResponse"]["name"], p["functionResponse"]["response"]) for p in parts] == [
        ("a", {"output": "1"}),
        ("b", {"output": "2"}),
    ]


@pytest.mark.parametrize(
    ("content", "response"),
    [
        ("[error] no such city", {"error": "no such city"}),
        ("[1]", {"output": "[1]"}),
        ("{broken", {"output": "{broken"}),
        (' {"a": [1, {"b": 2}]}', {"a": [1, {"b": 2}]}),
        ('{"a": [{"$ref": "x"}]}', {"output": '{"a": [{"$ref": "x"}]}'}),
        ('{"$ref": 5}', {"$ref": 5}),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {"output": "a\nb"}),
    ],
)
def test_a_tools_answer_is_an_object(content: Any, response: dict[str, Any]) -> None:
    """Pitfall 16: an object that points is wrapped as text."""
    parts = contents(user("Hi"), calls("ping"), result(0, content))[2]["parts"]
    assert parts[0]["functionResponse"]["response"] == response


def test_pictures_in_a_tools_answer_go_inside_it_or_beside_it() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBOR"}}
    messages = (user("Hi"), calls("ping"), result(0, [image(PICTURE)]))
    newer, older = contents(*messages)[2]["parts"], contents(*messages, model=OLDER)[2]["parts"]
    assert newer[0]["functionResponse"]["parts"] == [picture]
    assert older[1:] == [picture]


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


# -- parts


@pytest.mark.parametrize(
    ("detail", "model", "level"),
    [("low", NEWER, "LOW"), ("original", NEWER, "HIGH"), ("auto", NEWER, None), ("high", OLDER, None)],
)
def test_detail_is_the_resolution_of_newer_models(detail: str, model: str, level: str | None) -> None:
    part = contents(user(image(PICTURE, detail=detail)), model=model)[0]["parts"][0]
    assert part.get("mediaResolution") == (level and {"level": f"MEDIA_RESOLUTION_{level}"})


@pytest.mark.parametrize(("form", "mime"), [("wav", "audio/wav"), ("mp3", "audio/mp3"), ("flac", "audio/flac")])
def test_sound_has_a_media_type(form: str, mime: str) -> None:
    part = {"type": "input_audio", "input_audio": {"data": "UklG", "format": form}}
    assert contents(user(part))[0]["parts"][0] == {"inlineData": {"mimeType": mime, "data": "UklG"}}


@pytest.mark.parametrize("kind", ["image", "file_data", "file_id"])
def test_googles_own_files_go_by_their_address(kind: str) -> None:
    uri = "gs://bucket/cat.png"
    part = image(uri) if kind == "image" else file(**{kind: uri})
    assert contents(user(part))[0]["parts"][0] == {"fileData": {"fileUri": uri}}


@pytest.mark.parametrize(
    ("part", "code", "param"),
    [
        (image("https://a.b/c.png"), "image_link_not_supported", "image_url.url"),
        (image("HTTP://127.0.0.1/"), "image_link_not_supported", "image_url.url"),
        (image("file:///etc/passwd"), None, "image_url.url"),
        (file(file_data="https://a.b/c.pdf"), "image_link_not_supported", "file.file_data"),
        (file(file_id="file-123"), "unsupported_parameter", "file.file_id"),
        ({"type": "video"}, "unsupported_parameter", None),
    ],
)
def test_a_part_that_cannot_be_sent_is_refused_by_name(
    part: dict[str, Any], code: str | None, param: str | None
) -> None:
    """Contract T20: a link is never opened; it is refused where bytes are needed."""
    error = refusal(messages=[user(part)])
    assert error.code == code
    assert error.param == "messages[0].content[0]" + (f".{param}" if param else "")


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
        ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {"name": "a"}}}, "tool_choice"),
        ({"google": "x"}, "google"),
        ({"google": {"tools": {}}}, "google"),
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
