"""What a streamed chunk costs in the codec and the dialect alone: translated providers against those that are relayed.

    python -m bench.codecs

CPU microseconds for one chunk of text, read as bytes and rendered for the caller. The best of several rounds counts,
because other work on the machine can only make it slower. Aim (B10): at most twice the relayed path for a provider
with a language of its own. OpenRouter speaks OpenAI's, with something of its own in every frame: none can be relayed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final

import orjson

from fwd_server.callers import openai_chat as dialect
from fwd_server.providers import PROVIDERS
from fwd_server.providers.base import StreamDecoder
from fwd_server.values.chat import ChatRequest, Chunk
from fwd_server.values.deployment import Deployment, Endpoint

CHUNKS: Final = 2000
ROUNDS: Final = 15
AIM: Final = 2.0
RELAYED: Final = "openai"
NATIVE: Final = ("anthropic", "google", "ollama")
WORDS: Final = " word by word"


def openai_chunk(text: str, **more: Any) -> bytes:
    """A chunk in OpenAI's language, as OpenAI sends it."""
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return (
        b"data: "
        + orjson.dumps({**head, "service_tier": "default", "choices": [choice], "usage": None, **more})
        + b"\n\n"
    )


def openrouter_chunk(text: str) -> bytes:
    """The same as OpenRouter sends it: nothing of it can be relayed."""
    return openai_chunk(text, provider="Anthropic")


def anthropic_chunk(text: str) -> bytes:
    """A piece of a text block."""
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return b"event: content_block_delta\ndata: " + orjson.dumps(delta) + b"\n\n"


def google_chunk(text: str) -> bytes:
    """A frame, with the usage that every frame has."""
    counts = {"promptTokenCount": 11, "candidatesTokenCount": 20, "totalTokenCount": 31}
    details = [{"modality": "TEXT", "tokenCount": 11}]
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    usage = {**counts, "promptTokensDetails": details}
    frame = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3.5-flash", "responseId": "r"}
    return b"data: " + orjson.dumps(frame) + b"\r\n\r\n"


def ollama_chunk(text: str) -> bytes:
    """A line."""
    line = {
        "model": "m",
        "created_at": "2026-11-22T00:00:00.123456Z",
        "message": {"role": "assistant", "content": text},
    }
    return orjson.dumps({**line, "done": False}) + b"\n"


_START: Final = {
    "type": "message_start",
    "message": {"id": "m", "model": "c", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}},
}
_BLOCK: Final = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
BEFORE: Final = {  # what a stream begins with, where the first chunk of text is not enough
    "anthropic": b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in (_START, _BLOCK)),
}
CHUNK_OF: Final[dict[str, Callable[[str], bytes]]] = {
    "openai": openai_chunk,
    "anthropic": anthropic_chunk,
    "google": google_chunk,
    "openrouter": openrouter_chunk,
    "ollama": ollama_chunk,
}


def begin_stream(name: str) -> tuple[StreamDecoder, ChatRequest]:
    """A stream whose first chunk has been read."""
    request = dialect.parse_request(b'{"messages": [{"role": "user", "content": "Hi"}], "stream": true}')
    codec = PROVIDERS[name].chat
    if codec is None:
        raise ValueError(name)
    decoder = codec.open(request, Deployment(Endpoint(name), "m"), 1, lambda prefix: f"{prefix}1").decoder()
    decoder.feed(BEFORE.get(name, b"") + CHUNK_OF[name]("Hel"))
    return decoder, request


def measure_round(name: str) -> float:
    """CPU microseconds for each chunk of one stream."""
    decoder, request = begin_stream(name)
    pieces = [CHUNK_OF[name](f"{WORDS} {number}") for number in range(CHUNKS)]
    sent = 0
    began = time.process_time()
    for piece in pieces:
        for event in decoder.feed(piece):
            if isinstance(event, Chunk):
                sent += bool(dialect.render_chunk(event, request))
    took = time.process_time() - began
    if sent != CHUNKS:
        raise AssertionError(f"{name}: {sent} chunks of {CHUNKS}")
    return took / CHUNKS * 1e6


def main() -> int:
    """Print the table; 1 if a translated provider costs more than it may."""
    best = dict.fromkeys(CHUNK_OF, float("inf"))
    for _ in range(ROUNDS):  # all of them in turn, so that a slow moment is everybody's
        for name in best:
            best[name] = min(best[name], measure_round(name))
    for name, cost in best.items():
        print(f"{name:<12}{cost:6.1f} us a chunk{cost / best[RELAYED]:6.2f} x")
    return 0 if max(best[name] for name in NATIVE) <= AIM * best[RELAYED] else 1


if __name__ == "__main__":
    sys.exit(main())
