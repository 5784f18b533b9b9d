"""A chat completion as a call of the Messages API."""

from __future__ import annotations

from typing import Any

import pytest
from tests.server.providers.anthropic.helpers import MODEL, OLD, WEATHER, opened, sent, text

from fwd_server.values.errors import Refused

CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "Hi"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "a", "content": "ok"},
]
SIGNED = {"type": "reasoning.text", "text": "T", "signature": "S", "format": "anthropic-claude-v1", "index": 0}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 999_999_999}, 128_000),
        ({"max_tokens": None}, 128_000),
        ({"model": "anthropic:claude-next", "max_tokens": None}, 8192),
        ({"model": "anthropic:claude-next", "max_tokens": 500_000}, 500_000),
        ({"model": "anthropic:claude-3-haiku-20240307", "max_tokens": None}, 4096),
    ],
)
def test_the_longest_answer(call: dict[str, Any], expected: int) -> None:
    """The API wants a number: the model's own where the caller gave none, and never more than that."""
    assert sent(**call)["max_tokens"] == expected


def test_a_long_answer_is_asked_for_as_a_stream() -> None:
    """Quiet connections are cut before it is done."""
    assert "stream" not in sent(max_tokens=16_000)
    assert sent(max_tokens=16_001)["stream"] is True
    assert opened(max_tokens=16_001).request.stream


@pytest.mark.parametrize(
    ("call", "param"),
    [
        ({"n": 2}, "n"),
        ({"audio": {"voice": "a", "format": "wav"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"anthropic": []}, "anthropic"),
        ({"anthropic": {"model": "claude-3-opus"}}, "anthropic.model"),
        ({"anthropic": {"stream": True}}, "anthropic.stream"),
        ({"anthropic": {"messages": []}}, "anthropic.messages"),
        ({"reasoning_effort": "immense"}, "reasoning_effort"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, None),
    ],
)
def test_what_claude_cannot_do_is_refused(call: dict[str, Any], param: str | None) -> None:
    """Before anything is sent, naming the parameter."""
    with pytest.raises(Refused) as caught:
        opened(**call)
    assert caught.value.param == (param or "response_format.json_schema.schema")


def test_what_claude_has_no_word_for_is_dropped_and_said() -> None:
    """Known fields and unknown ones, in the caller's order."""
    exchange = opened(seed=0, verbosity="low", metadata={"a": "b"}, google={"x": 1}, logprobs=True, n=1)
    assert exchange.dropped == ("seed", "verbosity", "metadata", "google", "logprobs")


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "output"),
    [
        ("claude-opus-5", "minimal", {"type": "adaptive", "display": "summarized"}, {"effort": "low"}),
        ("claude-opus-5", "xhigh", {"type": "adaptive", "display": "summarized"}, {"effort": "xhigh"}),
        ("claude-opus-4-6", "xhigh", {"type": "adaptive", "display": "summarized"}, {"effort": "high"}),
        ("claude-opus-4-6", "max", {"type": "adaptive", "display": "summarized"}, {"effort": "max"}),
        ("claude-opus-5", None, None, None),
        ("claude-opus-5", "none", {"type": "disabled"}, None),
        ("claude-opus-4-7", "none", None, None),
        ("claude-haiku-4-5", "none", None, None),
        ("claude-opus-5-5", "none", None, {"effort": "low"}),
        ("claude-haiku-4-5", "low", {"type": "enabled", "budget_tokens": 2048}, None),
        ("claude-haiku-4-5", "max", {"type": "enabled", "budget_tokens": 8000}, None),
    ],
)
def test_effort(model: str, effort: str | None, thinking: Any, output: Any) -> None:
    """As each model takes it, and its nearest value."""
    body = sent(model=f"anthropic:{model}", max_tokens=10_000, reasoning_effort=effort)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, output)


@pytest.mark.parametrize(("model", "tokens"), [("claude-haiku-4-5", 1279), ("claude-3-5-haiku-latest", 4000)])
def test_effort_that_cannot_be_made_is_dropped(model: str, tokens: int) -> None:
    """Too few tokens for a budget, or a model that does not think."""
    exchange = opened(model=f"anthropic:{model}", max_tokens=tokens, reasoning_effort="low")
    assert exchange.dropped == ("reasoning_effort",)
    assert "thinking" not in exchange.body


def test_effort_and_form_share_a_field() -> None:
    """Neither replaces the other."""
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {}}}}
    assert set(sent(reasoning_effort="low", response_format=form)["output_config"]) == {"effort", "format"}


@pytest.mark.parametrize("strict", [True, False, None])
def test_an_open_schema_is_closed_unless_it_is_strict(strict: bool | None) -> None:
    """A strict one is refused rather than changed."""
    schema = {"type": "object", "additionalProperties": True}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": strict}}
    if strict:
        with pytest.raises(Refused, match=r"response_format\.json_schema\.schema"):
            opened(response_format=form)
    else:
        assert sent(response_format=form)["output_config"]["format"]["schema"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("extra", "dropped"),
    [({"reasoning_effort": "low"}, "reasoning_effort"), ({"thinking": {"type": "enabled"}}, "thinking")],
)
def test_thinking_gives_way_to_a_forced_choice(extra: dict[str, Any], dropped: str) -> None:
    """The API takes a budget or a forced choice, not both."""
    exchange = opened(model=OLD, max_tokens=9000, tools=[WEATHER], tool_choice="required", **extra)
    assert exchange.dropped == (dropped,)
    assert "thinking" not in exchange.body


def test_thinking_gives_way_to_a_history_without() -> None:
    """Pitfall 27: after a call the API expects the thinking that led to it."""
    call = {"model": OLD, "max_tokens": 9000, "tools": [WEATHER], "reasoning_effort": "low"}
    assert opened(messages=CALLED, **call).dropped == ("reasoning_effort",)
    signed = [CALLED[0], {**CALLED[1], "reasoning_details": [SIGNED]}, CALLED[2]]
    assert opened(messages=signed, **call).body["thinking"]["type"] == "enabled"


def test_sampling_of_older_models() -> None:
    """Temperature in their range; each alone; none beside thinking (pitfall 35)."""
    assert sent(model=OLD, temperature=-1)["temperature"] == 0
    assert {"top_p": 0.5, "top_k": 3}.items() <= sent(model=OLD, top_p=0.5, top_k=3).items()
    exchange = opened(model=OLD, max_tokens=9000, reasoning_effort="low", temperature=0.5)
    assert exchange.dropped == ("temperature",)


@pytest.mark.parametrize(
    ("stop", "expected", "dropped"),
    [
        ("END", ["END"], ()),
        (["a", " "], ["a"], ("stop[1]",)),
        (["\n"], None, ("stop",)),
        ([], None, ()),
        (None, None, ()),
    ],
)
def test_stop(stop: Any, expected: Any, dropped: tuple[str, ...]) -> None:
    """White space alone is an error there."""
    exchange = opened(stop=stop)
    assert (exchange.body.get("stop_sequences"), exchange.dropped) == (expected, dropped if stop else exchange.dropped)


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("u-1", True),
        ("a@b.example", False),
        ("+49 (30) 123-456", False),
        ("x" * 257, False),
        ("a\nb", False),
        ("123456", True),
    ],
)
def test_who_asks_is_told_only_by_an_opaque_id(value: str, passes: bool) -> None:
    """No address and no number of a person, nothing odd; and it is said when it stays here."""
    exchange = opened(user=value)
    assert exchange.body.get("metadata") == ({"user_id": value} if passes else None)
    assert exchange.dropped == (() if passes else ("user",))


def test_the_safety_identifier_goes_first() -> None:
    """The newer field; the older one where it cannot be used."""
    assert sent(user="u", safety_identifier="s")["metadata"] == {"user_id": "s"}
    exchange = opened(user="u", safety_identifier="a@b")
    assert exchange.body["metadata"] == {"user_id": "u"}
    assert exchange.dropped == ("safety_identifier",)


@pytest.mark.parametrize(
    ("tier", "expected", "dropped"),
    [("auto", "auto", ()), ("fast", "auto", ()), ("flex", "standard_only", ()), ("scale", None, ("service_tier",))],
)
def test_tiers(tier: str, expected: str | None, dropped: tuple[str, ...]) -> None:
    """Two words for all of OpenAI's."""
    exchange = opened(service_tier=tier)
    assert (exchange.body.get("service_tier"), exchange.dropped) == (expected, dropped)


def test_json_mode_is_a_sentence() -> None:
    """After what the caller says, and also where that has become a turn of the user."""
    rule = {"role": "system", "content": "Rule"}
    form = {"type": "json_object"}
    body = sent(messages=[rule, {"role": "user", "content": "Hi"}], response_format=form)
    assert body["system"] == [text("Rule"), text("Answer with one JSON object only.")]
    assert sent(messages=[rule], response_format=form)["system"] == [text("Answer with one JSON object only.")]
    assert "system" not in sent(response_format={"type": "text"})


def test_extras_go_as_they_are() -> None:
    """Last of all the object for this provider, and the one for whoever is selected."""
    extras = {"thinking": {"type": "adaptive"}, "cache_control": {"type": "ephemeral"}, "speed": "fast"}
    exchange = opened(**extras, anthropic={"container": {"id": "c"}}, extra_body={"container": {"skills": []}})
    body = exchange.body
    assert exchange.dropped == ()
    assert body.items() >= extras.items()
    assert body["container"] == {"id": "c", "skills": []}


def test_four_cache_marks_and_the_last_ones_stay() -> None:
    """In the order of the prompt: tools, system, messages; one at the top counts too."""
    mark = {"cache_control": {"type": "ephemeral"}}
    marked = {**text("x"), **mark}
    messages = [
        {"role": "system", "content": [marked]},
        {**CALLED[0], **mark},
        CALLED[1],
        {**CALLED[2], "content": [marked], **mark},
    ]
    call = {"tools": [{**WEATHER, **mark}], "messages": messages}
    exchange = opened(**call)
    assert exchange.dropped == ("cache_control",)
    assert "cache_control" not in exchange.body["tools"][0]
    assert "cache_control" in exchange.body["system"][0]
    result = opened(**call, **mark).body["messages"][2]["content"][0]
    assert "cache_control" in result
    assert "cache_control" in result["content"][0]
    assert "cache_control" not in opened(**call, **mark).body["system"][0]


def test_the_same_call_is_the_same_bytes() -> None:
    """Pitfall 34: a prefix that changes is a cache that is written and never read."""
    call = {"messages": CALLED, "tools": [WEATHER], "reasoning_effort": "low", "model": MODEL}
    assert opened(**call).request.body == opened(**call).request.body
