"""What becomes of every parameter at every provider, found out by asking the codecs: one call for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import msgspec
import orjson
from attrs import field, frozen

from fwd_server.callers import openai_chat, openai_embeddings
from fwd_server.providers import PROVIDERS, compatible
from fwd_server.providers.base import (
    ChatCodec,
    ChatExchange,
    EmbeddingsCodec,
    EmbeddingsExchange,
    Provider,
    UpstreamRequest,
)
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.errors import Refused
from fwd_server.values.provider_info import provider_info
from fwd_server.values.secret import Secret

Json = dict[str, Any]

_TOOL: Final = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
_SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "integer"}}}
_STRICT: Final = {**_SCHEMA, "required": ["a"], "additionalProperties": False}
_PNG: Final = "data:image/png;base64,AAAA"
_TEXT: Final = "data:text/plain;base64,SGk="
_PDF: Final = "data:application/pdf;base64,AAAA"
_HELLO: Final[Json] = {"role": "user", "content": "Hi"}


@frozen
class Probe:
    """A parameter with a value to try; ``needs`` is what has to be there for it to mean anything.

    ``words`` stand for a value that is too long to be shown.
    """

    name: str
    value: Any
    needs: Json = field(factory=dict)
    words: str = ""

    @property
    def title(self) -> str:
        """The parameter and its value; of messages only what is in them."""
        value = self.words or f"`{_short(self.value)}`"
        return value if self.name == "messages" else f"`{self.name}` {value}"


def _format(schema: Json, *, strict: bool) -> Json:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": strict}}


_TOOLS: Final[Json] = {"tools": [_TOOL]}
_ALLOWED: Final = {
    "type": "allowed_tools",
    "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
}

# The fields of a call, in the order of docs/wire/openai-chat.md, section 1.
CHAT: Final = (
    Probe("stream", True, {"max_tokens": 100}),
    Probe("stream_options", {"include_usage": True}, {"stream": True}),
    Probe("stream_options", {"include_obfuscation": False}, {"stream": True}),
    Probe("max_completion_tokens", 100),
    Probe("max_tokens", 100),
    Probe("temperature", 0.5),
    Probe("temperature", 1),
    Probe("temperature", 2),
    Probe("top_p", 0.5),
    Probe("frequency_penalty", 0.5),
    Probe("presence_penalty", 0.5),
    Probe("n", 1),
    Probe("n", 2),
    Probe("stop", "END"),
    Probe("stop", ["END", "STOP"]),
    Probe("seed", 7),
    Probe("logprobs", True),
    Probe("top_logprobs", 2, {"logprobs": True}),
    Probe("logit_bias", {"50256": -100}),
    Probe("tools", [_TOOL], words="functions"),
    Probe("tools", [{"type": "custom", "custom": {"name": "f"}}], words="custom"),
    *(Probe("tool_choice", choice, _TOOLS) for choice in ("none", "auto", "required")),
    Probe("tool_choice", {"type": "function", "function": {"name": "f"}}, _TOOLS, "a function"),
    Probe("tool_choice", _ALLOWED, _TOOLS, "allowed tools, required"),
    Probe("parallel_tool_calls", True, _TOOLS),
    Probe("parallel_tool_calls", False, _TOOLS),
    Probe("response_format", {"type": "text"}),
    Probe("response_format", {"type": "json_object"}),
    Probe("response_format", _format(_STRICT, strict=True), words="JSON Schema, strict"),
    Probe("response_format", _format(_SCHEMA, strict=False), words="JSON Schema"),
    *(Probe("reasoning_effort", e) for e in ("none", "minimal", "low", "medium", "high", "xhigh", "max")),
    Probe("verbosity", "low"),
    Probe("modalities", ["text"]),
    Probe("modalities", ["text", "audio"]),
    Probe("audio", {"format": "wav", "voice": "alloy"}),
    Probe("prediction", {"type": "content", "content": "Hi"}),
    *(Probe("service_tier", tier) for tier in ("auto", "default", "flex", "priority")),
    Probe("store", True),
    Probe("metadata", {"a": "b"}),
    Probe("user", "u1"),
    Probe("safety_identifier", "u1"),
    Probe("prompt_cache_key", "k"),
    Probe("prompt_cache_options", {"mode": "implicit"}),
    Probe("prompt_cache_retention", "24h"),
    Probe("moderation", {"model": "m"}),
    Probe("web_search_options", {}),
    Probe("thinking", {"type": "enabled", "budget_tokens": 1024}),
    Probe("cache_control", {"type": "ephemeral"}),
    Probe("top_k", 5),
    *(Probe(name, {"brand_new": 1}) for name in ("anthropic", "google", "ollama")),
    Probe("brand_new", 1),
    Probe("extra_body", {"brand_new": 1}),
)


def _user(part: Json) -> list[Json]:
    return [{"role": "user", "content": [{"type": "text", "text": "Hi"}, part]}]


_CALL: Final = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_CALLED: Final[list[Json]] = [_HELLO, {"role": "assistant", "content": None, "tool_calls": [_CALL]}]
_ANSWERED: Final[list[Json]] = [*_CALLED, {"role": "tool", "tool_call_id": "c1", "content": "4"}]
_REASONED: Final[list[Json]] = [
    _HELLO,
    {"role": "assistant", "content": "4", "reasoning_content": "Two and two."},
    _HELLO,
]


def _said(words: str, messages: list[Json], needs: Json | None = None) -> Probe:
    return Probe("messages", messages, needs or {}, words)


# What a conversation may hold; only whether it is taken is of interest here.
MESSAGES: Final = (
    _said("system message", [{"role": "system", "content": "Be brief."}, _HELLO]),
    _said("developer message", [{"role": "developer", "content": "Be brief."}, _HELLO]),
    _said("system message in the middle", [_HELLO, {"role": "system", "content": "Be brief."}, _HELLO]),
    _said("image as `data:` URL", _user({"type": "image_url", "image_url": {"url": _PNG}})),
    _said("image as link", _user({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})),
    _said("audio", _user({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})),
    _said("PDF", _user({"type": "file", "file": {"file_data": _PDF, "filename": "a.pdf"}})),
    _said("text file", _user({"type": "file", "file": {"file_data": _TEXT, "filename": "a.txt"}})),
    _said("file by its id", _user({"type": "file", "file": {"file_id": "file-1"}})),
    _said("unknown part", _user({"type": "brand_new", "brand_new": 1})),
    _said("calls and results of tools", _ANSWERED, _TOOLS),
    _said("readable reasoning of an earlier answer", _REASONED),
)

EMBEDDINGS: Final = (
    Probe("input", ["a", "b"]),
    Probe("input", [1, 2]),
    Probe("dimensions", 256),
    Probe("encoding_format", "base64"),
    Probe("user", "u1"),
    Probe("brand_new", 1),
)

# The providers, each with models that differ in what they take.
MODELS: Final = {
    "openai": ("gpt-4.1", "gpt-6-luna"),
    "anthropic": ("claude-opus-5-5", "claude-haiku-4-5"),
    "google": ("gemini-3.5-flash", "gemini-2.5-flash"),
    "groq": ("openai/gpt-oss-120b", "llama-3.3-70b-versatile"),
    "openrouter": ("anthropic/claude-opus-4.8",),
    "ollama": ("qwen3.8:27b",),
}
PROFILES: Final = tuple(name for name in compatible.PROFILES if not provider_info(name).featured)


# -- asking


def chat(provider: Provider, model: str, probe: Probe) -> str:
    """What becomes of a parameter of a chat completion."""
    plain = {"model": "m", "messages": [_HELLO], **probe.needs}
    return _became(plain, probe, lambda body: _open_chat(provider, model, body))


def _open_chat(provider: Provider, model: str, body: Json) -> ChatExchange:
    codec = cast(ChatCodec, provider.chat)
    request = openai_chat.parse_request(orjson.dumps(body))
    return codec.open(request, _deployment(provider.name, model), 0, lambda prefix: f"{prefix}1")


def embeddings(provider: Provider, model: str, probe: Probe) -> str:
    """What becomes of a parameter of embeddings."""
    return _became({"model": "m", "input": "Hi"}, probe, lambda body: _open_embeddings(provider, model, body))


def _open_embeddings(provider: Provider, model: str, body: Json) -> EmbeddingsExchange:
    codec = cast(EmbeddingsCodec, provider.embeddings)
    request = openai_embeddings.parse_request(orjson.dumps(body))
    return codec.open(request, _deployment(provider.name, model))


def _deployment(provider: str, model: str) -> Deployment:
    return Deployment(Endpoint(provider, "https://example.com/v1", Secret("k", "KEY"), enabled=True), model)


def _became(plain: Json, probe: Probe, open_call: Any) -> str:
    without = open_call(plain)
    try:
        with_it = open_call({**plain, probe.name: probe.value})
    except Refused as refused:
        return f"**refused** (`{refused.code}`)" if refused.code else "**refused**"
    gone = [name for name in with_it.dropped if name not in without.dropped]
    added = _added(_sent(without), _sent(with_it))
    if gone and not added:
        return "dropped" if gone == [probe.name] else f"dropped as `{', '.join(gone)}`"
    if not added:
        return "needs nothing"
    if added == {probe.name: probe.value}:
        return "passed"
    return f"mapped: `{_short(added)}`" + (f"; {', '.join(gone)} dropped" if gone else "")


def message(provider: Provider, model: str, probe: Probe) -> str:
    """What becomes of something in a conversation."""
    body = {"model": "m", **probe.needs, "messages": probe.value}
    try:
        exchange = _open_chat(provider, model, body)
    except Refused as refused:
        return f"**refused** (`{refused.code}`)" if refused.code else "**refused**"
    gone = "".join(f"; `{name}` dropped" for name in exchange.dropped if name.startswith("messages"))
    return ("passed" if _sent(exchange).get("messages") == probe.value else "mapped") + gone


def _sent(exchange: ChatExchange | EmbeddingsExchange) -> Json:
    request = cast(UpstreamRequest, exchange.request)
    headers = {name: value for name, value in request.headers if name != "content-type" and isinstance(value, str)}
    return {**headers, "path": request.path, **orjson.loads(request.body)}


def _added(before: Json, after: Json) -> Json:
    """What ``after`` has that ``before`` has not."""
    found: Json = {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(old, dict) and isinstance(value, dict) and (inner := _added(old, value)):
            found[name] = inner
        elif old != value:
            found[name] = value
    return found


# -- showing


def tables() -> str:
    """The chapter of every provider."""
    chapters = [_chapter(name, PROVIDERS[name], models) for name, models in MODELS.items()]
    return "\n".join([*chapters, _others()])


def _chapter(name: str, provider: Provider, models: tuple[str, ...]) -> str:
    rows = [(probe, [chat(provider, model, probe) for model in models]) for probe in CHAT]
    said = [(probe, [message(provider, model, probe) for model in models]) for probe in MESSAGES]
    columns = [f"`{name}:{model}`" for model in models]
    text = [f"### {name}", "", *_table(("parameter", *columns), rows), *_table(("message", *columns), said)]
    if provider.embeddings:
        found = [(probe, [embeddings(provider, "m", probe)]) for probe in EMBEDDINGS]
        text += _table(("embeddings", name), found)
    return "\n".join(text)


def _others() -> str:
    """The further rows side by side: they differ in little."""
    names = (*PROFILES, "any other")
    providers = [compatible.provider(name) for name in names]
    rows = [(probe, [chat(provider, "m", probe) for provider in providers]) for probe in CHAT]
    return "\n".join(["### Other OpenAI-compatible servers", "", *_table(("parameter", *names), rows)])


def _table(head: tuple[str, ...], rows: list[tuple[Probe, list[str]]]) -> list[str]:
    """What is not simply passed, as a table; then the names of what is."""
    changed = {_kind(probe) for probe, cells in rows if set(cells) != {"passed"}}
    passed = dict.fromkeys(_kind(probe) for probe, _ in rows if _kind(probe) not in changed)
    lines = [_profile([probe.title, *cells]) for probe, cells in rows if _kind(probe) in changed]
    table = [_profile(head), "|" + "---|" * len(head), *lines, ""] if lines else []
    return [*table, f"Passed as it is ({head[0]}): {', '.join(passed)}.", ""] if passed else table


def _kind(probe: Probe) -> str:
    return probe.words if probe.name == "messages" else f"`{probe.name}`"


def _profile(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _short(value: object) -> str:
    written = msgspec.json.encode(value).decode()
    return written if len(written) <= 110 else f"{written[:107].rpartition(',')[0]},..."
