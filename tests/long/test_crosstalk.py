"""T27 with its whole number: ten minutes, and at least 50,000 answers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from kit.crosstalk import crosstalk

SECONDS, CALLERS, ANSWERS = 600.0, 200, 50_000


def test_nobody_reads_anothers_answer(tmp_path: Path) -> None:
    """S28: no foreign word; a third of the calls is broken or left."""
    ends = time.monotonic() + SECONDS
    each = 3 * ANSWERS // CALLERS // 2
    work = crosstalk(tmp_path, callers=CALLERS, enough=lambda n: n >= each and time.monotonic() > ends, seed=27)
    tally = asyncio.run(work)
    print(f"{tally.answers} answers, {tally.broken} broken, {tally.left} left, {len(tally.foreign)} foreign")
    assert tally.foreign == []
    assert tally.answers >= ANSWERS
