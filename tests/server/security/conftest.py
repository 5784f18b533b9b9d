"""The whole gateway behind its own HTTP server, spoken to in bytes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import define, frozen

from fwd_server.app import App, build_app
from fwd_server.http1.server.limits import ServerLimits
from fwd_server.http1.server.listener import HTTPServer
from fwd_server.settings import load_settings
from fwd_server.web.application import UNLIMITED

KEY = "fwd_" + "s" * 43
BODY = json.dumps({"model": "echo:", "messages": [{"role": "user", "content": "Hi"}]}).encode()


@frozen
class Answer:
    """What came back; names of headers in lower case, repeated ones kept."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(value for found, value in self.headers if found == name)

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]


@define
class Gateway:
    """A gateway that listens on a loopback port."""

    port: int
    app: App

    async def talk(self, data: bytes) -> Answer:
        """Send bytes on a connection of their own; the first answer to them."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await _answer(reader, has_body=not data.startswith(b"HEAD "))
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def chat(self, **body: Any) -> Answer:
        """A call, with the key."""
        given = {"messages": [{"role": "user", "content": "Hi"}], **body}
        return await self.talk(request(body=json.dumps(given).encode()))


async def _answer(reader: asyncio.StreamReader, *, has_body: bool) -> Answer:
    status = int((await reader.readline()).split()[1])
    headers = []
    while line := (await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name.lower(), value.strip()))
    size = int(dict(headers).get("content-length", 0)) if has_body else 0
    return Answer(status, tuple(headers), await reader.readexactly(size))


def request(method: str = "POST", path: str = "/v1/chat/completions", body: bytes = BODY, **headers: str) -> bytes:
    """A request of somebody with the key; ``_`` in a header's name is a hyphen, and one given as "" is left out."""
    found = {"Host": "localhost", "Authorization": f"Bearer {KEY}"}
    found |= {"Content_Type": "application/json", "Content_Length": str(len(body))} if method == "POST" else {}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in {**found, **headers}.items() if value]
    head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines]).encode("latin-1") + b"\r\n\r\n"
    return head + (body if method == "POST" else b"")


Start = Callable[..., contextlib.AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a gateway with these variables; ``images`` goes to the application."""

    @contextlib.asynccontextmanager
    async def started(images: Any = None, **env: str) -> AsyncIterator[Gateway]:
        keys = tmp_path / "keys.txt"
        keys.write_text(f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()} name=web\n")
        keys.chmod(0o600)
        app = build_app(load_settings({}, {"FORWARDER_KEYS_FILE": str(keys), **env}).settings, images=images)
        server = HTTPServer(
            app.application, limits=ServerLimits(body_bytes=UNLIMITED), render=app.application.render_refusal
        )
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        listener.setblocking(False)
        server.add_sockets([listener])
        try:
            yield Gateway(listener.getsockname()[1], app)
        finally:
            await server.aclose()
            await app.aclose()

    return started


def run(work: Any, seconds: float = 60.0) -> Any:
    """Run a test's work on a loop of its own, but never for longer than this."""
    return asyncio.run(asyncio.wait_for(work, seconds))
