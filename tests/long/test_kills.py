"""R1 with its whole number: 50 kills under 50 calls a second, streams and whole answers mixed."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from kit.killing import Killed, check, stop

pytestmark = pytest.mark.timeout(1800)

KILLS = 50


def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    """Acknowledged records lost 0, twice 0, calls that the upstream saw without a record 0."""
    killed = Killed()

    async def main() -> None:
        for _ in range(KILLS):
            await killed.run(tmp_path, random.random() * 4)
        await stop(tmp_path)

    asyncio.run(main())
    print(check(tmp_path, killed))
    assert killed.starts == KILLS
