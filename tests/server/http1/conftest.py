"""A scripted upstream on real loopback sockets, and a runner for both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from fwd_server.http1.client.pool import Origin

RUNNERS: dict[str, Callable[..., Any]] = {"asyncio": asyncio.run}
with contextlib.suppress(ImportError):  # the server does without it as well, and `nox -s plain` takes it away
    import uvloop

    RUNNERS["uvloop"] = uvloop.run


class Line:
    """One accepted connection, as the script sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()

    async def request(self) -> bytes:
        """Read one request with its whole body, or what came of it before the end."""
        data = b""
        while not data.partition(b"\r\n\r\n")[1]:
            data += (more := await self.loop.sock_recv(self.sock, 65536))
            if not more:
                return data
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")
        while len(body) < length and (more := await self.loop.sock_recv(self.sock, 65536)):
            body += more
        return head + b"\r\n\r\n" + body

    async def say(self, data: bytes, step: int = 1 << 20) -> None:
        """Send `data` in pieces of `step` bytes, each its own packet as far as the kernel goes along."""
        for start in range(0, len(data), step):
            await self.loop.sock_sendall(self.sock, data[start : start + step])
            await asyncio.sleep(0)

    async def disconnected(self) -> bool:
        """Return True once the other side has closed or reset the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.loop.sock_recv(self.sock, 65536):
                pass
        return True

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


Script = Callable[[Line], Awaitable[None]]


class Upstream:
    """Listens on a loopback port and runs `script` for each connection, which is closed when it returns."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.origin = Origin("http", "127.0.0.1", self.listener.getsockname()[1])
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Upstream:
        self.accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.accepting.cancel()
        await asyncio.gather(self.accepting, return_exceptions=True)
        self.listener.close()
        for task in self.tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self.tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                raise outcome

    async def _accept(self) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self.listener)
            sock.setblocking(False)
            self.connections += 1
            self.tasks.append(asyncio.create_task(self._serve(sock)))

    async def _serve(self, sock: socket.socket) -> None:
        with sock:
            await self.script(Line(sock))


@pytest.fixture(params=sorted(RUNNERS))
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Runs a coroutine on plain asyncio and, where it is there, on uvloop, but never for more than 20 seconds."""
    runner = RUNNERS[request.param]

    def bounded(work: Coroutine[Any, Any, Any]) -> Any:
        return runner(_bounded(work))

    return bounded


async def _bounded(work: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.wait_for(work, 20)


@pytest.fixture
def upstream() -> type[Upstream]:
    """The scripted upstream: `async with upstream(script) as up: ... up.origin`."""
    return Upstream
