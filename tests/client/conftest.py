"""A loopback server that says exactly the bytes a test wants, and both clients behind one face."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
from attrs import define, field, frozen

from fwd_client import AsyncClient, Client

KEY = "fwd_test_0123456789abcdefghijklmnopqrstuv"


@frozen
class Received:
    """A request as it came over the socket."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answer(body: Any = b"", status: int = 200, **headers: str) -> bytes:
    """A whole HTTP answer; a body that is not bytes becomes JSON. `x_request_id=` becomes `x-request-id`."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"content-length": str(len(text)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + text


def stream_head(**headers: str) -> bytes:
    """The head of a stream; every piece after it goes through `piece`."""
    lines = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    return ("HTTP/1.1 200 OK\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items()) + "\r\n").encode()


def piece(data: bytes) -> bytes:
    """One chunk of the transfer encoding; an empty one ends the body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a stream."""
    delta = {} if text is None else {"content": text}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def event(data: Any) -> bytes:
    """One event of a stream."""
    text = data if isinstance(data, str) else json.dumps(data)
    return f"data: {text}\n\n".encode()


def streamed(*events: bytes, end: bool = True, **headers: str) -> bytes:
    """A whole streamed answer, each event in a chunk of its own; without `end` the body is cut."""
    return stream_head(**headers) + b"".join(piece(item) for item in events) + (piece(b"") if end else b"")


CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
STREAM = (event(chunk("he")), event(chunk("llo")), event(chunk(finish="stop")), event("[DONE]"))


@define
class RawServer:
    """Answers every request with what `script` gives for it: bytes to send, in order.

    When the script's bytes are out, the connection stays open for the next request, unless the answer has no end.
    """

    script: Callable[[Received], bytes | Iterable[bytes]] = lambda _: answer(CHAT)
    received: list[Received] = field(factory=list)
    connections: int = 0
    closed: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))
    _listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _threads: list[threading.Thread] = field(factory=list)
    _is_stopping: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        self._spawn(self._accept)

    def stop(self) -> None:
        self._is_stopping = True
        socket.create_connection(self._listener.getsockname()).close()  # wakes `accept`, on every system
        for thread in self._threads:
            thread.join(10)

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listener:
            while True:
                connection, _ = self._listener.accept()
                if self._is_stopping:
                    connection.close()
                    return
                self.connections += 1
                self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            try:
                while request := _read_request(reader):
                    self.received.append(request)
                    parts = self.script(request)
                    for part in [parts] if isinstance(parts, bytes) else parts:
                        connection.sendall(part)
                    if self._is_cut(parts):
                        break
            except OSError:
                pass
        self.closed.release()

    def _is_cut(self, parts: bytes | Iterable[bytes]) -> bool:
        return isinstance(parts, bytes) and b"chunked" in parts[:400] and not parts.endswith(b"0\r\n\r\n")


def _read_request(reader: Any) -> Received | None:
    first = reader.readline()
    if not first:
        return None
    method, path, _ = first.decode().split(" ", 2)
    headers = {}
    while line := reader.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return Received(method, path, headers, reader.read(int(headers.get("content-length", "0"))))


@pytest.fixture
def server() -> Iterator[RawServer]:
    """A raw server; give it another `script` to change what it says."""
    raw = RawServer()
    raw.start()
    yield raw
    raw.stop()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for name in (
        "FORWARDER_KEY",
        "FORWARDER_URL",
        "FWD_LOG",
        "FWD_PROFILE",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


class Blocking:
    """Does what a test asks with the client that blocks."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __call__(self, work: str, **arguments: Any) -> Any:
        with Client(**self.options) as client:
            result = _method(client, work)(**arguments)
            return list_and_final(result) if arguments.get("stream") else result


class BlockingHttpx2(Blocking):
    """The same over a client of httpx2."""

    def __call__(self, work: str, **arguments: Any) -> Any:
        with httpx2.Client(trust_env=False) as http, Client(**self.options, http_client=http) as client:
            result = _method(client, work)(**arguments)
            return list_and_final(result) if arguments.get("stream") else result


class Awaiting(Blocking):
    """Does the same with the client that awaits."""

    def __call__(self, work: str, **arguments: Any) -> Any:
        return asyncio.run(self._call(work, arguments))

    async def _call(self, work: str, arguments: dict[str, Any], http: Any = None) -> Any:
        async with AsyncClient(**self.options, http_client=http) as client:
            result = await _method(client, work)(**arguments)
            if not arguments.get("stream"):
                return result
            chunks = [chunk async for chunk in result]
            return chunks, result.snapshot


class AwaitingHttpx2(Awaiting):
    """The same over a client of httpx2."""

    async def _call(self, work: str, arguments: dict[str, Any], http: Any = None) -> Any:
        async with httpx2.AsyncClient(trust_env=False) as http:
            return await super()._call(work, arguments, http)


def list_and_final(stream: Any) -> Any:
    """All chunks, and the answer they add up to."""
    chunks = list(stream)
    return chunks, stream.snapshot


def _method(client: Any, path: str) -> Any:
    for name in path.split("."):
        client = getattr(client, name)
    return client


@pytest.fixture(
    params=[Blocking, Awaiting, BlockingHttpx2, AwaitingHttpx2], ids=["sync", "async", "sync-httpx2", "async-httpx2"]
)
def call(request: pytest.FixtureRequest, server: RawServer) -> Any:
    """`call("chat.completions.create", messages=...)` with either client over either library, against `server`."""
    return request.param(base_url=server.url, api_key=KEY, max_retries=0)


@pytest.fixture
def real_gateway(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts the gateway in a process of its own, with these settings and none of ours; gives its address."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "forwarder_api_keys.txt").write_text(KEY + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "fwd_server", "--port", "0", "--log-format", "json"]
    with ExitStack() as stack:

        def start(**settings: str) -> str:
            env = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
            process = subprocess.Popen(command, cwd=tmp_path, env=env | settings, stderr=subprocess.PIPE, text=True)
            stack.enter_context(process)
            stack.callback(process.communicate, timeout=30)
            stack.callback(process.terminate)
            return _address(process)

        yield start


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"listens on (http://[^\s\"]+)", line):
            return found[1]
    raise AssertionError("the gateway did not start")
