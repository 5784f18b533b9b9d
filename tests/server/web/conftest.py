"""The whole application in this process, in front of scripted upstreams."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from fwd_server.app import App, build_app
from fwd_server.settings import load

KEY = "fwd_" + "t" * 43


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
    """Builds the application from environment variables; closed after the test."""
    built: list[App] = []

    def make(**env: str) -> App:
        settings = load({}, {"FORWARDER_KEYS_FILE": str(keys_file), **env}).settings

        async def build() -> App:
            return build_app(settings)

        built.append(io_loop.run_sync(build))
        return built[-1]

    yield make
    for app in built:
        io_loop.run_sync(app.aclose)
