"""What each provider says, in its own language: good answers, streams and errors, taken from the golden exchanges."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from attrs import field, frozen

from kit.fakeup import Seen, completion

GOLDEN: Final = Path(__file__).parent.parent / "golden" / "wire"
SAID: Final = "No luck with {key} at http://10.1.2.3:8080/internal"  # a provider may quote anything


@frozen
class Failure:
    """An error as a provider sends it, and what a caller must see of it."""

    body: bytes
    status: int
    code: str
    tries: int = 1


@frozen
class Dialect:
    """One provider's language.

    A stream is ``opening`` (no content yet), ``content`` (which says ``partial``), ``ending``: frames as they go
    over the wire. ``inside`` are errors that come with a 200, by their name; ``tools`` is a stream that is cut
    inside a call; ``too_long`` is one that ends after a call because it is too long, ``too_long_whole`` the same as
    a whole answer. ``no_context`` is what a prompt longer than the model's context is answered with.
    """

    name: str
    key: str
    answer: bytes
    said: str
    opening: tuple[bytes, ...]
    content: tuple[bytes, ...]
    ending: tuple[bytes, ...]
    partial: str
    text: str
    error: Callable[[int, str], Any]
    inside: Mapping[str, Failure]
    inside_committed: str
    tools: tuple[bytes, ...]
    too_long: tuple[bytes, ...]
    too_long_whole: bytes
    no_context: Any
    out_of_money: tuple[int, Any]
    limited: tuple[dict[str, str], Any] = field(default=({}, None))
    media: str = "text/event-stream"
    end_marker: str = ""  # what a stream may lack at its end and still be whole

    @property
    def message(self) -> str:
        """What an error of this provider says, with the gateway's own key in it."""
        return SAID.format(key=self.key)

    def failure(self, status: int) -> bytes:
        """The body of an error."""
        return json.dumps(self.error(status, self.message)).encode()

    def frame(self, data: bytes) -> bytes:
        """Anything as a frame of a stream."""
        return data + b"\n" if self.media == "application/x-ndjson" else b"data: " + data + b"\n\n"

    @property
    def stream(self) -> tuple[bytes, ...]:
        """A whole stream."""
        return (*self.opening, *self.content, *self.ending)


def model_of(seen: Seen) -> str:
    """The model a request names, in any language."""
    found = re.search(r"/models/([^/:?]+|.+?):(?:streamG|g)enerateContent", seen.target)
    return unquote(found[1]) if found else str(seen.json["model"])


def streams(seen: Seen) -> bool:
    """Whether a request asks for a stream."""
    return "streamGenerateContent" in seen.target or (
        "generateContent" not in seen.target and seen.json.get("stream") is True
    )


def _frames(name: str) -> list[bytes]:
    """The frames of a golden stream."""
    path = GOLDEN / f"{name}.upstream.sse"
    if path.exists():
        return [block + b"\n\n" for block in path.read_bytes().replace(b"\r\n", b"\n").split(b"\n\n") if block.strip()]
    return [line + b"\n" for line in path.with_suffix(".ndjson").read_bytes().splitlines()]


def _body(name: str) -> bytes:
    return (GOLDEN / f"{name}.upstream.json").read_bytes()


def _failed(name: str) -> tuple[dict[str, str], Any]:
    """Headers and body of a golden error."""
    told = json.loads(_body(name))
    return told["headers"], told["body"]


# -- errors in each language

_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_GOOGLE_WORDS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def _openai_error(status: int, message: str) -> Any:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def _openrouter_error(status: int, message: str) -> Any:
    return {"error": {"code": status, "message": message}, "user_id": "user_x"}


def _anthropic_error(status: int, message: str) -> Any:
    kind = _ANTHROPIC_TYPES.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CX1"}


def _google_error(status: int, message: str) -> Any:
    return {"error": {"code": status, "message": message, "status": _GOOGLE_WORDS.get(status, "INTERNAL")}}


def _ollama_error(status: int, message: str) -> Any:
    return {"error": message}


def _inside(status: int, code: str, error: Any, tries: int = 1) -> Failure:
    return Failure(json.dumps(error).encode(), status, code, tries)


def _openai_inside(key: str) -> dict[str, Failure]:
    message = SAID.format(key=key)
    limit = {"message": message, "type": "rate_limit_error", "code": "rate_limit_exceeded"}
    return {
        "failed": _inside(502, "provider_error", {"error": {"message": message, "type": "server_error"}}, 2),
        "limited": _inside(429, "rate_limit_exceeded", {"error": limit}),
    }


_LENGTH: Final = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
_HEAD: Final = {"id": "chatcmpl-o1", "object": "chat.completion.chunk", "created": 1_795_305_600, "model": "m"}
_TOO_LONG: Final = (b"data: %b\n\n" % json.dumps({**_HEAD, "choices": [_LENGTH]}).encode(), b"data: [DONE]\n\n")
_SHORTEN: Final = {"message": "Please reduce the length of the messages or completion.", "param": "messages"}


def _half_a_call() -> bytes:
    """A whole answer of OpenAI whose call was cut by the limit of its tokens."""
    answer = completion()
    function = {"name": "get_weather", "arguments": '{"city":"Os'}
    calls = [{"id": "call_a", "type": "function", "function": function}]
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls}
    answer["choices"] = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "length"}]
    return json.dumps(answer).encode()


def _openai(key: str) -> Dialect:
    frames, tools = _frames("openai/stream-usage-injected"), _frames("openai/stream-tools-interleaved")
    half = tools[3].replace(b'{\\"city\\":\\"Oslo\\"}', b'{\\"city\\":\\"Os')
    return Dialect(
        name="openai",
        key=key,
        answer=json.dumps(completion("Hello.")).encode(),
        said="Hello.",
        opening=tuple(frames[:1]),
        content=tuple(frames[1:2]),
        ending=tuple(frames[2:]),
        partial="Hi",
        text="Hi",
        error=_openai_error,
        inside=_openai_inside(key),
        inside_committed="provider_error",
        tools=(tools[0], tools[1], half),
        too_long=(tools[0], tools[1], half, *_TOO_LONG),
        too_long_whole=_half_a_call(),
        no_context={"error": {**_SHORTEN, "type": "invalid_request_error", "code": "context_length_exceeded"}},
        out_of_money=(429, _failed("openai/error-429-quota")[1]),
        limited=_failed("openai/error-429-ms"),
        end_marker="[DONE]",
    )


def _groq(key: str) -> Dialect:
    frames, tools = _frames("groq/stream-x-groq-usage"), _frames("groq/stream-tool")
    half = tools[1].replace(b'{\\"city\\":\\"Oslo\\"}', b'{\\"city\\":\\"Os')
    message = SAID.format(key=key)
    failed = {"error": {"message": message, "type": "internal_server_error"}}
    return Dialect(
        name="groq",
        key=key,
        answer=_body("groq/resp-reasoning"),
        said="4",
        opening=tuple(frames[:1]),
        content=tuple(frames[1:3]),
        ending=tuple(frames[3:]),
        partial="4",
        text="4",
        error=_openai_error,
        inside={**_openai_inside(key), "failed": _inside(502, "provider_error", failed, 2)},
        inside_committed="provider_error",
        tools=(tools[0], half),
        too_long=(tools[0], half, *_TOO_LONG),
        too_long_whole=_half_a_call(),
        no_context={"error": {**_SHORTEN, "type": "invalid_request_error", "code": "context_length_exceeded"}},
        out_of_money=(429, _failed("openai/error-429-quota")[1]),
        limited=_failed("groq/error-429"),
        end_marker="[DONE]",
    )


def _openrouter(key: str) -> Dialect:
    frames, tools = _frames("openrouter/stream-comments"), _frames("groq/stream-tool")
    half = tools[1].replace(b'{\\"city\\":\\"Oslo\\"}', b'{\\"city\\":\\"Os')
    message = SAID.format(key=key)
    return Dialect(
        name="openrouter",
        key=key,
        answer=_body("openrouter/resp-reasoning-cost"),
        said="4",
        opening=tuple(frames[:3]),
        content=tuple(frames[3:5]),
        ending=tuple(frames[5:]),
        partial="4",
        text="4",
        error=_openrouter_error,
        inside={
            "failed": _inside(502, "provider_error", {"error": {"code": 502, "message": message}}, 2),
            "limited": _inside(429, "rate_limit_exceeded", {"error": {"code": 429, "message": message}}),
        },
        inside_committed="provider_error",
        tools=(tools[0], half),
        too_long=(tools[0], half, *_TOO_LONG),
        too_long_whole=_half_a_call(),
        no_context=_openrouter_error(400, "This endpoint's maximum context length is 131072 tokens."),
        out_of_money=(402, _failed("openrouter/error-402")[1]),
        limited=({"retry-after": "7"}, _openrouter_error(429, message)),
        end_marker="[DONE]",
    )


_MAX_TOKENS: Final = b'"stop_reason": "max_tokens"'


def _anthropic(key: str) -> Dialect:
    frames, tools = _frames("anthropic/stream-text"), _frames("anthropic/stream-tool-single")
    end = json.dumps({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 9}})
    message = SAID.format(key=key)
    return Dialect(
        name="anthropic",
        key=key,
        answer=_body("anthropic/resp-text"),
        said="Hello there.",
        opening=tuple(frames[:3]),
        content=tuple(frames[3:5]),
        ending=tuple(frames[5:]),
        partial="Hello – ok",
        text="Hello – ok",
        error=_anthropic_error,
        inside={
            "failed": _inside(503, "provider_overloaded", _anthropic_error(529, message), 2),
            "limited": _inside(429, "rate_limit_exceeded", _anthropic_error(429, message)),
        },
        inside_committed="provider_overloaded",
        tools=tuple(tools[:7]),
        too_long=(*tools[:7], tools[8], b"event: message_delta\ndata: " + end.encode() + b"\n\n", tools[-1]),
        too_long_whole=_body("anthropic/resp-tool-single").replace(b'"stop_reason": "tool_use"', _MAX_TOKENS),
        no_context=_failed("anthropic/error-400-context")[1],
        out_of_money=(400, _anthropic_error(402, message)),
        limited=_failed("anthropic/error-429"),
    )


_CUT_BY_GEMINI: Final = (b'"finishReason":"STOP"', b'"finishReason":"MAX_TOKENS"')


def _google(key: str) -> Dialect:
    frames, tools = _frames("gemini/stream-text"), _frames("gemini/stream-tools-parallel")
    message = SAID.format(key=key)
    return Dialect(
        name="google",
        key=key,
        answer=_body("gemini/resp-text"),
        said="Hello there.",
        opening=(),
        content=tuple(frames[:2]),
        ending=tuple(frames[2:]),
        partial="Hello ✓",
        text="Hello ✓!",
        error=_google_error,
        inside={
            "failed": _inside(503, "provider_overloaded", _google_error(503, message), 2),
            "limited": _inside(429, "rate_limit_exceeded", _google_error(429, message)),
        },
        inside_committed="provider_overloaded",
        tools=(tools[0], tools[1][:60]),
        too_long=(*tools[:-1], tools[-1].replace(*_CUT_BY_GEMINI)),
        too_long_whole=_body("gemini/resp-tool-single").replace(b'"STOP"', b'"MAX_TOKENS"'),
        no_context=_google_error(400, "The input token count (1200000) exceeds the maximum number of tokens allowed."),
        out_of_money=(429, _google_error(429, "Your prepayment credits are depleted.")),
        limited=_failed("gemini/error-429-retryinfo"),
    )


_CUT_BY_OLLAMA: Final = (b'"done_reason":"stop"', b'"done_reason":"length"')
_USED_UP: Final = "you (x) have reached your session usage limit, upgrade for higher limits"  # it gives no number


def _ollama(key: str) -> Dialect:
    frames, tools = _frames("ollama/stream-text"), _frames("ollama/stream-tools")
    message = SAID.format(key=key)
    return Dialect(
        name="ollama",
        key=key,
        answer=_body("ollama/resp-text"),
        said="Hello.",
        opening=(),
        content=tuple(frames[:2]),
        ending=tuple(frames[2:]),
        partial="Hello ü",
        text="Hello ü",
        error=_ollama_error,
        inside={
            "failed": _inside(502, "provider_error", _ollama_error(500, message), 2),
            "limited": _inside(429, "insufficient_quota", _ollama_error(429, _USED_UP)),
        },
        inside_committed="provider_error",
        tools=(tools[0], tools[1][:60]),
        too_long=(*tools[:-1], tools[-1].replace(*_CUT_BY_OLLAMA)),
        too_long_whole=_body("ollama/resp-tools-parallel").replace(b'"stop"', b'"length"'),
        no_context=_ollama_error(400, "the input length exceeds the context length"),
        out_of_money=(429, _ollama_error(429, _USED_UP)),
        limited=({"retry-after": "7"}, _ollama_error(429, message)),
        media="application/x-ndjson",
    )


_MAKERS: Final = {
    "openai": _openai,
    "anthropic": _anthropic,
    "google": _google,
    "groq": _groq,
    "openrouter": _openrouter,
    "ollama": _ollama,
}
PROVIDERS: Final = tuple(_MAKERS)


def dialect(name: str, key: str) -> Dialect:
    """A provider's language; its errors quote ``key``."""
    return _MAKERS[name](key)
