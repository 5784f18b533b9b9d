"""T9 on the real process: the memory it takes while a provider pours in more than the gateway takes."""

from __future__ import annotations

import http.client
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import processes
from bench.load import KEY
from bench.processes import GatewayPlace, System
from kit.fakeup import Fakeup
from kit.floods import FLOODS, MIB, Flood, ended

pytestmark = pytest.mark.timeout(1800)

BODY = 64 * MIB
AROUND = 4 * MIB  # what the first call of a process takes whatever comes back: code, buffers, arenas


@pytest.fixture
def place() -> Iterator[GatewayPlace]:
    with tempfile.TemporaryDirectory() as name:
        yield GatewayPlace(sys.executable, Path(name), 1)


def peak(gateway: System) -> int:
    """The most memory the process ever had since it was last asked to forget that."""
    (pid,) = gateway.pids()
    status = Path(f"/proc/{pid}/status").read_text()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def ask(gateway: System, model: str, *, stream: bool) -> bytes:
    """The end of an answer, which is not kept."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=300)
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer, tail = connection.getresponse(), b""
    while data := answer.read(1 << 16):
        tail = (tail + data)[-1000:]
    connection.close()
    return tail


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
def test_a_flood_takes_less_than_twice_its_limit(place: GatewayPlace, flood: Flood) -> None:
    """F26, F29: growth of the resident memory under 2x the limit, at the limits people run with."""
    with Fakeup(lambda seen: ended(flood.script())) as up:
        with processes.run_gateway(place, core=None, OPENAI_BASE_URL=up.url) as gateway:
            ask(gateway, "echo:", stream=flood.stream)
            peak(gateway)
            before = peak(gateway)
            said = ask(gateway, "openai:m", stream=flood.stream)
            grown = peak(gateway) - before
    print(f"{flood.name}: {grown / MIB:.1f} MiB")
    assert f'"code":"{flood.code}"'.encode() in said
    assert grown < 2 * (BODY if flood.limit is None else flood.limit) + AROUND
