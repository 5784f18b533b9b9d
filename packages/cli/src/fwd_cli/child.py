"""A gateway in a child process and a temporary directory, for ``fwd demo`` and ``fwd drill``."""

from __future__ import annotations

import http.client
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from fwd_cli.errors import ExitCode, Failure

HOST = "127.0.0.1"
READY_WITHIN_S = 20.0
STOPPED_WITHIN_S = 10.0
_POLL_S = 0.02
_OURS = ("FWD_", "FORWARDER_", "PROVIDERS_PRIORITY")


@frozen
class Gateway:
    """A running gateway: its address, a key for it, how long it took to be ready."""

    url: str
    key: str
    ready_s: float
    process: subprocess.Popen[bytes]


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses connections inside the block: it is bound, but nothing listens on it."""
    with socket.socket() as held:
        # Bound without listening: whoever connects is refused, and nobody else is given the port meanwhile.
        held.bind((HOST, 0))
        yield int(held.getsockname()[1])


@contextmanager
def gateway(settings: Mapping[str, str]) -> Iterator[Gateway]:
    """Start a gateway with these settings and one new key on a free port; it stops at the end of the block.

    Provider keys in the environment are handed on, other settings of a gateway are not. Raises :class:`Failure` with
    the end of its log when it does not get ready.
    """
    with tempfile.TemporaryDirectory(prefix="fwd-") as name:
        folder = Path(name)
        # Between the release of the port and its use another program could take it; that is rare, and reported.
        with closed_port() as port:
            environment = environment_of(settings, folder, port)
        key = _new_key(folder)
        with _running(folder, environment) as process:
            ready_s = _wait_until_ready(process, port, folder / "log")
            yield Gateway(f"http://{HOST}:{port}", key, ready_s, process)


def environment_of(settings: Mapping[str, str], folder: Path, port: int) -> dict[str, str]:
    """The environment of the child: ours without its gateway settings, then what this gateway needs."""
    # Provider keys may be wanted; an address or a log level of another gateway never is.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    own = {
        "FWD_HOST": HOST,
        "FWD_PORT": str(port),
        "FWD_LOG_FORMAT": "text",
        "FORWARDER_KEYS_FILE": str(folder / "keys"),
    }
    return {**inherited, **own, **settings}


def _new_key(folder: Path) -> str:
    from fwd_server.store.key_file import append_key

    key = "fwd_" + secrets.token_urlsafe(32)
    append_key(folder / "keys", key, name="demo")
    return key


@contextmanager
def _running(folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "fwd_server"], cwd=folder, env=environment, stdout=log, stderr=log
        ) as process,
    ):
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes], within_s: float = STOPPED_WITHIN_S) -> None:
    """Ask it to end, and end it if it does not."""
    # Asked first, so that it can tell its open streams.
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> float:
    started = time.monotonic()
    # A process that has ended will not become ready, so the wait ends with it.
    while (waited := time.monotonic() - started) < READY_WITHIN_S and process.poll() is None:
        if is_ready(port):
            return waited
        time.sleep(_POLL_S)
    raise not_ready(log)


def is_ready(port: int) -> bool:
    """Whether ``/ready`` answers 200; a connection that fails is a no."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def not_ready(log: Path) -> Failure:
    """The failure of a gateway that did not start, with the last line of its log."""
    lines = log.read_text(errors="replace").strip().splitlines()
    # The last line says why it gave up; those before say what it had done.
    reason = lines[-1] if lines else "its log is empty"
    return Failure("the gateway did not start", reason, "fwd run-server --check", ExitCode.SERVER)
