"""The whole gateway in this process, listening on a real loopback port."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from tornado.testing import bind_unused_port

from fwd_server.app import App, build_app
from fwd_server.clock import Clock
from fwd_server.http1.client.pool import Pool
from fwd_server.http1.server.listener import HTTPServer
from fwd_server.process.serve import server_limits
from fwd_server.settings import load_settings
from fwd_server.settings.config_file import ConfigText


@frozen
class Listening:
    """A gateway that listens."""

    url: str
    app: App
    pool: Pool


@contextlib.asynccontextmanager
async def gateway(
    folder: Path,
    key: str,
    pool: Pool | None = None,
    clock: Clock | None = None,
    seams: Mapping[str, Any] | None = None,
    config: ConfigText | None = None,
    **env: str,
) -> AsyncIterator[Listening]:
    """A gateway with one key and these variables; what it still has open at the end is closed.

    ``seams`` are further parameters of ``build_app``: policies, observers, dialects. ``config`` is its ``fwd.toml``.
    """
    keys = folder / "keys.txt"
    if not keys.exists():
        keys.write_text(f"sha256:{hashlib.sha256(key.encode()).hexdigest()} name=test\n")
        keys.chmod(0o600)
    pool = pool or Pool()
    settings = load_settings({}, {"FORWARDER_KEYS_FILE": str(keys), **env}, None, config).settings
    app = build_app(settings, clock=clock, pool=pool, **(seams or {}))
    server = HTTPServer(app.application, limits=server_limits(settings), render=app.application.render_refusal)
    sock, port = bind_unused_port()
    server.add_sockets([sock])
    try:
        yield Listening(f"http://127.0.0.1:{port}", app, pool)
    finally:
        await server.aclose()
        await app.aclose()
