"""What providers send, as targets: streams and whole answers of every language, made into what callers get."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.server.callers import messages
from tests.server.providers import golden

from fuzz.cuts import parted, seed
from fwd_server.callers import openai_chat as dialect
from fwd_server.callers.messages.errors import render_error
from fwd_server.callers.messages.request import parse_request
from fwd_server.callers.openai_errors import error_object
from fwd_server.providers.base import AmendedRequest
from fwd_server.values.errors import GatewayError, UpstreamError
from fwd_server.values.foreign import TargetTraits

LANGUAGES: Final = ("openai", "anthropic", "google", "ollama")
_STATUSES: Final = (400, 401, 404, 413, 429, 500, 503, 529)
_TARGETS: Final = (
    TargetTraits("openai", "gpt-6-luna", reasons=True, samples=False, cap="max_completion_tokens"),
    TargetTraits("google", "gemini-3.8-flash", reasons=True, tool_media=True, takes=frozenset({"top_k"})),
)
_REQUEST: Final = golden.chat_request(
    model="m",
    stream=True,
    stream_options={"include_usage": True},
    tools=[{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}],
)


def rendered(name: str, pieces: list[bytes]) -> bytes:
    """What the caller gets of a stream."""
    decoder = golden.open_exchange(name, _REQUEST).decoder()
    return golden.rendered(golden.play(decoder, pieces), _REQUEST)


def check_streams(data: bytes) -> None:
    """T10, F20 to F30: whatever a provider streams, nothing is raised, and no cut changes what the caller gets."""
    name, (text, pieces) = LANGUAGES[data[:1][0] % len(LANGUAGES) if data else 0], parted(data[1:])
    assert rendered(name, [text]) == rendered(name, pieces)


def check_wholes(data: bytes) -> None:
    """F17 to F21: a whole answer is read, or is an upstream's error; and an error can always be read."""
    name, body = LANGUAGES[data[:1][0] % len(LANGUAGES) if data else 0], data[2:]
    exchange = golden.open_exchange(name, _REQUEST)
    try:
        dialect.render_response(exchange.answer(body), _REQUEST)
    except UpstreamError as error:
        error_object(error)
    found = exchange.error(_STATUSES[data[1:2][0] % len(_STATUSES) if data[1:] else 0], {}, body)
    error_object(found.error if isinstance(found, AmendedRequest) else found)


def check_messages(data: bytes) -> None:
    """The reader of the Messages API: what it takes can be translated or is refused, and nothing else is raised."""
    try:
        call = parse_request(data)
        assert call.estimate > 0
        for target in _TARGETS:
            call.chat_for(target)
    except GatewayError as error:
        render_error(error, "req_1")


def message_seeds() -> Iterator[bytes]:
    for case, _ in messages.entries("request", "native_request"):
        yield case.read("client_request")


def stream_seeds() -> Iterator[bytes]:
    for case in golden.cases("stream", "stream_error"):
        if case.provider in LANGUAGES:
            yield bytes([LANGUAGES.index(case.provider)]) + seed(case.read("upstream_response"))


def whole_seeds() -> Iterator[bytes]:
    for case in golden.cases("response", "error"):
        if case.provider in LANGUAGES and "upstream_response" in case.files:
            yield bytes([LANGUAGES.index(case.provider), 0]) + case.read("upstream_response")
