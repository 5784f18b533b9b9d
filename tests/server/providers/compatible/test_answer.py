"""Whole answers of OpenAI-compatible providers."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.providers.golden import chat_request, open_exchange

from fwd_server.values.chat import ChatResponse
from fwd_server.values.errors import UpstreamError
from fwd_server.values.usage import Usage

HEAD = {"id": "c1", "object": "chat.completion", "created": 1795305600, "model": "m"}
TIDY = {"role": "assistant", "content": "Hi", "refusal": None}
COUNT = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}


def body(message: Any = None, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": TIDY if message is None else message, "logprobs": None, "finish_reason": finish}
    return {**HEAD, "choices": [choice], "usage": COUNT, **more}


def answer(data: Any, name: str = "local") -> ChatResponse:
    raw = data if isinstance(data, bytes) else orjson.dumps(data)
    return open_exchange(name, chat_request(model=f"{name}:m")).answer(raw)


def message(data: Any, name: str = "local") -> Any:
    return answer(data, name).data["choices"][0]["message"]


@pytest.mark.parametrize("name", ["openai", "local", "groq", "openrouter"])
def test_a_tidy_answer_keeps_its_bytes(name: str) -> None:
    """Nothing is written again that did not have to change."""
    raw = orjson.dumps(body(), option=orjson.OPT_INDENT_2)
    found = answer(raw, name)
    assert (found.data, found.usage, found.raw) == (body(), Usage(1, 1, cached=1), raw)


def test_an_exact_provider_is_not_tidied() -> None:
    """OpenAI's answer goes out as it came, what nobody here knows included."""
    odd = body({"role": "assistant", "content": None, "brand_new": [1]}, "stop", provider="x")
    assert answer(odd, "openai").raw == orjson.dumps(odd)


@pytest.mark.parametrize(
    ("said", "tidy"),
    [
        ({"content": "Hi"}, TIDY),
        ({"content": None}, {**TIDY, "content": ""}),
        ({"content": None, "refusal": "no"}, {**TIDY, "content": None, "refusal": "no"}),
        ({"content": None, "audio": {"id": "a"}}, {**TIDY, "content": None, "audio": {"id": "a"}}),
        ({"content": "Hi", "tool_calls": []}, TIDY),
        ({"content": "Hi", "reasoning": "hm"}, {**TIDY, "reasoning_content": "hm"}),
        ({"content": "Hi", "reasoning": "hm", "reasoning_content": "ah"}, {**TIDY, "reasoning_content": "ah"}),
        (
            {"content": [{"text": "H"}, {"thinking": [{"text": "hm"}]}, {"text": "i"}]},
            {**TIDY, "reasoning_content": "hm"},
        ),
        ({"content": None, "images": [{"image_url": {"url": "u"}}]}, {**TIDY, "content": "![image](u)"}),
    ],
)
def test_a_message_has_all_its_fields(said: Any, tidy: Any) -> None:
    """content is null only beside calls, a refusal or sound."""
    assert message(body(said)) == tidy


@pytest.mark.parametrize(
    ("call", "tidy"),
    [
        ({"function": {"name": "f", "arguments": ""}}, {"id": "call_fx_0", "arguments": "{}"}),
        ({"id": "", "function": {"name": "f", "arguments": {"x": 1}}}, {"id": "call_fx_0", "arguments": '{"x":1}'}),
        ({"id": "a", "function": {"name": "f", "arguments": "{bro"}}, {"id": "a", "arguments": "{bro"}),
    ],
)
def test_a_call_has_id_and_text(call: Any, tidy: Any) -> None:
    """Pitfalls 7 to 9: made where missing, "{}" for none, broken text as the model wrote it; the reason is the call."""
    found = answer(body({"content": None, "tool_calls": [call]})).data["choices"][0]
    made = {"id": tidy["id"], "type": "function", "function": {"name": "f", "arguments": tidy["arguments"]}}
    assert found["message"] == {**TIDY, "content": None, "tool_calls": [made]}
    assert found["finish_reason"] == "tool_calls"


def test_a_custom_call_passes() -> None:
    """It has no function."""
    call = {"id": "a", "type": "custom", "custom": {"name": "x", "input": "y"}}
    assert message(body({"content": None, "tool_calls": [call]}))["tool_calls"] == [call]


def test_a_missing_head_is_made() -> None:
    """Id, time and model."""
    found = answer({"choices": [{"message": {"content": "Hi"}}]}).data
    assert (found["id"], found["created"], found["model"], found["object"]) == (
        *("chatcmpl-fx", 1795305600, "m"),
        "chat.completion",
    )
    assert found["choices"][0]["finish_reason"] == "stop"


def test_no_usage_is_none() -> None:
    """It is not made up for a whole answer; who meters knows that it is missing."""
    data = {**HEAD, "choices": body()["choices"]}
    assert answer(data).usage is None
    assert "usage" not in answer(data).data


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b"[]", b"7", b"{}", b'{"choices":[]}', b'{"choices":[7]}', b'{"choices":[{"message":7}]}'),
        *(b'{"choices":[{"message":{}},7]}', b'{"choices":{"0":{"message":{}}}}'),
    ],
)
@pytest.mark.parametrize("name", ["openai", "local"])
def test_what_nobody_can_use(name: str, raw: bytes) -> None:
    """Contract F20: malformed, empty, no object, no choices."""
    with pytest.raises(UpstreamError) as caught:
        answer(raw, name)
    assert caught.value.code == "bad_payload"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("message", "content", "index", "tool_calls", "function", "name", "arguments", "id", "images"),
                    *(
                        "finish_reason",
                        "usage",
                        "reasoning",
                        "service_tier",
                        "prompt_tokens",
                        "created",
                        "url",
                        "image_url",
                    ),
                ]
            ),
            inner,
        )
    ),
)


@given(ANYTHING, ANYTHING, st.sampled_from(["openai", "groq", "openrouter", "local"]))
def test_no_answer_breaks_it(choice: Any, rest: Any, name: str) -> None:
    """Whatever a provider says: an answer in our shape, or a failure of the provider's."""
    choices = [{"message": {}, **choice}] if isinstance(choice, dict) else choice
    data = {**(rest if isinstance(rest, dict) else {}), "choices": choices}
    with contextlib.suppress(UpstreamError):
        orjson.dumps(answer(data, name).data)


def test_a_tier_has_openais_name() -> None:
    """Groq's on_demand is the default."""
    assert answer(body(service_tier="on_demand"), "groq").data["service_tier"] == "default"


def test_an_empty_fingerprint_says_nothing() -> None:
    """OpenRouter sends null."""
    assert "system_fingerprint" not in answer(body(system_fingerprint=None), "openrouter").data


@pytest.mark.parametrize(
    ("said", "finish"),
    [
        *((word, word) for word in ("stop", "length", "tool_calls", "content_filter", "function_call")),
        *(("max_tokens", "length"), ("model_length", "length"), ("MAX_TOKENS", "length")),
        *(("tool_use", "tool_calls"), ("tool_call", "tool_calls"), ("safety", "content_filter")),
        *(("end_turn", "stop"), ("eos", "stop"), ("", "stop"), (None, "stop"), (5, "stop")),
    ],
)
def test_finish_reasons_in_openais_words(said: Any, finish: str) -> None:
    assert answer(body(finish=said)).data["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize("word", ["error", "insufficient_system_resource"])
def test_a_finish_reason_that_is_a_failure(word: str) -> None:
    with pytest.raises(UpstreamError):
        answer(body(finish=word))


@pytest.mark.parametrize("created", [None, "x", 0, 1.5])
def test_a_time_that_is_none_is_ours(created: Any) -> None:
    assert answer({**body(), "created": created}).data["created"] == 1795305600
    assert answer({**body(), "created": 7}).data["created"] == 7


@pytest.mark.parametrize(
    ("said", "tier"), [("on_demand", "default"), ("performance", "priority"), ("flex", "flex"), ("auto", "auto")]
)
def test_groqs_tiers_have_openais_names(said: str, tier: str) -> None:
    assert answer(body(service_tier=said), "groq").data["service_tier"] == tier
