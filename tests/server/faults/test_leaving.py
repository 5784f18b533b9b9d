"""T7 in its short form: the caller leaves, and so does the gateway. tests/long has the whole number and figures."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from kit.leaks import sockets
from kit.leaving import PHASES, scene


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("phase", PHASES)
def test_the_gateway_leaves_with_its_caller(tmp_path: Path, phase: str, stream: bool) -> None:
    """S19: the provider's connection is closed in every phase, and no socket stays."""

    async def leave() -> None:
        async with scene(tmp_path) as here:
            before = sockets()
            for _ in range(5):
                await here.leave(phase, stream=stream)
            assert here.at.pool.open == 0
            assert sockets() <= before

    asyncio.run(leave())
