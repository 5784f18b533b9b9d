"""Probes of the real process over a socket of their own: of several workers, and of one that was killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Gateway
from .test_process import run
from .test_workers import until, workers_of

Start = Callable[..., Gateway]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Unix sockets, and workers in /proc")


def probe(path: Path, target: str) -> tuple[int, Any]:
    """Status and answer of a probe."""
    with socket.socket(socket.AF_UNIX) as probing:
        probing.settimeout(20)
        probing.connect(str(path))
        probing.sendall(f"GET {target} HTTP/1.1\r\nHost: fwd\r\nConnection: close\r\n\r\n".encode())
        with probing.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_the_parent_of_workers_answers_for_all(start_gateway: Start, tmp_path: Path) -> None:
    """While one is replaced as well; when it stops it leaves no file behind."""
    path = tmp_path / "health"
    gateway = start_gateway("--workers", "2", "--health-listen", str(path))
    said = {"status": "ready", "workers": [{"worker": n, "status": "ready"} for n in (1, 2)]}
    until(lambda: probe(path, "/ready") == (200, said))
    first = workers_of(gateway)
    os.kill(first[0], signal.SIGKILL)
    until(lambda: first[0] not in workers_of(gateway))
    assert probe(path, "/health") == (200, {"status": "ok"})
    until(lambda: probe(path, "/ready") == (200, said))
    assert gateway.stop() == 0
    assert not path.exists()


def test_a_socket_is_taken_from_the_dead_alone(start_gateway: Start, tmp_path: Path) -> None:
    """A gateway that was killed leaves a file; one that lives keeps its place, and says who cannot start why."""
    path = tmp_path / "health"
    killed = start_gateway("--health-listen", str(path))
    killed.process.kill()
    killed.process.wait()
    assert path.is_socket()
    living = start_gateway("--health-listen", str(path))
    done = run("--port", "0", "--health-listen", str(path), cwd=tmp_path)
    assert done.returncode == 70
    assert f"Cannot listen on {path}: in use" in done.stderr
    assert probe(path, "/health") == (200, {"status": "ok"})
    assert living.stop() == 0
    assert not path.exists()


def test_a_unix_socket_for_calls_is_removed_too(tmp_path: Path) -> None:
    """Also where the start fails after it was bound."""
    (tmp_path / "taken").write_text("precious")
    done = run("--uds", str(tmp_path / "s"), "--health-listen", str(tmp_path / "taken"), cwd=tmp_path)
    assert done.returncode == 70
    assert "there is a file that is not a socket" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
