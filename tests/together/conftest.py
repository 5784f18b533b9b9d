"""The real thing: the gateway as a process of its own, with real sockets on both sides."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import httpx2
import pytest
from attrs import define, field
from kit.overheard import Listener, listening_to_clients

KEY = "fwd_" + secrets.token_urlsafe(32)
PROVIDER_KEY = "sk-canary-" + secrets.token_hex(16)
START_S = 30.0


@define
class Gateway:
    """A running gateway: where it is, and what it has logged so far."""

    process: subprocess.Popen[str]
    cwd: Path
    lines: list[str] = field(factory=list)
    port: int = 0
    _arrived: Queue[str] = field(factory=Queue)
    _reader: threading.Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = threading.Thread(target=self.read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self._arrived.put(line)

    def close(self) -> None:
        """Read what it said to the end."""
        assert self.process.stderr is not None
        self._reader.join(START_S)
        self.process.stderr.close()

    def wait_for(self, text: str, seconds: float = START_S) -> str:
        """The next line that has ``text`` in it."""
        try:
            while text not in (line := self._arrived.get(timeout=seconds)):
                pass
        except Empty:
            pytest.fail(f"no line with {text!r} in:\n{''.join(self.lines)}")
        return line

    def requests(self) -> list[dict[str, Any]]:
        """The lines of requests."""
        return [found for found in map(json.loads, self.lines) if found["logger"] == "fwd.access"]

    def stop(self, seconds: float = 10.0) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@pytest.fixture(scope="session")
def listener() -> Iterator[Listener]:
    """Hears what the SDKs are answered, and, once they have stopped, what the gateways logged."""
    with listening_to_clients(httpx, httpx2) as listener:
        yield listener
        assert listener.take() == []


@pytest.fixture(autouse=True)
def no_key_is_heard(listener: Listener) -> Iterator[None]:
    """S12 to S14: no key of a provider is in any answer or error's text of any test."""
    yield
    assert listener.take() == []


@pytest.fixture(scope="session")
def start_gateway(tmp_path_factory: pytest.TempPathFactory, listener: Listener) -> Iterator[Callable[..., Gateway]]:
    """Starts a gateway with the given environment, on a port of its own choice; stopped at the end.

    ``files`` is how many it may open, ``config`` the text of its ``fwd.toml``.
    """
    admission: list[Gateway] = []

    def start(
        *flags: str, keys: str | None = None, dotenv: str = "", files: int = 0, config: str = "", **env: str
    ) -> Gateway:
        cwd = tmp_path_factory.mktemp("gateway")
        if config:
            (cwd / "fwd.toml").write_text(config)
        if dotenv:
            (cwd / ".env").touch(mode=0o600)
            (cwd / ".env").write_text(dotenv)
        if keys is None:
            keys = f"sha256:{hashlib.sha256(KEY.encode()).hexdigest()} name=test\n"
        (cwd / "keys").mkdir(mode=0o700)
        if keys:
            (cwd / "keys" / "forwarder_api_keys.txt").touch(mode=0o600)
            (cwd / "keys" / "forwarder_api_keys.txt").write_text(keys)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("FWD_", "FORWARDER_"))}
        limited = ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"] if files else []
        process = subprocess.Popen(
            [*limited, sys.executable, "-m", "fwd_server", "--port", "0", *flags],
            cwd=cwd,
            env={**clean, "FWD_LOG_FORMAT": "json", **env},
            stderr=subprocess.PIPE,
            text=True,
        )
        gateway = Gateway(process, cwd)
        admission.append(gateway)
        line = gateway.wait_for("listens on")
        gateway.port = int(line.partition("http://127.0.0.1:")[2].partition('"')[0])
        return gateway

    yield start
    for gateway in admission:
        if gateway.process.poll() is None:
            gateway.stop()
        gateway.close()
        listener.hear("log of a gateway", "".join(gateway.lines))


@pytest.fixture(scope="session")
def gateway(start_gateway: Callable[..., Gateway]) -> Gateway:
    """A gateway with echo and a list, for everything that changes nothing."""
    return start_gateway(PROVIDERS_PRIORITY="echo")
