"""A gateway for tests: no network, no provider, the same answer every time.

    def test_my_app():
        gateway = FakeGateway()
        gateway.say("Paris")
        assert my_app(gateway.client()) == "Paris"
        assert gateway.requests[0].json["messages"][-1]["content"] == "Capital of France?"

Without instructions it repeats the last user message, as the real gateway's `echo:` does. `client()` and
`async_client()` stay inside the process; `serve()` listens on a loopback port, for programs that make their own
client from FORWARDER_URL, and for the official SDKs.
"""

from __future__ import annotations

import json
import random
import re
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from attrs import define, evolve, field, frozen

from fwd_client._async import AsyncClient
from fwd_client._sync import Client

KEY: Final = "fwd_fake_key_for_tests_only"
_WORD: Final = re.compile(r"\S+\s*|\s+")
_DONE: Final = b"data: [DONE]\n\n"


@frozen
class FakeRequest:
    """A request the fake gateway got; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as Python values."""
        return json.loads(self.body)


@frozen
class FakeReply:
    """An answer: the pieces of its body as they go out; `is_cut` breaks the connection after the last one."""

    status: int
    headers: Mapping[str, str]
    pieces: tuple[bytes, ...]
    is_cut: bool = False


@frozen
class _Plan:
    """How to answer one call."""

    message: Mapping[str, Any] | None = None
    error: FakeReply | None = None
    cut_after: int | None = None
    fail_after: tuple[int, Mapping[str, Any]] | None = None
    is_refused: bool = False


@define
class FakeGateway:
    """Answers what you tell it to, in order; `requests` has everything it was asked.

    `models` are the ids it lists; `key` is the one key it takes.
    """

    models: tuple[str, ...] = ("echo:", "fake:small", "fake:large")
    key: str = KEY
    requests: list[FakeRequest] = field(factory=list, init=False)
    _plans: deque[_Plan] = field(factory=deque, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False, eq=False)

    def say(self, text: Any) -> None:
        """Answer the next call with this text; anything but a str becomes JSON."""
        content = text if isinstance(text, str) else json.dumps(text)
        self._plans.append(_Plan(message={"role": "assistant", "content": content}))

    def call_tool(self, name: str, **arguments: Any) -> None:
        """Answer the next call by calling a tool."""
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": f"call_{len(self._plans) + len(self.requests) + 1}", "type": "function", "function": function}
        self._plans.append(_Plan(message={"role": "assistant", "content": None, "tool_calls": [call]}))

    def fail(
        self, status: int, code: str | None = None, *, message: str = "This failure was asked for.", **headers: str
    ) -> None:
        """Answer the next call with an error; `retry_after="2"` becomes the header `retry-after`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._plans.append(_Plan(error=_error(status, code, message, named)))

    def fail_midway(self, code: str, *, after: int = 1) -> None:
        """Let the next stream carry an error after so many chunks of text."""
        error = {"message": "This failure was asked for.", "type": "server_error", "param": None, "code": code}
        self._plans.append(_Plan(fail_after=(after, {"error": error})))

    def cut(self, *, after: int = 1) -> None:
        """Break the connection of the next stream after so many chunks of text."""
        self._plans.append(_Plan(cut_after=after))

    def refuse(self) -> None:
        """Let the next call find nobody there; only for `client()` and `async_client()`."""
        self._plans.append(_Plan(is_refused=True))

    def client(self, **options: Any) -> Client:
        """A client that talks to this gateway inside the process."""
        return Client(**self._options(options), http_client=_FakeHttp(self))

    def async_client(self, **options: Any) -> AsyncClient:
        """The same for asyncio."""
        return AsyncClient(**self._options(options), http_client=_AsyncFakeHttp(self))

    def _options(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"base_url": "http://fake.invalid", "api_key": self.key, **options}

    @contextmanager
    def serve(self) -> Generator[str, None, None]:
        """Listen on a free loopback port; gives the address to put into FORWARDER_URL."""
        server = _Server(("127.0.0.1", 0), _handler(self))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, request: FakeRequest) -> FakeReply:
        """The answer to one request: what both transports send."""
        with self._lock:
            self.requests.append(request)
            headers = {"x-request-id": f"req_{len(self.requests)}"}
            reply = self._route(request)
        return evolve(reply, headers={**headers, **reply.headers})

    def _route(self, request: FakeRequest) -> FakeReply:
        path = unquote(urlsplit(request.path).path)
        if path in {"/health", "/ready"}:
            return _json({"status": "ok"})
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "invalid_api_key", "The key is not one of this gateway's.")
        if path == "/v1/chat/completions" and request.method == "POST":
            return self._chat(request)
        if path == "/v1/embeddings" and request.method == "POST":
            return _json(_embeddings(request.json))
        if path == "/v1/models":
            return _json({"object": "list", "data": [_model(name) for name in self.models]})
        return self._model(path)

    def _model(self, path: str) -> FakeReply:
        name = path.removeprefix("/v1/models/")
        if name in self.models:
            return _json(_model(name))
        if name != path:
            return _error(404, "model_not_found", f"There is no model {name!r}.")
        return _error(404, "not_found", f"There is nothing at {path}.")

    def _chat(self, request: FakeRequest) -> FakeReply:
        asked = request.json
        if not asked.get("messages"):
            return _error(400, None, "messages: expected a list of at least one message.")
        if request.headers.get("x-fwd-dry-run") == "true":
            return _json(_dry_run(asked))
        plan = self._plans.popleft() if self._plans else _Plan()
        if plan.is_refused:
            raise ConnectError("connection refused")
        if plan.error is not None:
            return plan.error
        chat = _completion(asked, plan, len(self.requests))
        reply = _stream(chat, plan, asked) if asked.get("stream") else _json(chat)
        known = {"x-fwd-provider": "fake", "x-fwd-model": chat["model"], "x-fwd-attempts": "1"}
        return evolve(reply, headers={**reply.headers, **known})


def _completion(asked: Mapping[str, Any], plan: _Plan, number: int) -> dict[str, Any]:
    message = dict(plan.message or {"role": "assistant", "content": _last_words(asked["messages"])})
    prompt, completion = (len(_WORD.findall(json.dumps(value))) for value in (asked["messages"], message))
    return {
        "id": f"chatcmpl-fake-{number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": asked.get("model") or "fake:small",
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        },
    }


def _embeddings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A vector for each text: the same every time, and another one for another text."""
    texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
    size = asked.get("dimensions") or 8
    vectors = [random.Random(json.dumps(text)) for text in texts]  # noqa: S311 - numbers for tests
    data = [
        {"object": "embedding", "index": index, "embedding": [one.uniform(-1, 1) for _ in range(size)]}
        for index, one in enumerate(vectors)
    ]
    tokens = sum(len(_WORD.findall(text)) if isinstance(text, str) else len(text) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": asked.get("model") or "fake:small", "usage": usage}


def _dry_run(asked: Mapping[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = {
        "provider": "fake",
        "model": asked.get("model") or "fake:small",
        "dropped": [],
        "request": None,
    }
    return {"object": "fwd.dry_run", "plan": [call]}


def _last_words(messages: list[Any]) -> str:
    """The last user message's text, whether it is a string or parts."""
    contents = [message.get("content") for message in messages if message.get("role") == "user"]
    last = contents[-1] if contents else ""
    return last if isinstance(last, str) else "".join(part.get("text", "") for part in last)


def _stream(chat: Mapping[str, Any], plan: _Plan, asked: Mapping[str, Any]) -> FakeReply:
    headers = {"content-type": "text/event-stream", "cache-control": "no-cache"}
    pieces = [_event(chat, delta) for delta in _deltas(chat["choices"][0]["message"])]
    if plan.cut_after is not None:
        return FakeReply(200, headers, tuple(pieces[: plan.cut_after + 1]), is_cut=True)
    if plan.fail_after is not None:
        after, error = plan.fail_after
        return FakeReply(200, headers, (*pieces[: after + 1], _data(error)))
    pieces.append(_event(chat, {}, chat["choices"][0]["finish_reason"]))
    if (asked.get("stream_options") or {}).get("include_usage"):
        pieces.append(_data({**_chunk_head(chat), "choices": [], "usage": chat["usage"]}))
    return FakeReply(200, headers, (*pieces, _receipt(chat), _DONE))


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    for word in _WORD.findall(message.get("content") or ""):
        yield {"content": word}
    for index, call in enumerate(message.get("tool_calls", ())):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        yield {"tool_calls": [{**call, "index": index, "function": {"name": name, "arguments": ""}}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


def _chunk_head(chat: Mapping[str, Any]) -> dict[str, Any]:
    head = {name: chat[name] for name in ("id", "created", "model")}
    return {**head, "object": "chat.completion.chunk"}


def _event(chat: Mapping[str, Any], delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    return _data({**_chunk_head(chat), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _receipt(chat: Mapping[str, Any]) -> bytes:
    return b": fwd " + json.dumps({"provider": "fake", "model": chat["model"], "attempts": 1}).encode() + b"\n\n"


def _data(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _model(name: str) -> dict[str, Any]:
    owner = name.partition(":")[0]
    return {"id": name, "object": "model", "created": 0, "owned_by": owner, "fwd": {"provider": owner}}


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> FakeReply:
    return FakeReply(status, {"content-type": "application/json", **(headers or {})}, (json.dumps(value).encode(),))


def _error(status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None) -> FakeReply:
    kind = {429: "rate_limit_error"}.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return _json({"error": {"message": message, "type": kind, "param": None, "code": code}}, status, headers)


class TransportError(Exception):
    """A broken connection, under the name the client knows."""


class ConnectError(TransportError):
    """Nobody there."""


@frozen
class _FakeResponse:
    """What the clients read of a response."""

    reply: FakeReply

    @property
    def status_code(self) -> int:
        return self.reply.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.reply.headers

    def iter_bytes(self) -> Iterator[bytes]:
        yield from self.reply.pieces
        if self.reply.is_cut:
            raise TransportError("the fake gateway cut the stream, as it was told to")

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for piece in self.iter_bytes():
            yield piece

    def close(self) -> None:
        """Nothing is held."""

    async def aclose(self) -> None:
        """Nothing is held."""


@frozen
class _FakeHttp:
    """The HTTP client behind `FakeGateway.client()`."""

    gateway: FakeGateway

    def build_request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Any = None,
    ) -> FakeRequest:
        return FakeRequest(method, urlsplit(url).path, dict(headers or {}), content or b"")

    def send(self, request: FakeRequest, *, stream: bool = False) -> _FakeResponse:
        return _FakeResponse(self.gateway.answer(request))

    def close(self) -> None:
        """Nothing is held."""


class _AsyncFakeHttp:
    """The HTTP client behind `FakeGateway.async_client()`."""

    def __init__(self, gateway: FakeGateway) -> None:
        self._http = _FakeHttp(gateway)
        self.build_request = self._http.build_request

    async def send(self, request: FakeRequest, *, stream: bool = False) -> _FakeResponse:
        return self._http.send(request, stream=stream)

    async def aclose(self) -> None:
        """Nothing is held."""


class _Server(ThreadingHTTPServer):
    """One thread a connection; none outlives the process."""

    daemon_threads = True


def _handler(gateway: FakeGateway) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Reads a request, writes the gateway's answer."""

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = gateway.answer(FakeRequest(self.command, self.path, headers, body))
            self.send_response(reply.status)
            for name, value in {**reply.headers, **self._framing(reply)}.items():
                self.send_header(name, value)
            self.end_headers()
            for piece in reply.pieces:
                self.wfile.write(piece)

        def _framing(self, reply: FakeReply) -> dict[str, str]:
            """The length, which a cut answer does not keep."""
            length = sum(len(piece) for piece in reply.pieces) + (1 if reply.is_cut else 0)
            return {"content-length": str(length), "connection": "close"}

        def log_message(self, format: str, *args: Any) -> None:
            """Tests are quiet."""

    return Handler
