"""T7 with its whole number: 1,000 callers leave in each phase."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

import pytest
from kit.leaks import sockets
from kit.leaving import PHASES, scene

pytestmark = pytest.mark.timeout(1800)

TIMES = 1000


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("phase", PHASES)
def test_the_gateway_leaves_with_its_caller(tmp_path: Path, phase: str, stream: bool) -> None:
    """S19: half within 50 ms, 99 of 100 within 100 ms, no socket left."""

    async def leave() -> list[float]:
        async with scene(tmp_path) as here:
            before = sockets()
            found = [await here.leave(phase, stream=stream) for _ in range(TIMES)]
            assert here.at.pool.open == 0
            assert sockets() <= before
            return found

    cuts = statistics.quantiles(asyncio.run(leave()), n=100)
    print(f"{phase}, {'stream' if stream else 'json'}: p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms")
    assert cuts[49] < 0.05
    assert cuts[98] < 0.1
