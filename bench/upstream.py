"""A provider that is never the bottleneck: canned bytes in four languages, streams at a pace.

    python -m bench.upstream        # prints its port, serves until its standard input ends

The model says what to send: ``bench`` an answer in one piece (when it is not to be streamed), ``bench-100x20`` a
stream of 100 pieces, 20 ms apart. Each piece carries the time it was sent at, in nanoseconds of the monotonic clock,
which is the same in every process of a machine, so the reader knows how long it took to arrive.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_MODEL: Final = re.compile(rb"bench-(\d+)x(\d+)")
_TEXT: Final = b"The quick brown fox jumps over the lazy dog. " * 8


@frozen
class Language:
    """How one kind of provider answers: whole, and the beginning, one piece and the end of a stream."""

    whole: bytes
    media: bytes
    first: bytes
    piece: bytes  # with %019d where the time goes
    last: bytes


def _openai_chunk(delta: bytes, finish: bytes = b"null") -> bytes:
    return (
        b'data: {"id":"chatcmpl-B7","object":"chat.completion.chunk","created":1790000000,"model":"bench",'
        b'"service_tier":"default","system_fingerprint":"fp_0","choices":[{"index":0,"delta":'
        + delta
        + b',"logprobs":null,"finish_reason":'
        + finish
        + b'}],"usage":null}\n\n'
    )


OPENAI: Final = Language(
    whole=b'{"id":"chatcmpl-B7","object":"chat.completion","created":1790000000,"model":"bench","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"' + _TEXT + b'","refusal":null,"annotations":[]},"logprobs":null,'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":72,"total_tokens":81},'
    b'"service_tier":"default","system_fingerprint":"fp_0"}',
    media=b"text/event-stream; charset=utf-8",
    first=_openai_chunk(b'{"role":"assistant","content":""}'),
    piece=_openai_chunk(b'{"content":"%019d"}'),
    last=_openai_chunk(b"{}", b'"stop"')
    + b'data: {"id":"chatcmpl-B7","object":"chat.completion.chunk","created":1790000000,"model":"bench",'
    b'"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":100,"total_tokens":109}}\n\ndata: [DONE]\n\n',
)

ANTHROPIC: Final = Language(
    whole=b'{"id":"msg_B7","type":"message","role":"assistant","model":"bench","content":[{"type":"text","text":"'
    + _TEXT
    + b'"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":72}}',
    media=b"text/event-stream; charset=utf-8",
    first=b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_B7","type":"message",'
    b'"role":"assistant","model":"bench","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n',
    piece=b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"%019d"}}\n\n',
    last=b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":100}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
)


def _gemini_frame(text: bytes, finish: bytes = b"") -> bytes:
    return (
        b'{"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"'
        + text
        + b'"}]}'
        + finish
        + b'}],"modelVersion":"bench","responseId":"B7","usageMetadata":{"promptTokenCount":9,'
        b'"candidatesTokenCount":72,"totalTokenCount":81}}'
    )


_GEMINI_STOP: Final = b',"finishReason":"STOP"'
GEMINI: Final = Language(
    whole=_gemini_frame(_TEXT, _GEMINI_STOP),
    media=b"text/event-stream",
    first=b"",
    piece=b"data: " + _gemini_frame(b"%019d") + b"\r\n\r\n",
    last=b"data: " + _gemini_frame(b"!", _GEMINI_STOP) + b"\r\n\r\n",
)


def _ollama_line(text: bytes, done: bytes) -> bytes:
    return (
        b'{"model":"bench","created_at":"2026-11-22T00:00:00.123456Z","message":{"role":"assistant","content":"'
        + text
        + b'"},"done":'
        + done
        + b"}\n"
    )


_OLLAMA_DONE: Final = (
    b'true,"done_reason":"stop","total_duration":1200000000,"load_duration":4000000,"prompt_eval_count":9,'
    b'"prompt_eval_duration":90000000,"eval_count":72,"eval_duration":900000000'
)
OLLAMA: Final = Language(
    whole=_ollama_line(_TEXT, _OLLAMA_DONE),
    media=b"application/x-ndjson",
    first=b"",
    piece=_ollama_line(b"%019d", b"false"),
    last=_ollama_line(b"", _OLLAMA_DONE),
)

# By what the path ends with, before any query.
LANGUAGES: Final[Mapping[bytes, Language]] = {
    b"/chat/completions": OPENAI,
    b"/messages": ANTHROPIC,
    b":generateContent": GEMINI,
    b":streamGenerateContent": GEMINI,
    b"/api/chat": OLLAMA,
}


def whole_answer(language: Language) -> bytes:
    """The answer in one piece, head and body."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(language.whole) + language.whole


def stream_head(language: Language) -> bytes:
    """The head of a stream."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: " + language.media + b"\r\nTransfer-Encoding: chunked\r\n\r\n"


def frame_chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; nothing for nothing."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


_WHOLE: Final = {name: whole_answer(language) for name, language in LANGUAGES.items()}
_NOTHING: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class CannedUpstream(asyncio.Protocol):
    """One connection: requests one after the other, each answered as its path and its model say."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._wanted = 0  # bytes of head and body, once the head is in
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._wanted:
            end = self._buffer.find(b"\r\n\r\n") + 4
            if end < 4:
                return
            length = _LENGTH.search(self._buffer, 0, end)
            self._wanted = end + (int(length[1]) if length else 0)
        if len(self._buffer) >= self._wanted:
            request = bytes(self._buffer[: self._wanted])
            del self._buffer[: self._wanted]
            self._wanted = 0
            self._answer_request(request)

    def _answer_request(self, request: bytes) -> None:
        target = request.split(b" ", 2)[1].partition(b"?")[0]
        name = next((ending for ending in LANGUAGES if target.endswith(ending)), b"")
        model = _MODEL.search(request)
        if not name:
            self._transport.write(_NOTHING)
        elif model is None:
            self._transport.write(_WHOLE[name])
        else:
            self._begin_stream(LANGUAGES[name], int(model[1]), int(model[2]) / 1000)

    def _begin_stream(self, language: Language, count: int, pace: float) -> None:
        self._transport.write(stream_head(language) + frame_chunk(language.first))
        size = b"%x\r\n" % len(language.piece % 0)
        self._send_piece(
            size + language.piece + b"\r\n", frame_chunk(language.last) + b"0\r\n\r\n", count, pace, time.monotonic()
        )

    def _send_piece(self, piece: bytes, last: bytes, remaining: int, pace: float, due: float) -> None:
        if self._paused:
            self.schedule_piece(0.01, lambda: self._send_piece(piece, last, remaining, pace, due))
        elif remaining:
            self._transport.write(piece % time.monotonic_ns())
            wait = max(0.0, due + pace - time.monotonic())
            self.schedule_piece(wait, lambda: self._send_piece(piece, last, remaining - 1, pace, due + pace))
        else:
            self._transport.write(last)

    def schedule_piece(self, wait_s: float, send: Callable[[], object]) -> None:
        """Send the next piece of a stream after a while; a subclass may wait for something else."""
        self._timer = self._loop.call_later(wait_s, send)


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(CannedUpstream, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
