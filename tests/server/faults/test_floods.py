"""T9 in its short form: what pours in is not kept. tests/long measures the process."""

from __future__ import annotations

import gc
import json
import tracemalloc
from pathlib import Path

import pytest
from kit import loop, wire
from kit.floods import FLOODS, MIB, Flood, ended
from kit.gateways import gateway
from kit.loopup import Upstream, loopback

from fwd_server.http1.client.pool import Limits, Pool, Resolver

from .rows import BODY_LIMIT
from .stage import CALLERS_KEY


async def poured(folder: Path, flood: Flood) -> tuple[wire.Answer, int]:
    """The answer to a call of a provider that floods, and the most that was held for it, in bytes."""
    async with Upstream(lambda seen: ended(flood.script())) as up:
        pool = Pool(limits=Limits(body=BODY_LIMIT), resolver=Resolver(loopback))
        env = {"OPENAI_API_KEY": "sk-canary-flood", "OPENAI_BASE_URL": up.url}
        async with gateway(folder, CALLERS_KEY, pool, loop.LoopClock(), **env) as at:
            body = {"model": "openai:m", "stream": flood.stream, "messages": [{"role": "user", "content": "Hi"}]}
            headers = {"Authorization": f"Bearer {CALLERS_KEY}", "Content-Type": "application/json"}
            gc.collect()
            tracemalloc.start()
            try:
                answer = await wire.post(at.url, json.dumps(body).encode(), headers)
                return answer, tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
def test_a_flood_is_ended_and_not_kept(tmp_path: Path, flood: Flood) -> None:
    """F26, F29: it ends by its limit, and the memory held for it, the test's own included, is less than two limits."""
    answer, held = loop.run(poured(tmp_path, flood))
    limit = BODY_LIMIT if flood.limit is None else flood.limit
    assert answer.error["code"] == flood.code
    assert held < 2 * max(limit, MIB) + len(answer.raw)
