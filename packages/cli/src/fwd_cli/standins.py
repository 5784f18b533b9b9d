"""The providers of a rehearsal: one small local server that answers in each provider's language, or fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER = "A stand-in answers."
_OPENAI = {
    "id": "drill",
    "object": "chat.completion",
    "created": 1,
    "model": "stand-in",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
_ANTHROPIC = {
    "id": "drill",
    "type": "message",
    "role": "assistant",
    "model": "stand-in",
    "content": [{"type": "text", "text": ANSWER}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
_GOOGLE = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": ANSWER}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
}
_OLLAMA = {
    "model": "stand-in",
    "created_at": "2026-01-31T12:00:00Z",
    "message": {"role": "assistant", "content": ANSWER},
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 1,
    "eval_count": 1,
}
_BY_END: Mapping[str, Mapping[str, Any]] = {
    "/messages": _ANTHROPIC,
    ":generateContent": _GOOGLE,
    "/api/chat": _OLLAMA,
}


def answer_to(path: str) -> Mapping[str, Any]:
    """A whole answer in the language of this path."""
    # OpenAI's language has many paths, the others one each; so it is what remains.
    ends = (answer for end, answer in _BY_END.items() if path.partition("?")[0].endswith(end))
    return next(ends, _OPENAI)


@contextmanager
def standing_in(failing: str, status: int) -> Iterator[str]:
    """A server whose paths begin with a provider's name; ``failing`` gets ``status``, the others an answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            # Read to its end, or the gateway would see a connection that broke while it was sending.
            self.rfile.read(int(self.headers.get("content-length", 0)))
            # Each provider's address begins with its name, so one server can play them all.
            fails = self.path.split("/")[1] == failing
            error = {"error": {"message": "This stand-in fails as instructed.", "type": "drill", "code": "drill"}}
            self._send(status if fails else 200, error if fails else answer_to(self.path))

        def _send(self, status: int, body: Mapping[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: the drill reports."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
