"""D10: the wall clock jumps; no timer of the gateway does."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import define
from kit import loop, wire
from kit.fakeup import DONE, ROLE, STREAM_END, STREAM_HEAD, WAIT_FOR_CLOSE, Seen, error_answer, event, piece
from kit.gateways import gateway
from kit.loopup import Step, Upstream, loopback

from fwd_server.http1.client.pool import Pool, Resolver

from .stage import CALLERS_KEY

HOUR, DAY = 3600.0, 86_400.0
JUMPS = (HOUR, -HOUR, DAY, -DAY, -1.0)


@define
class JumpingClock(loop.LoopClock):
    """The loop's clock; its wall time jumps every time somebody reads it."""

    jump: float
    jumps: int = 0

    def now(self) -> float:
        self.jumps += 1
        return 1_795_305_600.0 + self.monotonic() + self.jump * self.jumps


async def call(folder: Path, clock: JumpingClock, script: Iterable[Step], *, stream: bool) -> tuple[wire.Answer, float]:
    """An answer by that clock, and the seconds it took by the loop's."""
    steps = list(script)

    def play(seen: Seen) -> Iterable[Step]:
        clock.now()
        return steps

    async with Upstream(play) as up:
        env = {"OPENAI_API_KEY": "sk-canary-clock", "OPENAI_BASE_URL": up.url}
        async with gateway(folder, CALLERS_KEY, Pool(resolver=Resolver(loopback)), clock, **env) as at:
            body = {"model": "openai:m", "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
            headers = {"Authorization": f"Bearer {CALLERS_KEY}", "Content-Type": "application/json"}
            began = clock.monotonic()
            answer = await wire.post(at.url, json.dumps(body).encode(), headers)
            assert clock.jumps > 1
            return answer, clock.monotonic() - began


@pytest.mark.parametrize("jump", JUMPS)
def test_nothing_ends_early(tmp_path: Path, jump: float) -> None:
    """A stream of 25 minutes with silences of 50 s, each shorter than any limit, is whole."""
    said = itertools.chain.from_iterable((50.0, event({"content": "x"})) for _ in range(30))
    steps = [STREAM_HEAD, ROLE, *said, event({}, "stop"), piece(DONE), STREAM_END]
    answer, seconds = loop.run(call(tmp_path, JumpingClock(jump), steps, stream=True))
    assert (answer.status, answer.text, "[DONE]" in answer.events) == (200, "x" * 30, True)
    assert seconds > 1499


@pytest.mark.parametrize("jump", JUMPS)
def test_nothing_is_forgotten(tmp_path: Path, jump: float) -> None:
    """The limits are kept all the same: the deadline of a call comes after its 600 s, not before and not never."""
    answer, seconds = loop.run(call(tmp_path, JumpingClock(jump), [WAIT_FOR_CLOSE], stream=False))
    assert (answer.status, answer.error["code"]) == (504, "deadline")
    assert seconds > 599


@pytest.mark.parametrize("jump", JUMPS)
def test_a_rest_is_as_long_as_it_was_told(tmp_path: Path, jump: float) -> None:
    """G10: what a provider asks to wait for is told on as it is, however late or early it seems to be."""
    answer, _ = loop.run(call(tmp_path, JumpingClock(jump), [error_answer(429, retry_after="30")], stream=False))
    assert (answer.status, answer.headers["retry-after"]) == (429, "30")
