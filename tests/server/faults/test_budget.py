"""One budget of attempts (S22, G9, T29): the SDK's retries and the gateway's fallbacks do not multiply."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
from attrs import define
from kit import judges, loop
from kit.fakeup import error_answer
from kit.gateways import gateway
from kit.leaks import LogKeeper
from kit.loopup import Upstream

from fwd_server.http1.client.pool import Pool, Resolver
from fwd_server.observe.log import JsonLines

from .stage import CALLERS_KEY, loopback


@define
class Chain:
    """An SDK with its two retries, a gateway, and providers that fail."""

    sdk: openai.AsyncOpenAI
    up: Upstream


@contextlib.asynccontextmanager
async def chain(folder: Path, names: str, status: int, **headers: str) -> AsyncIterator[Chain]:
    async with Upstream(lambda seen: [error_answer(status, **headers)]) as up:
        env = {f"{name.upper()}_BASE_URL": f"{up.url}/{name}" for name in names.split(",")}
        env |= {f"{name.upper()}_MODEL": "m" for name in names.split(",")}
        env |= {"FWD_COMPAT": names, "PROVIDERS_PRIORITY": names}
        pool = Pool(resolver=Resolver(loopback))
        async with gateway(folder, CALLERS_KEY, pool, loop.LoopClock(), **env) as at:
            async with openai.AsyncOpenAI(base_url=f"{at.url}/v1", api_key=CALLERS_KEY) as sdk:
                yield Chain(sdk, up)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_the_worst_chain(tmp_path: Path, status: int, stream: bool) -> None:
    """T29: two retries there, three failing providers here: three requests, and the SDK obeys x-should-retry."""

    async def ask() -> tuple[judges.Verdict, list[str]]:
        async with chain(tmp_path, "one,two,three", status) as made:
            verdict = await judges.openai_sdk(made.sdk, stream=stream, model="one:m")
            return verdict, [seen.target.split("/")[1] for seen in made.up.seen]

    verdict, asked = loop.run(ask())
    assert asked == ["one", "two", "three"]
    assert verdict.raised in ("RateLimitError", "InternalServerError")


def test_retries_of_the_sdk_are_in_the_log(tmp_path: Path) -> None:
    """A limit of a lone provider is the SDK's to wait for: one attempt a call, and the line says which try it is."""

    async def ask() -> int:
        async with chain(tmp_path, "one", 429, retry_after="2") as made:
            assert (await judges.openai_sdk(made.sdk, stream=False, model="one:m")).raised == "RateLimitError"
            return len(made.up.seen)

    with LogKeeper([JsonLines()], ["fwd"]) as log:
        assert loop.run(ask()) == 3
    lines = [json.loads(line) for line in log.lines]
    assert [line["client_retry"] for line in lines] == [0, 1, 2]
    assert [len(line["attempts"]) for line in lines] == [1, 1, 1]
