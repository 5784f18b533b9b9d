"""Several workers on the real process: one that dies, all that are replaced, keys that are revoked, the stop."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from .conftest import KEY, Gateway

Start = Callable[..., Gateway]
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc"),
    pytest.mark.usefixtures("default_hangup"),  # the gateways that are started here inherit what SIGHUP does
]


def workers_of(gateway: Gateway) -> list[int]:
    """The processes below the parent."""
    pid = gateway.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def open_call(gateway: Gateway, model: str, **more: Any) -> http.client.HTTPConnection:
    """A call that was sent over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    body = {"model": model, "messages": [{"role": "user", "content": "a b c d e f g h"}], **more}
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    return connection


def status_of(gateway: Gateway) -> int:
    connection = open_call(gateway, "echo:")
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def peer_of(connection: http.client.HTTPConnection) -> int:
    """Our port of a connection, by which its worker can be told."""
    return int(connection.sock.getsockname()[1])


def sockets_of(pid: int) -> set[str]:
    """The inodes of the sockets a process has open."""
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(fd))
    return {name[8:-1] for name in found if name.startswith("socket:")}


def worker_of(gateway: Gateway, connection: http.client.HTTPConnection) -> int:
    """The worker that has the other end of a connection."""
    ends = f":{gateway.port:04X}", f":{peer_of(connection):04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    inode = next(row[9] for row in rows if row[1].endswith(ends[0]) and row[2].endswith(ends[1]))
    return next(pid for pid in workers_of(gateway) if inode in sockets_of(pid))


@frozen
class Stream:
    """A stream that has begun."""

    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse

    def end(self) -> str:
        """How it ends: whole, cut, or by a shutdown."""
        try:
            text = self.response.read()
        except (http.client.IncompleteRead, ConnectionError):
            return "cut"
        if b'"code":"shutdown"' in text:
            return "shutdown"
        return "whole" if text.endswith(b"data: [DONE]\n\n") else repr(text)


@contextlib.contextmanager
def opened(gateway: Gateway, count: int, model: str) -> Iterator[list[Stream]]:
    """Streams that have begun."""
    with contextlib.ExitStack() as stack:
        connections = [open_call(gateway, model, stream=True) for _ in range(count)]
        for connection in connections:
            stack.callback(connection.close)
        streams = [Stream(connection, connection.getresponse()) for connection in connections]
        for stream in streams:
            stack.callback(stream.response.close)
        yield streams


class Load:
    """Calls from some threads over kept connections, one after the other, until told to stop."""

    def __init__(self, gateway: Gateway, threads: int = 4) -> None:
        self.gateway = gateway
        self.done = 0
        self.failed: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=30)
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        body = json.dumps({"model": "echo:", "messages": [{"role": "user", "content": "Hi"}]})
        while not self._over.is_set():
            try:
                connection.request("POST", "/v1/chat/completions", body, headers)
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.failed.append(str(response.status))
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
            self.done += 1
        connection.close()


@pytest.fixture
def gateway(start_gateway: Start) -> Iterator[Gateway]:
    """A gateway with two workers."""
    started = start_gateway("--workers", "2", FWD_DRAIN_TIMEOUT="20")
    until(lambda: len(workers_of(started)) == 2)
    yield started
    if started.process.poll() is None:
        assert started.stop() == 0


def test_a_worker_that_dies_takes_only_its_own_calls_along(gateway: Gateway) -> None:
    """D12: the other's streams go on to their end, and a new worker takes the slot."""
    with opened(gateway, 12, "echo:slow?rate=2") as streams:
        owners = [worker_of(gateway, stream.connection) for stream in streams]
        victim = owners[0]
        os.kill(victim, signal.SIGKILL)
        ends = [stream.end() for stream in streams]
    assert ends == ["cut" if owner == victim else "whole" for owner in owners]
    assert "ended with -9" in gateway.wait_for("ended with")
    until(lambda: len(workers_of(gateway)) == 2 and victim not in workers_of(gateway))
    assert status_of(gateway) == 200


def test_new_settings_are_taken_by_the_workers_that_run(gateway: Gateway) -> None:
    """R2, D9: under load, with streams that run on; no process is started, so nothing is forgotten."""
    before = set(workers_of(gateway))
    write_env(gateway, "FWD_SSE_KEEPALIVE=7s")
    with opened(gateway, 6, "echo:slow?rate=4") as streams, Load(gateway) as load:
        gateway.process.send_signal(signal.SIGHUP)
        assert "FWD_SSE_KEEPALIVE" in gateway.wait_for("read again")
        gateway.wait_for("in force on 2 of 2 workers", 40)
        assert [stream.end() for stream in streams] == ["whole"] * 6
    assert not load.failed
    assert load.done > 100
    assert before == set(workers_of(gateway))


def write_env(gateway: Gateway, text: str) -> None:
    """A ``.env`` for the next time the settings are read."""
    path = gateway.cwd / ".env"
    path.touch(mode=0o600)
    path.write_text(text + "\n")


@pytest.mark.parametrize(
    "text", ["FWD_ATTEMPTS=many", "FWD_HOST=0.0.0.0", "FWD_SSL_CERTFILE=none.pem"], ids=["bad", "fixed", "missing"]
)
def test_settings_that_cannot_be_taken_change_nothing(gateway: Gateway, text: str) -> None:
    """D9: invalid = keep old, say why."""
    before = workers_of(gateway)
    write_env(gateway, text)
    gateway.process.send_signal(signal.SIGHUP)
    gateway.wait_for("The new settings cannot be used")
    assert workers_of(gateway) == before
    assert status_of(gateway) == 200


def test_a_key_is_revoked_in_all_workers(start_gateway: Start) -> None:
    """R7, S21: within 5 s no worker takes it any more."""
    gateway = start_gateway("--workers", "4")
    until(lambda: len(workers_of(gateway)) == 4)
    (gateway.cwd / "keys" / "forwarder_api_keys.txt").write_text("# none\n")
    revoked = time.monotonic()
    while 200 in {status_of(gateway) for _ in range(40)}:  # 401, and 429 once there were many of them
        assert time.monotonic() < revoked + 5
    assert gateway.stop() == 0


def test_a_stop_lets_the_calls_of_all_workers_end(gateway: Gateway) -> None:
    """SIGTERM to the parent: streams to their end, exit code 0."""
    with opened(gateway, 8, "echo:slow?rate=10") as streams:
        gateway.process.send_signal(signal.SIGTERM)
        assert [stream.end() for stream in streams] == ["whole"] * 8
    assert gateway.process.wait(10) == 0


def test_a_second_signal_ends_all_at_once(gateway: Gateway) -> None:
    """D14: every open stream gets EV(shutdown)."""
    with opened(gateway, 4, "echo:slow?rate=1") as streams:
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for("requests are still running")
        gateway.process.send_signal(signal.SIGINT)
        assert [stream.end() for stream in streams] == ["shutdown"] * 4
    assert gateway.process.wait(10) == 0


def test_workers_end_when_their_parent_is_gone(start_gateway: Start) -> None:
    gateway = start_gateway("--workers", "2")
    until(lambda: len(workers_of(gateway)) == 2)
    found = workers_of(gateway)
    gateway.process.kill()
    gateway.process.wait(10)
    until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in found))


def test_a_key_file_that_cannot_be_used_stops_the_start(start_gateway: Start, tmp_path: Path) -> None:
    """What keeps the first workers from starting ends it all, with their exit code."""
    from .test_process import run

    keys = tmp_path / "keys.txt"
    keys.write_text("")
    keys.chmod(0o666)
    done = run("--workers", "2", "--port", "0", cwd=tmp_path, FORWARDER_KEYS_FILE=str(keys))
    assert done.returncode == 78
    assert "chmod" in done.stderr


def test_a_port_that_another_gateway_has_is_said(gateway: Gateway, tmp_path: Path) -> None:
    """Though both would share it by SO_REUSEPORT."""
    from .test_process import run

    done = run("--workers", "2", "--port", str(gateway.port), cwd=tmp_path)
    assert done.returncode == 70
    assert "Cannot listen" in done.stderr


# -- one process


def test_one_process_takes_new_settings_and_keeps_what_runs(start_gateway: Start) -> None:
    """D9: the stream that runs goes on; the next call goes by the new settings."""
    gateway = start_gateway()
    with opened(gateway, 1, "echo:slow?rate=4") as (stream,):
        write_env(gateway, "FWD_ECHO=false")
        gateway.process.send_signal(signal.SIGHUP)
        assert "FWD_ECHO" in gateway.wait_for("read again")
        assert status_of(gateway) != 200
        assert stream.end() == "whole"
    assert gateway.stop() == 0


def test_one_process_keeps_its_settings_when_the_new_ones_are_bad(start_gateway: Start) -> None:
    """D9."""
    gateway = start_gateway()
    write_env(gateway, "FWD_ATTEMPTS=many")
    gateway.process.send_signal(signal.SIGHUP)
    assert "FWD_ATTEMPTS" in gateway.wait_for("The new settings cannot be used")
    assert status_of(gateway) == 200
