"""How `FakeGateway` is reached: by a client inside the process, or over a loopback socket."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import urlsplit

from attrs import frozen


@frozen
class FakeRequest:
    """A request that the fake gateway received; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    limit_s: float | None = None
    """How long the client waits for the next bytes, in seconds; None where the request came over a socket."""

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
    latency_s: float = 0.0


class Answers(Protocol):
    """As much of `FakeGateway` as is needed here."""

    def answer(self, request: FakeRequest) -> FakeReply:
        """The answer to one request."""
        ...


class TransportError(Exception):
    """A broken connection, under the name the client knows."""


class ConnectError(TransportError):
    """Nobody listens."""


class TimeoutException(TransportError):
    """No answer in time."""


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
            raise TransportError("the fake gateway cut the stream, as scripted")

    async def aiter_bytes(self) -> AsyncIterator[bytes]:
        for piece in self.iter_bytes():
            yield piece

    def close(self) -> None:
        """Nothing is held."""

    async def aclose(self) -> None:
        """Nothing is held."""


@frozen
class FakeHttp:
    """The HTTP client behind `FakeGateway.client()`."""

    gateway: Answers

    def build_request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Any = None,
    ) -> FakeRequest:
        limit_s = timeout[1] if timeout else None  # connect, read, write, pool
        return FakeRequest(method, urlsplit(url).path, dict(headers or {}), content or b"", limit_s)

    def send(self, request: FakeRequest, *, stream: bool = False) -> _FakeResponse:
        reply = self.gateway.answer(request)
        # Nothing waits here: a test of a timeout is as quick as the others.
        if request.limit_s is not None and reply.latency_s > request.limit_s:
            raise TimeoutException("timed out")
        return _FakeResponse(reply)

    def close(self) -> None:
        """Nothing is held."""


class AsyncFakeHttp:
    """The HTTP client behind `FakeGateway.async_client()`."""

    def __init__(self, gateway: Answers) -> None:
        self._http = FakeHttp(gateway)
        self.build_request = self._http.build_request

    async def send(self, request: FakeRequest, *, stream: bool = False) -> _FakeResponse:
        return self._http.send(request, stream=stream)

    async def aclose(self) -> None:
        """Nothing is held."""


class FakeServer(ThreadingHTTPServer):
    """One thread a connection; none outlives the process."""

    daemon_threads = True


def handler_for(gateway: Answers) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Reads a request, writes the gateway's answer."""

        def do_GET(self) -> None:
            self._serve_request()

        def do_POST(self) -> None:
            self._serve_request()

        def _serve_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = gateway.answer(FakeRequest(self.command, self.path, headers, body))
            # Over a socket a wait is real, since the client's limits are the operating system's.
            time.sleep(reply.latency_s)
            self.send_response(reply.status)
            for name, value in {**reply.headers, **self._framing_headers(reply)}.items():
                self.send_header(name, value)
            self.end_headers()
            for piece in reply.pieces:
                self.wfile.write(piece)

        def _framing_headers(self, reply: FakeReply) -> dict[str, str]:
            """The length, which a cut answer does not keep."""
            # One byte more than will come is how a connection that breaks looks to every client.
            length = sum(len(piece) for piece in reply.pieces) + (1 if reply.is_cut else 0)
            return {"content-length": str(length), "connection": "close"}

        def log_message(self, format: str, *args: Any) -> None:
            """Tests are quiet."""

    return Handler
