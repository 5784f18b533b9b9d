"""The whole application in this process, in front of scripted upstreams."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado import httpserver
from tornado.ioloop import IOLoop
from tornado.web import Application

from fwd_server.app import App, build_app
from fwd_server.http1.client.pool import Pool
from fwd_server.http1.server.limits import ServerLimits
from fwd_server.http1.server.listener import HTTPServer
from fwd_server.machine import MemoryUse
from fwd_server.settings import load_settings
from fwd_server.web.application import UNLIMITED

KEY = "fwd_" + "t" * 43


@pytest.fixture(params=["ours", "tornado"])
def http_server(
    request: pytest.FixtureRequest, io_loop: IOLoop, app: Application, _unused_port: tuple[socket.socket, int]
) -> Iterator[Any]:
    """The application behind our server, and once more behind Tornado's, which embedders may use."""
    if request.param == "tornado":
        stock = httpserver.HTTPServer(app, max_body_size=UNLIMITED)
        stock.add_sockets([_unused_port[0]])
        yield stock
        stock.stop()
        io_loop.run_sync(stock.close_all_connections)
        return

    async def start() -> HTTPServer:
        server = HTTPServer(app, limits=ServerLimits(body_bytes=UNLIMITED), render=app.render_refusal)
        server.add_sockets([_unused_port[0]])
        return server

    server = io_loop.run_sync(start)
    yield server
    io_loop.run_sync(server.aclose)


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    """A key file with one key called web."""
    path = tmp_path / "keys" / "forwarder_api_keys.txt"
    path.parent.mkdir(mode=0o700)
    path.write_text(f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()} name=web\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def make_app(io_loop: IOLoop, keys_file: Path) -> Iterator[Callable[..., App]]:
    """Builds the application from environment variables, and a pool if need be; closed after the test."""
    built: list[App] = []

    def make(pool: Pool | None = None, memory: Callable[[], MemoryUse | None] = lambda: None, **env: str) -> App:
        settings = load_settings({}, {"FORWARDER_KEYS_FILE": str(keys_file), **env}).settings

        async def build() -> App:
            return build_app(settings, pool=pool, memory=memory)

        built.append(io_loop.run_sync(build))
        return built[-1]

    yield make
    for app in built:
        io_loop.run_sync(app.aclose)
