"""R1 in short: the whole gateway is killed in the middle of its calls. The long form is in tests/long."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from kit.killing import Killed, check, stop

KILLS = 4


def test_kill_9_loses_no_acknowledged_call_and_none_that_the_upstream_saw(tmp_path: Path) -> None:
    killed = Killed()

    async def main() -> None:
        for _ in range(KILLS):
            await killed.run(tmp_path, 0.2 + random.random())
        await stop(tmp_path)

    asyncio.run(main())
    check(tmp_path, killed)
    assert len(killed.acknowledged) > 5 * KILLS
