"""A gateway for tests: no network, no provider, the same answer every time.

    def test_my_app():
        gateway = FakeGateway()
        gateway.say("Paris", provider="openai", usage=(12, 1))
        assert my_app(gateway.client()) == "Paris"
        assert gateway.requests[0].json["messages"][-1]["content"] == "Capital of France?"
        gateway.assert_all_used()

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
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from attrs import define, evolve, field, frozen

from fwd_client._async import AsyncClient
from fwd_client._fake_http import AsyncFakeHttp, ConnectError, FakeHttp, FakeReply, FakeRequest, FakeServer, handler_for
from fwd_client._sync import Client

__all__ = ["KEY", "FakeGateway", "FakeReply", "FakeRequest"]

KEY: Final = "fwd_fake_key_for_tests_only"
_WORD: Final = re.compile(r"\S+\s*|\s+")
_DONE: Final = b"data: [DONE]\n\n"


@frozen
class _ScriptedAnswer:
    """How to answer one call."""

    message: Mapping[str, Any] | None = None
    error: FakeReply | None = None
    cut_after: int | None = None
    fail_after: tuple[int, Mapping[str, Any]] | None = None
    is_refused: bool = False
    provider: str = "fake"
    model: str | None = None
    usage: Mapping[str, int] | None = None
    cost: float | None = None
    latency_s: float = 0.0


@define
class FakeGateway:
    """Answers what you tell it to, in order; `requests` has everything it was sent.

    `models` are the ids it lists; `key` is the one key it accepts.
    """

    models: tuple[str, ...] = ("echo:", "fake:small", "fake:large")
    key: str = KEY
    requests: list[FakeRequest] = field(factory=list, init=False)
    _answers: deque[_ScriptedAnswer] = field(factory=deque, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False, eq=False)

    def say(
        self,
        text: Any,
        *,
        thinking: str | None = None,
        cut_after: int | None = None,
        fail_after: tuple[int, str] | None = None,
        provider: str = "fake",
        model: str | None = None,
        usage: tuple[int, int] | None = None,
        cost: float | None = None,
        latency: float = 0.0,
    ) -> None:
        """Answer the next call with this text.

        Args:
            text: the answer; anything but a str becomes JSON.
            thinking: what the model thinks before it, in `reasoning_content`.
            cut_after: break the connection of a stream after so many of its words.
            fail_after: count of words and error code; a stream carries this error after so many of its words.
            provider: who answers, in the receipt.
            model: the provider's name of the model. Default: the one that was asked for.
            usage: tokens in and out. Default: counted by words.
            cost: US dollars, in the receipt. Default: none.
            latency: seconds until the answer begins. Inside the process nothing waits: a longer latency than the
                client's limits is a timeout at once, a shorter one is only reported in `timings`.
        """
        content = text if isinstance(text, str) else json.dumps(text)
        thought = {"reasoning_content": thinking} if thinking is not None else {}
        failure = (fail_after[0], _stream_error(fail_after[1])) if fail_after else None
        tokens = {"prompt_tokens": usage[0], "completion_tokens": usage[1]} if usage else None
        self._answers.append(
            _ScriptedAnswer(
                message={"role": "assistant", **thought, "content": content},
                cut_after=cut_after,
                fail_after=failure,
                provider=provider,
                model=model,
                usage=tokens,
                cost=cost,
                latency_s=latency,
            )
        )

    def call_tool(self, name: str, **arguments: Any) -> None:
        """Answer the next call by calling the tool `name` with these `arguments`."""
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": f"call_{len(self._answers) + len(self.requests) + 1}", "type": "function", "function": function}
        self._answers.append(_ScriptedAnswer(message={"role": "assistant", "content": None, "tool_calls": [call]}))

    def fail(
        self, status: int, code: str | None = None, *, message: str = "This failure was scripted.", **headers: str
    ) -> None:
        """Answer the next call with an error.

        Args:
            status: HTTP status.
            code: machine-readable code, such as `rate_limit_exceeded`.
            message: text of the error.
            headers: further headers; `retry_after="2"` becomes `retry-after`.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._answers.append(_ScriptedAnswer(error=_error_reply(status, code, message, named)))

    def fail_midway(self, code: str, *, after: int = 1) -> None:
        """Repeat the last user message in the next stream, with an error of this `code` after `after` words."""
        self._answers.append(_ScriptedAnswer(fail_after=(after, _stream_error(code))))

    def cut(self, *, after: int = 1) -> None:
        """Repeat the last user message in the next stream, and break its connection after `after` words."""
        self._answers.append(_ScriptedAnswer(cut_after=after))

    def refuse(self) -> None:
        """Refuse the connection of the next call; only for `client()` and `async_client()`."""
        self._answers.append(_ScriptedAnswer(is_refused=True))

    def assert_all_used(self) -> None:
        """Raise `AssertionError` if answers are left that nobody asked for; the pytest fixture does this at the end."""
        left = len(self._answers)
        if left:
            raise AssertionError(
                f"{left} scripted answer{'s were' if left > 1 else ' was'} never asked for, after "
                f"{len(self.requests)} request{'' if len(self.requests) == 1 else 's'}."
            )

    def client(self, **options: Any) -> Client:
        """A client of this gateway inside the process; `options` are those of `Client`."""
        return Client(**self._client_options(options), http_client=FakeHttp(self))

    def async_client(self, **options: Any) -> AsyncClient:
        """The same for asyncio; `options` are those of `AsyncClient`."""
        return AsyncClient(**self._client_options(options), http_client=AsyncFakeHttp(self))

    def _client_options(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"base_url": "http://fake.invalid", "api_key": self.key, **options}

    @contextmanager
    def serve(self) -> Generator[str, None, None]:
        """Listen on a free loopback port; yields the address for FORWARDER_URL."""
        server = FakeServer(("127.0.0.1", 0), handler_for(self))
        # The short interval is how long the end of every test waits for the server.
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, request: FakeRequest) -> FakeReply:
        """The answer to one `request`; both transports send it."""
        # Programs under test call from several threads, and answers belong to requests in their order.
        with self._lock:
            self.requests.append(request)
            headers = {"x-request-id": f"req_{len(self.requests)}"}
            reply = self._route_request(request)
        return evolve(reply, headers={**headers, **reply.headers})

    def _route_request(self, request: FakeRequest) -> FakeReply:
        path = unquote(urlsplit(request.path).path)
        if path in {"/health", "/ready"}:
            return _json_reply({"status": "ok"})
        # Checked as by the real gateway, so that a test notices a client without its key.
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return _error_reply(401, "invalid_api_key", "The key is not one of this gateway's.")
        if path == "/v1/chat/completions" and request.method == "POST":
            return self._answer_chat(request)
        if path == "/v1/embeddings" and request.method == "POST":
            return _json_reply(_build_embeddings(request.json))
        if path == "/v1/models":
            return _json_reply({"object": "list", "data": [_model(name) for name in self.models]})
        return self._model(path)

    def _model(self, path: str) -> FakeReply:
        name = path.removeprefix("/v1/models/")
        if name in self.models:
            return _json_reply(_model(name))
        if name != path:
            return _error_reply(404, "model_not_found", f"There is no model {name!r}.")
        return _error_reply(404, "not_found", f"There is nothing at {path}.")

    def _answer_chat(self, request: FakeRequest) -> FakeReply:
        body = request.json
        if not body.get("messages"):
            return _error_reply(400, None, "messages: expected a list of at least one message.")
        if request.headers.get("x-fwd-dry-run") == "true":
            return _json_reply(_dry_run(body))
        # Without a script it echoes, as echo: does: most tests need an answer and no particular one.
        scripted = self._answers.popleft() if self._answers else _ScriptedAnswer()
        if scripted.is_refused:
            raise ConnectError("connection refused")
        if scripted.error is not None:
            return scripted.error
        chat = _build_completion(body, scripted, len(self.requests))
        reply = _build_stream(chat, scripted, body) if body.get("stream") else _json_reply(chat)
        headers = {**reply.headers, **_receipt_headers(chat, scripted)}
        return evolve(reply, headers=headers, latency_s=scripted.latency_s)


def _receipt_headers(chat: Mapping[str, Any], scripted: _ScriptedAnswer) -> dict[str, str]:
    latency_ms = scripted.latency_s * 1000
    timings = {"server-timing": f"first;dur={latency_ms:g}, total;dur={latency_ms:g}"} if latency_ms else {}
    cost = {"x-fwd-cost": f"{scripted.cost:.9f}"} if scripted.cost is not None else {}
    return {
        "x-fwd-provider": scripted.provider,
        "x-fwd-model": chat["model"],
        "x-fwd-attempts": "1",
        **timings,
        **cost,
    }


def _stream_error(code: str) -> dict[str, Any]:
    return {"error": {"message": "This failure was scripted.", "type": "server_error", "param": None, "code": code}}


def _build_completion(body: Mapping[str, Any], scripted: _ScriptedAnswer, number: int) -> dict[str, Any]:
    message = dict(scripted.message or {"role": "assistant", "content": _last_words(body["messages"])})
    counted = {
        "prompt_tokens": len(_WORD.findall(json.dumps(body["messages"]))),
        "completion_tokens": len(_WORD.findall(json.dumps(message))),
    }
    usage = scripted.usage or counted
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    return {
        "id": f"chatcmpl-fake-{number}",
        "object": "chat.completion",
        # Always the same, so that whole answers can be compared.
        "created": 1_700_000_000,
        "model": scripted.model or body.get("model") or "fake:small",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


def _build_embeddings(body: Mapping[str, Any]) -> dict[str, Any]:
    """A vector for each text: the same every time, and another one for another text."""
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    size = body.get("dimensions") or 8
    # Seeded by the text: the same text has the same vector in every run.
    vectors = [random.Random(json.dumps(text)) for text in texts]  # noqa: S311 - numbers for tests
    data = [
        {"object": "embedding", "index": index, "embedding": [vector.uniform(-1, 1) for _ in range(size)]}
        for index, vector in enumerate(vectors)
    ]
    tokens = sum(len(_WORD.findall(text)) if isinstance(text, str) else len(text) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model") or "fake:small", "usage": usage}


def _dry_run(body: Mapping[str, Any]) -> dict[str, Any]:
    call: dict[str, Any] = {
        "provider": "fake",
        "model": body.get("model") or "fake:small",
        "dropped": [],
        "request": None,
    }
    return {"object": "fwd.dry_run", "plan": [call]}


def _last_words(messages: list[Any]) -> str:
    """The last user message's text, whether it is a string or parts."""
    contents = [message.get("content") for message in messages if message.get("role") == "user"]
    last = contents[-1] if contents else ""
    return last if isinstance(last, str) else "".join(part.get("text", "") for part in last)


def _build_stream(chat: Mapping[str, Any], scripted: _ScriptedAnswer, body: Mapping[str, Any]) -> FakeReply:
    headers = {"content-type": "text/event-stream", "cache-control": "no-cache"}
    message = chat["choices"][0]["message"]
    pieces = [_format_chunk(chat, delta) for delta in _split_deltas(message)]
    # Words count from the answer's text: the role, and thinking, come before it.
    head = 1 + len(_WORD.findall(message.get("reasoning_content") or ""))
    if scripted.cut_after is not None:
        return FakeReply(200, headers, tuple(pieces[: scripted.cut_after + head]), is_cut=True)
    if scripted.fail_after is not None:
        after, error = scripted.fail_after
        return FakeReply(200, headers, (*pieces[: after + head], _format_event(error)))
    pieces.append(_format_chunk(chat, {}, chat["choices"][0]["finish_reason"]))
    # Usage comes only where it is asked for, so that forgetting to ask shows in a test.
    if (body.get("stream_options") or {}).get("include_usage"):
        pieces.append(_format_event({**_chunk_head(chat), "choices": [], "usage": chat["usage"]}))
    return FakeReply(200, headers, (*pieces, _format_receipt(chat, scripted), _DONE))


def _split_deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    # As OpenAI's streams begin; a program that adds chunks up meets an empty text first.
    yield {"role": "assistant", "content": ""}
    for word in _WORD.findall(message.get("reasoning_content") or ""):
        yield {"reasoning_content": word}
    for word in _WORD.findall(message.get("content") or ""):
        yield {"content": word}
    for index, call in enumerate(message.get("tool_calls", ())):
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        # The name comes whole and first, the arguments in later pieces, as from every provider.
        yield {"tool_calls": [{**call, "index": index, "function": {"name": name, "arguments": ""}}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


def _chunk_head(chat: Mapping[str, Any]) -> dict[str, Any]:
    head = {name: chat[name] for name in ("id", "created", "model")}
    return {**head, "object": "chat.completion.chunk"}


def _format_chunk(chat: Mapping[str, Any], delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    return _format_event({**_chunk_head(chat), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _format_receipt(chat: Mapping[str, Any], scripted: _ScriptedAnswer) -> bytes:
    facts = {"provider": scripted.provider, "model": chat["model"], "attempts": 1}
    return b": fwd " + json.dumps(facts).encode() + b"\n\n"


def _format_event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _model(name: str) -> dict[str, Any]:
    owner = name.partition(":")[0]
    return {"id": name, "object": "model", "created": 0, "owned_by": owner, "fwd": {"provider": owner}}


def _json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> FakeReply:
    return FakeReply(status, {"content-type": "application/json", **(headers or {})}, (json.dumps(value).encode(),))


def _error_reply(status: int, code: str | None, message: str, headers: Mapping[str, str] | None = None) -> FakeReply:
    kind = {429: "rate_limit_error"}.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return _json_reply({"error": {"message": message, "type": kind, "param": None, "code": code}}, status, headers)
