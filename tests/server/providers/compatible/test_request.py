"""The caller's object, edited for each OpenAI-compatible provider."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from tests.server.providers.golden import CLOCK, MODELS, chat_request, deployment, fresh_ids, open_exchange

from fwd_server.providers import compatible
from fwd_server.providers.base import ChatExchange, UpstreamRequest
from fwd_server.providers.model_catalog import CatalogModel, ModelCatalog
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.errors import Refused
from fwd_server.values.secret import Secret

HI = [{"role": "user", "content": "Hi"}]


def exchange(name: str, **body: Any) -> ChatExchange:
    request = chat_request(**{"model": f"{name}:{MODELS.get(name, 'some-model')}", **body})
    before = copy.deepcopy(request.body)
    opened = open_exchange(name, request)
    assert request.body == before, "the caller's object is never changed in place"
    return opened


def upstream(opened: ChatExchange) -> UpstreamRequest:
    assert isinstance(opened.request, UpstreamRequest)
    return opened.request


def sent(name: str, **body: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(upstream(exchange(name, **body)).body)
    return {key: value for key, value in found.items() if key not in ("model", "messages")}


def turns(name: str, *messages: dict[str, Any]) -> Any:
    return orjson.loads(upstream(exchange(name, messages=list(messages))).body)["messages"]


@pytest.mark.parametrize("name", ["openai", "groq", "openrouter", "local"])
def test_an_unknown_field_travels(name: str) -> None:
    """What nobody here knows reaches a provider that speaks the caller's language, at any depth."""
    assert sent(name, seed=7, brand_new={"deep": [1, None]}) == {"seed": 7, "brand_new": {"deep": [1, None]}}


def test_extra_body_is_merged_last() -> None:
    """Deeply, over what the row made of the rest."""
    body = sent(
        "local", max_completion_tokens=5, logit_bias={"1": 1}, extra_body={"max_tokens": 9, "logit_bias": {"2": 2}}
    )
    assert body == {"max_tokens": 9, "logit_bias": {"1": 1, "2": 2}}


def test_headers_are_made_from_scratch() -> None:
    """Contract T18: a type, the key, and what the operator configured; lower-case names."""
    assert upstream(exchange("openai")).path == "/chat/completions"
    shown = [(n, v.display_text() if isinstance(v, Secret) else v) for n, v in upstream(exchange("openrouter")).headers]
    assert shown == [
        ("content-type", "application/json"),
        ("authorization", "Bearer $API_KEY"),
        ("http-referer", "https://example.com"),
        ("x-openrouter-title", "Forwarder"),
    ]


def test_a_server_without_a_key_gets_none() -> None:
    """A local server needs no key."""
    codec = compatible.provider("local").chat
    assert codec is not None
    opened = codec.open(chat_request(model="local:m"), Deployment(Endpoint("local"), "m"), CLOCK, fresh_ids())
    assert upstream(opened).headers == (("content-type", "application/json"),)


# -- what is common


@pytest.mark.parametrize("asked", [{}, {"stream_options": {"include_usage": False}}, {"stream_options": None}])
def test_usage_is_always_asked_for(asked: Any) -> None:
    """So that every stream can be metered."""
    assert sent("local", stream=True, **asked)["stream_options"] == {"include_usage": True}


def test_padding_is_openais_alone() -> None:
    """include_obfuscation goes to OpenAI and is dropped, with a note, elsewhere."""
    options = {"include_obfuscation": False}
    assert sent("openai", stream=True, stream_options=options)["stream_options"]["include_obfuscation"] is False
    opened = exchange("local", stream=True, stream_options=options)
    assert opened.dropped == ("stream_options.include_obfuscation",)


@pytest.mark.parametrize(
    ("name", "model", "field"),
    [
        ("openai", "gpt-4o", "max_completion_tokens"),
        ("groq", "llama-3.1-8b-instant", "max_completion_tokens"),
        ("openrouter", "a/b", "max_completion_tokens"),
        ("local", "m", "max_tokens"),
    ],
)
def test_one_cap_is_sent(name: str, model: str, field: str) -> None:
    """max_completion_tokens wins where both are given, under the name the provider reads."""
    assert sent(name, model=f"{name}:{model}", max_tokens=1, max_completion_tokens=2) == {field: 2}


@pytest.mark.parametrize("name", ["groq", "openrouter"])
def test_several_choices_are_refused_where_there_is_one(name: str) -> None:
    """n changes the answer, so it is never dropped; n of 1 is no error."""
    assert sent(name, n=1) == {"n": 1}
    with pytest.raises(Refused, match=r"'n' must be 1 for this model\.") as caught:
        exchange(name, n=2)
    assert (caught.value.param, caught.value.code, caught.value.status) == ("n", "unsupported_parameter", 400)


@pytest.mark.parametrize(("name", "role"), [("openai", "developer"), ("groq", "system"), ("local", "system")])
def test_only_openai_knows_developers(name: str, role: str) -> None:
    """Everybody else reads the same message as the system's."""
    assert turns(name, {"role": "developer", "content": "Terse."}, *HI)[0]["role"] == role


def test_tools_and_calls_lose_our_extensions() -> None:
    """extra_content and cache_control are 400 at OpenAI."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": {}}
    turn = {"role": "assistant", "tool_calls": [call], "reasoning_details": []}
    assert turns("local", *HI, turn, {"role": "tool", "tool_call_id": "c", "content": "1"})[1] == {
        "role": "assistant",
        "tool_calls": [{key: value for key, value in call.items() if key != "extra_content"}],
    }
    tools = [{"type": "function", "function": {"name": "f"}, "cache_control": {}}]
    assert sent("local", tools=tools)["tools"] == [{"type": "function", "function": {"name": "f"}}]


# -- what earlier answers said

SERVERS = {"vllm": "reasoning", "vllm-2": "reasoning", "sglang": "reasoning_content", "kimi": "reasoning_content"}
NAMED = {**SERVERS, "deepseek": "reasoning_content", "openrouter": "reasoning", "glm": "reasoning_content"}
NOT_NAMED = ["openai", "groq", "mistral", "local", "together", "kimichi"]
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "1"}


@pytest.mark.parametrize("given", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize(("name", "own"), NAMED.items())
def test_reasoning_goes_back_under_the_servers_own_name(name: str, own: str, given: str) -> None:
    """Both names mean the same to callers; every server reads one of them."""
    turn = {"role": "assistant", "content": "", "tool_calls": [CALL], given: "hm"}
    expected = {"role": "assistant", "content": "", "tool_calls": [CALL], own: "hm"}
    assert turns(name, *HI, turn, RESULT)[1] == expected
    assert exchange(name, messages=[*HI, turn, RESULT]).dropped == ()


@pytest.mark.parametrize("given", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("name", NOT_NAMED)
def test_reasoning_that_a_server_does_not_read_is_named(name: str, given: str) -> None:
    """Many refuse the field; a turn that has nothing else keeps an empty text."""
    turn = {"role": "assistant", "content": None, given: "hm"}
    opened = exchange(name, messages=[*HI, turn, *HI])
    assert opened.dropped == (f"messages[1].{given}",)
    assert orjson.loads(upstream(opened).body)["messages"][1] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    ("setting", "sent_fields"),
    [
        ("reasoning", {"reasoning": "hm"}),
        ("reasoning_content", {"reasoning_content": "hm"}),
        ("none", {}),
        ("", {"reasoning": "hm"}),
    ],
)
def test_the_operator_names_it(setting: str, sent_fields: dict[str, str]) -> None:
    """``<NAME>_REASONING``; without it a server's name says which software it is."""
    codec = compatible.provider("vllm").chat
    assert codec is not None
    call = chat_request(model="vllm:m", messages=[*HI, {"role": "assistant", "content": "x", "reasoning": "hm"}, *HI])
    opened = codec.open(call, Deployment(Endpoint("vllm", reasoning=setting), "m"), CLOCK, fresh_ids())
    assert orjson.loads(upstream(opened).body)["messages"][1] == {"role": "assistant", "content": "x", **sent_fields}
    assert opened.dropped == (() if sent_fields else ("messages[1].reasoning",))


REFUSAL_PART = {"type": "refusal", "refusal": "No."}
TEXT_PART = {"type": "text", "text": "No."}


@pytest.mark.parametrize("name", ["groq", "mistral", "local", "deepseek", "together"])
@pytest.mark.parametrize(
    ("turn", "content"),
    [
        ({"content": None, "refusal": "No."}, "No."),
        ({"content": "", "refusal": "No."}, "No."),
        ({"refusal": "No."}, "No."),
        ({"content": "I see.", "refusal": "No."}, "I see.\n\nNo."),
        ({"content": [REFUSAL_PART]}, [TEXT_PART]),
        (
            {"content": [{"type": "text", "text": "I see."}, REFUSAL_PART]},
            [{"type": "text", "text": "I see."}, TEXT_PART],
        ),
        (
            {"content": [{"type": "text", "text": "I see."}], "refusal": "No."},
            [{"type": "text", "text": "I see."}, TEXT_PART],
        ),
        ({"content": "x", "refusal": None}, "x"),
    ],
)
def test_a_refusal_is_text_where_there_is_no_field_for_it(name: str, turn: dict[str, Any], content: Any) -> None:
    """Alone, beside an empty text, beside a text, and as a part: what was said is said."""
    message = {"role": "assistant", **turn}
    assert turns(name, *HI, message, *HI)[1] == {"role": "assistant", "content": content}
    assert exchange(name, messages=[*HI, message, *HI]).dropped == ()


@pytest.mark.parametrize("name", ["openai", "openrouter"])
@pytest.mark.parametrize("turn", [{"content": None, "refusal": "No."}, {"content": [REFUSAL_PART]}])
def test_a_refusal_stays_one_where_there_is_a_field_for_it(name: str, turn: dict[str, Any]) -> None:
    message = {"role": "assistant", **turn}
    assert turns(name, *HI, message, *HI)[1] == message


@pytest.mark.parametrize(
    ("name", "messages", "dropped"),
    [
        ("groq", [{"role": "system", "content": "s", "name": "rules"}, *HI], ("messages[0].name",)),
        ("mistral", [{"role": "user", "content": "s", "name": "bob"}], ("messages[0].name",)),
        ("openai", [{"role": "user", "content": "s", "name": "bob"}], ()),
        ("groq", [*HI, {"role": "assistant", "tool_calls": [CALL]}, {**RESULT, "name": "f"}], ()),
        ("groq", [*HI, {"role": "assistant", "content": "x", "audio": {"id": "a"}}], ("messages[1].audio",)),
        ("groq", [*HI, {"role": "assistant", "content": "x", "annotations": [{"type": "x"}], "audio": None}], ()),
        ("local", [{"role": "user", "content": "s", "cache_control": {"type": "x"}}], ("messages[0].cache_control",)),
        (
            "local",
            [{"role": "user", "content": [{"type": "text", "text": "s", "cache_control": {"type": "x"}}]}],
            ("messages[0].content[0].cache_control",),
        ),
        (
            "openai",
            [*HI, {"role": "assistant", "tool_calls": [{**CALL, "index": 0, "extra_content": {"a": 1}}]}, RESULT],
            ("messages[1].tool_calls[0].extra_content",),
        ),
        ("groq", [{"role": "user", "content": "s", "name": "bob"}] * 5, ("messages[*].name",)),
    ],
)
def test_what_is_left_out_of_the_history_is_named(name: str, messages: Any, dropped: tuple[str, ...]) -> None:
    """By its path; what the rest says too is not lost, and many alike have one name."""
    assert exchange(name, messages=messages).dropped == dropped


def test_what_is_left_out_of_a_tool_is_named() -> None:
    tool = {"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}
    assert exchange("local", tools=[tool]).dropped == ("tools[0].cache_control",)
    assert exchange("openrouter", tools=[tool]).dropped == ()


# -- OpenAI


@pytest.mark.parametrize(
    ("model", "reasons"),
    [("gpt-6-luna", True), ("o3", True), ("gpt-4o", False), ("gpt-7-nova", True), ("o9", True), ("my-model", False)],
)
def test_reasoning_models_take_no_sampling(model: str, reasons: bool) -> None:
    """By the table; by the name where the table does not know it yet."""
    opened = exchange("openai", model=f"openai:{model}", top_p=0.5, logprobs=True)
    assert opened.dropped == (("top_p", "logprobs") if reasons else ())


def test_a_temperature_of_one_may_stay() -> None:
    """It is what they do anyway."""
    assert sent("openai", temperature=1, top_p=0.5) == {"temperature": 1}


@pytest.mark.parametrize(
    ("model", "asked", "given"),
    [
        ("gpt-5", "none", "minimal"),
        ("gpt-5", "max", "high"),
        ("gpt-6-luna", "minimal", "none"),
        ("gpt-5", "odd", "odd"),
    ],
)
def test_an_effort_is_the_nearest_one_the_model_takes(model: str, asked: str, given: str) -> None:
    """By the table; a word nobody knows is the provider's to refuse."""
    assert sent("openai", model=f"openai:{model}", reasoning_effort=asked) == {"reasoning_effort": given}


def test_without_reasoning_sampling_is_legal() -> None:
    """reasoning_effort none on a model that has it."""
    body = {"reasoning_effort": "none", "temperature": 0.2}
    assert sent("openai", **body) == body


# -- Groq


@pytest.mark.parametrize(
    ("model", "asked", "given"),
    [
        ("openai/gpt-oss-20b", "none", {"reasoning_effort": "low"}),
        ("openai/gpt-oss-20b", "medium", {"reasoning_effort": "medium"}),
        ("qwen/qwen3-32b", "high", {"reasoning_effort": "default", "reasoning_format": "parsed"}),
        ("qwen/qwen3-32b", "none", {"reasoning_effort": "none", "reasoning_format": "parsed"}),
        ("qwen/qwen3.8-27b", "xhigh", {"reasoning_effort": "high", "reasoning_format": "parsed"}),
        ("qwen/qwen3.8-27b", "none", {"reasoning_effort": "none", "reasoning_format": "parsed"}),
        ("llama-3.1-8b-instant", "high", {}),
    ],
)
def test_groqs_efforts_are_those_of_the_family(model: str, asked: str, given: Any) -> None:
    """https://console.groq.com/docs/reasoning"""
    opened = exchange("groq", model=f"groq:{model}", reasoning_effort=asked)
    assert sent("groq", model=f"groq:{model}", reasoning_effort=asked) == given
    assert opened.dropped == (() if given else ("reasoning_effort",))


@pytest.mark.parametrize("said", [{"reasoning_format": "raw"}, {"include_reasoning": False}])
def test_the_callers_own_reasoning_format_stays(said: Any) -> None:
    """The gateway's choice is only a default."""
    assert sent("groq", model="groq:qwen/qwen3-32b", **said) == said


@pytest.mark.parametrize(("asked", "given"), [("default", "on_demand"), ("scale", "auto"), ("flex", "flex")])
def test_groq_has_names_of_its_own_for_tiers(asked: str, given: str) -> None:
    """The answer is renamed back."""
    assert sent("groq", service_tier=asked) == {"service_tier": given}


def test_groq_takes_functions_only() -> None:
    """A custom tool changes the answer, so it is refused."""
    with pytest.raises(Refused, match="only accepts tools of type 'function'"):
        exchange("groq", tools=[{"type": "custom", "custom": {"name": "x"}}])


def test_groq_gets_no_nulls_in_messages() -> None:
    """They are 400 there; content may be null beside calls."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call], "function_call": None, "audio": None}
    kept = turns("groq", *HI, turn, {"role": "tool", "tool_call_id": "c", "content": "1"})[1]
    assert kept == {"role": "assistant", "content": None, "tool_calls": [call]}


# -- OpenRouter


def test_openrouter_counts_unasked() -> None:
    """Options without effect are not sent."""
    assert sent("openrouter", stream=True, stream_options={"include_usage": True}, usage={"include": True}) == {
        "stream": True
    }


def test_openrouter_gets_one_effort() -> None:
    """Two that differ are an error there."""
    reasoning = {"effort": "low"}
    assert sent("openrouter", reasoning=reasoning, reasoning_effort="high") == {"reasoning": reasoning}
    assert exchange("openrouter", reasoning=reasoning, reasoning_effort="high").dropped == ("reasoning_effort",)
    assert exchange("openrouter", reasoning=reasoning, reasoning_effort="low").dropped == ()
    assert sent("openrouter", reasoning_effort="high") == {"reasoning_effort": "high"}


def test_openrouter_keeps_cache_marks() -> None:
    """It translates them for the provider behind it."""
    part = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    assert turns("openrouter", {"role": "user", "content": [part]})[0]["content"] == [part]


# -- the table of models


def test_a_table_can_be_handed_in() -> None:
    """No file is read but on demand, and another table may take its place."""
    codec = compatible.provider("openai", lambda: ModelCatalog([CatalogModel("gpt-9", "openai")])).chat
    assert codec is not None
    opened = codec.open(chat_request(model="gpt-9", top_p=0.5), deployment("openai", "gpt-9"), CLOCK, fresh_ids())
    assert opened.dropped == ()
