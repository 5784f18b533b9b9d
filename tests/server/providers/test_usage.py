"""What providers say they have counted is theirs to get wrong; what the gateway counts is not."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from kit import dialects
from kit.calls import make_call, make_deployment
from kit.dialects import PROVIDERS

from fwd_server.providers import PROVIDERS as CODECS
from fwd_server.values.chat import Chunk, End, StreamEvent
from fwd_server.values.errors import UpstreamError
from fwd_server.values.usage import MAX_TOKENS, Usage

# Counts as no provider should write them, as they would stand in an answer.
COUNTS = (
    *("-1", "-0.5", "-0", "-1e308", "-9223372036854775808", "1e308", "1e30", "18446744073709551615", "1e400", "-1e400"),
    *("NaN", "Infinity", "-Infinity", "null", "true", "false", '""', '"5"', '"-5"', '"NaN"', '"1e9"', '"\\u0000"'),
    *("[]", "[5]", "[-5]", "{}", '{"tokens":5}', "1.5", "4294967296.5", "1099511627777"),
)
NAMES = {
    "openai": ("prompt_tokens", "completion_tokens", "total_tokens", "cost"),
    "anthropic": ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    "google": ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount"),
    "ollama": ("prompt_eval_count", "eval_count"),
}
DETAILS = {"prompt_tokens_details": "cached_tokens", "completion_tokens_details": "reasoning_tokens"}


def lie(provider: str, count: str) -> bytes:
    """An object of usage in which every number is ``count``."""
    names = NAMES.get(provider, NAMES["openai"])
    pairs = [f'"{name}":{count}' for name in names]
    pairs += [f'"{of}":{{"{name}":{count}}}' for of, name in DETAILS.items()] if names is NAMES["openai"] else []
    return b"{" + ",".join(pairs).encode() + b"}"


def lying(provider: str, data: bytes, count: str) -> bytes:
    """An answer or a frame of a stream, whose usage is a lie."""
    said = json.loads(data)
    mark = "@usage@"
    if provider == "ollama":
        pairs = lie(provider, count)[1:-1]
        return (
            json.dumps({key: said[key] for key in said if not key.endswith("_count")})[:-1].encode()
            + b","
            + pairs
            + b"}"
        )
    place = "usageMetadata" if provider == "google" else "usage"
    holder = said["message"] if "usage" in said.get("message", {}) else said
    if place not in holder:
        return data
    holder[place] = mark
    return json.dumps(said).encode().replace(f'"{mark}"'.encode(), lie(provider, count))


@functools.cache
def language(provider: str) -> dialects.Dialect:
    return dialects.dialect(provider, "sk-canary-usage")


def exchange(provider: str, **body: Any) -> Any:
    codec: Any = CODECS[provider].chat
    request = make_call(model=f"{provider}:m", **body).request
    return codec.open(request, make_deployment("http://127.0.0.1:1", provider, "m"), 0, lambda prefix: prefix + "1")


def usage_of(read: Callable[[], Usage | None]) -> Usage:
    """What was counted: nothing, where the answer is none."""
    try:
        return read() or Usage()
    except UpstreamError:  # NaN is no JSON
        return Usage()


def sane(usage: Usage) -> bool:
    counts = (usage.prompt, usage.completion, usage.cached, usage.cache_write, usage.reasoning, usage.total)
    whole = all(type(count) is int and 0 <= count <= 4 * MAX_TOKENS for count in counts)
    cost = usage.cost_usd
    return whole and (cost is None or 0 <= cost < 1e9) and usage.cached + usage.cache_write <= usage.prompt


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_whole_answer_is_counted_soundly(provider: str, count: str) -> None:
    """T30: 30 shapes at six providers: no total is negative, endless or no number."""
    answer = lying(provider, language(provider).answer, count)
    assert answer != language(provider).answer
    assert sane(usage_of(lambda: exchange(provider).answer(answer).usage))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_is_counted_soundly(provider: str, count: str) -> None:
    """T30: the same, where the usage comes in a frame of its own or with the last words."""
    decoder, events = exchange(provider, stream=True).decoder(), []
    for frame in language(provider).stream:
        head, brace, data = frame.partition(b"{")
        events += decoder.feed(head + lying(provider, brace + data.strip(), count) + b"\n\n" if brace else frame)
    events += decoder.close()
    assert sane(usage_of(lambda: ended(events)))


def ended(events: list[StreamEvent]) -> Usage | None:
    """The usage at a stream's end; a stream of nonsense breaks instead."""
    last = events[-1]
    if isinstance(last, UpstreamError):
        raise last
    assert isinstance(last, End)
    for event in events:
        usage = event.data.get("usage") if isinstance(event, Chunk) and event.data else None
        shown = [usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")] if usage else []
        assert all(type(count) is int and count >= 0 for count in shown)
    return last.usage


def test_the_shapes_are_thirty() -> None:
    assert len(set(COUNTS)) == 30
