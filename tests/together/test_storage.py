"""What callers see when the ledger's store is locked, its disk full, its file damaged or its directory in use."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import KEY, Gateway

Start = Callable[..., Gateway]
HELLO = {"model": "echo:", "messages": [{"role": "user", "content": "Hi"}]}


def call(gateway: Gateway) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=HELLO, headers=headers, timeout=20)


def total(gateway: Gateway) -> int:
    headers = {"authorization": f"Bearer {KEY}"}
    answer = httpx.get(f"{gateway.url}/v1/usage", headers=headers, timeout=20)
    return int(answer.json()["total"]["calls"]) if answer.status_code == 200 else -1


def ready(gateway: Gateway) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{gateway.url}/ready", timeout=20).json()
    return found


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_locked_store_holds_no_call_up_and_loses_none(start_gateway: Start, tmp_path: Path) -> None:
    """D5: calls do not notice; `/ready` says it after 10 s; everything is there once the lock is gone."""
    gateway = start_gateway(FWD_DATA=str(tmp_path / "data"))
    assert call(gateway).status_code == 200
    until(lambda: total(gateway) == 1)
    with closing(sqlite3.connect(tmp_path / "data" / "fwd.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        for _ in range(20):
            began = time.monotonic()
            assert call(gateway).status_code == 200
            assert time.monotonic() - began < 2
        until(lambda: ready(gateway)["status"] == "degraded")
        assert "nothing is lost" in ready(gateway)["degraded"][0]
        other.execute("rollback")
    until(lambda: total(gateway) == 21)
    until(lambda: ready(gateway)["status"] == "ready")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_refuses_calls_before_they_are_sent_and_takes_them_again(
    start_gateway: Start, small_disk: Path
) -> None:
    """D6: 503 storage_busy, nothing unrecorded; with room again it goes on by itself."""
    gateway = start_gateway(FWD_DATA=str(small_disk / "data"))
    served = int(call(gateway).status_code == 200)
    assert served == 1
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    refused = None
    for _ in range(3000):  # the journal's file has pages left that it may use
        answer = call(gateway)
        if answer.status_code != 200:
            refused = answer
            break
        served += 1
    assert refused is not None
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_busy")
    assert refused.headers["retry-after"] == "1"
    assert "cannot be recorded" in " ".join(ready(gateway)["degraded"])
    filler.unlink()
    until(lambda: call(gateway).status_code == 200)
    served += 1
    until(lambda: total(gateway) >= served)
    assert total(gateway) == served


def run(data: Path, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FWD_", "FORWARDER_"))}
    command = [sys.executable, "-m", "fwd_server", "--port", "0"]
    env = {**clean, "FWD_DATA": str(data)}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_damaged_store_stops_the_start_and_is_left_as_it_is(start_gateway: Start, tmp_path: Path) -> None:
    """D7: exit code 78, and the file is named; nothing overwrites what may still be saved."""
    data = tmp_path / "data"
    gateway = start_gateway(FWD_DATA=str(data))
    assert call(gateway).status_code == 200
    assert gateway.stop() == 0
    damaged = b"damaged!" * 1000
    (data / "fwd.db").write_bytes(damaged)
    done = run(data, cwd=tmp_path)
    assert done.returncode == 78
    assert str(data / "fwd.db") in done.stderr
    assert "Traceback" not in done.stderr
    assert (data / "fwd.db").read_bytes() == damaged


def test_a_directory_in_use_stops_the_start_and_names_the_process(start_gateway: Start, tmp_path: Path) -> None:
    data = tmp_path / "data"
    gateway = start_gateway(FWD_DATA=str(data))
    done = run(data, cwd=tmp_path)
    assert done.returncode == 78
    assert f"in use by process {gateway.process.pid}" in done.stderr
    assert call(gateway).status_code == 200


def test_a_directory_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(tmp_path / "file" / "data", cwd=tmp_path)
    assert done.returncode == 78
    assert "FWD_DATA names another directory" in done.stderr
