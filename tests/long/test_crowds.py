"""T2, T3 and R3 with their whole numbers, on the real process with a core of its own."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from bench import overload, processes, slow
from bench.load import percentile
from bench.processes import GatewayPlace, System
from kit.crowd import crowd

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def place() -> Iterator[GatewayPlace]:
    """Where a gateway of the test's own settings runs."""
    processes.raise_fd_limit()
    with tempfile.TemporaryDirectory() as name, processes.run_upstream() as upstream:
        yield GatewayPlace(sys.executable, Path(name), upstream.port)


@pytest.mark.parametrize("mode", slow.MODES)
def test_slow_clients_cost_the_others_little(mode: str) -> None:
    """T2: p99 under twice that without them, no error, and all are gone within 35 s."""
    processes.raise_fd_limit()
    found = slow.measure_mode(mode, 1000, 40)
    print(found)
    assert (found["failed"], found["left"]) == (0, 0)
    assert found["last_gone_s"] < 35
    assert found["p99_beside_ms"] < 2 * max(found["p99_alone_ms"], 1.0)


def few_files(place: GatewayPlace, count: int) -> str:
    """A Python that may open so many."""
    path = place.folder / "python"
    path.write_text(f'#!/bin/sh\nulimit -n {count}\nexec {place.python} "$@"\n')
    path.chmod(0o700)
    return str(path)


def test_a_crowd_costs_nothing_while_it_waits(place: GatewayPlace) -> None:
    """T3: 256 descriptors, 1,000 connections: streams end whole, CPU under 20 %, normal again within a second."""
    with processes.run_gateway(evolve(place, python=few_files(place, 256))) as gateway:
        with (
            processes.hold_streams(gateway, streams=10, model="openai:bench-600x1000") as streams,
            crowd(gateway.port, 1000),
        ):
            time.sleep(1)
            before = gateway.cpu_s()
            time.sleep(20)
            busy = (gateway.cpu_s() - before) / 20
        assert streams == 10
        left = time.monotonic()
        assert processes.run_load(gateway, "latency", calls=1)["calls"] == 1
        again = time.monotonic() - left
    print(f"CPU {busy:.1%} while full, a call {again:.2f} s after the crowd left, its process's start included")
    assert busy < 0.2
    assert again < 1


def shed(gateway: System, rate: float, seconds: float, most: int) -> float:
    """How many calls were served a second; the others were refused, as R3 wants it."""
    tally, alive = overload.measure_rate(gateway, rate, seconds)
    refused, lives = percentile(tally["refused"], 0.99), percentile(alive, 0.99)
    print(overload.format_tally(f"{rate:g} calls a second for {most}", tally, alive, seconds))
    assert set(tally["calls"]) <= {"200", "503"}
    assert tally["bare"] == 0
    assert refused < 0.05
    assert lives < 0.1
    return float(tally["calls"]["200"] / seconds)


def test_ten_times_the_capacity_is_shed(place: GatewayPlace) -> None:
    """R3: goodput stays, refusals take 50 ms at most, signs of life 100 ms; and then all is as before."""
    with processes.run_gateway(place, FWD_MAX_REQUESTS="50", FWD_MAX_UNAUTHENTICATED="10000") as gateway:
        peak = shed(gateway, 50, 10, 50)
        assert shed(gateway, 500, 60, 50) >= 0.9 * peak
        assert shed(gateway, 50, 5, 50) >= 0.9 * peak
