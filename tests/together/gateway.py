"""The real gateway on a loopback port, with one key and ``echo:``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from attrs import frozen
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from fwd_server.app import build_app
from fwd_server.settings import Settings

KEY = "fwd_" + "k" * 43
SIGNED = {"Authorization": f"Bearer {KEY}"}


@frozen
class Server:
    """A gateway that listens."""

    url: str
    client: AsyncHTTPClient

    async def ask(self, method: str, path: str, **more: Any) -> HTTPResponse:
        """An answer, whatever its status."""
        return await self.client.fetch(f"{self.url}{path}", method=method, raise_error=False, **more)

    async def chat(self, body: Any) -> HTTPResponse:
        """The answer to a call."""
        headers = {**SIGNED, "Content-Type": "application/json"}
        return await self.ask("POST", "/v1/chat/completions", headers=headers, body=json.dumps(body))


@contextlib.asynccontextmanager
async def gateway(folder: Path) -> AsyncIterator[Server]:
    """A gateway with one key and ``echo:``, on a loopback port."""
    keys = folder / "keys.txt"
    keys.write_text(f"{KEY} name=ada\n")
    keys.chmod(0o600)
    built = build_app(Settings(keys_file=keys))
    server = HTTPServer(built.application)
    socket, port = bind_unused_port()
    server.add_socket(socket)
    client = AsyncHTTPClient(force_instance=True)
    try:
        yield Server(f"http://127.0.0.1:{port}", client)
    finally:
        client.close()
        server.stop()
        await server.close_all_connections()
        await built.aclose()
