"""The five times of an attempt, and what a caller may ask of them (contract T8)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from attrs import fields, frozen
from kit import dialects
from kit.dialects import Dialect
from kit.fakeup import STREAM_HEAD, WAIT_FOR_CLOSE, answer, completion, error_answer, json_answer, piece
from kit.gateways import Listening, gateway
from kit.loop import LoopClock, run
from kit.loopup import Step, Upstream, black_hole, loopback
from kit.wire import Answer, post

from fwd_server.http1.client.dial import Address
from fwd_server.http1.client.pool import Pool, Resolver
from fwd_server.values.timeouts import Timeouts

OWN = Timeouts(connect_s=1.0, first_byte_s=2.0, first_event_s=3.0, idle_s=4.0, total_s=5.0)
NAMES = [field.name for field in fields(Timeouts)]


@pytest.mark.parametrize("name", NAMES)
def test_a_shorter_time_counts(name: str) -> None:
    """And changes no other."""
    shorter = OWN.shortened_by({name: 0.5})
    assert [getattr(shorter, other) for other in NAMES if other != name] == [
        getattr(OWN, other) for other in NAMES if other != name
    ]
    assert getattr(shorter, name) == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_longer_time_is_the_operators(name: str) -> None:
    """The very same value, so that who compares sees that nothing was shortened."""
    assert OWN.shortened_by({name: 10.0}) is OWN


@pytest.mark.parametrize("name", ["first_byte_s", "idle_s"])
def test_any_time_is_shorter_than_none(name: str) -> None:
    """Where the operator sets no limit, a caller may."""
    assert getattr(Timeouts(first_byte_s=None, idle_s=None).shortened_by({name: 9.0}), name) == 9.0


def test_most_calls_ask_for_nothing() -> None:
    assert OWN.shortened_by({}) is OWN


# -- over real sockets, on a loop that does not wait

KEY = "fwd_" + "t1me" * 10
SPARE = "The spare answers."
OWN_S, OTHERS_S = 2.0, 50.0
PROVIDERS = ("openai", "anthropic", "google", "groq", "openrouter", "ollama", "my-box")
DIALECTS = {name: dialects.dialect(name, "sk-canary") for name in dialects.PROVIDERS}
ALL = {f"FWD_{what}_TIMEOUT": str(OTHERS_S) for what in ("CONNECT", "FIRST_BYTE", "FIRST_EVENT", "IDLE")}


@frozen
class Silence:
    """Where a provider falls silent: the time that is then over, whether it is asked for a stream, what is seen."""

    time: str
    stream: bool
    steps: Callable[[Dialect], list[Step]]
    code: str
    code_asked: str = ""  # what it is called when the caller asked for the time

    def __str__(self) -> str:
        return f"{self.time}-{'stream' if self.stream else 'json'}"


def nothing(dialect: Dialect) -> list[Step]:
    """No answer."""
    return [WAIT_FOR_CLOSE]


def opening(dialect: Dialect) -> list[Step]:
    """The head of a stream, and what has no content yet."""
    head = STREAM_HEAD.replace(b"text/event-stream", dialect.media.encode())
    return [head, *map(piece, dialect.opening), WAIT_FOR_CLOSE]


def content(dialect: Dialect) -> list[Step]:
    """Some content of a stream."""
    head, *begun, wait = opening(dialect)
    return [head, *begun, *map(piece, dialect.content), wait]


def half(dialect: Dialect) -> list[Step]:
    """Half an answer."""
    return [answer(200, dialect.answer)[: -len(dialect.answer) // 2], WAIT_FOR_CLOSE]


CONNECTS = Silence("connect", False, nothing, "connect_timeout")
SILENCES = (
    CONNECTS,
    Silence("first_byte", False, nothing, "upstream_timeout"),
    Silence("first_byte", True, nothing, "upstream_timeout"),
    Silence("first_event", True, opening, "upstream_timeout"),
    Silence("idle", False, half, "upstream_stalled"),
    Silence("idle", True, content, "upstream_stalled"),
    Silence("total", False, nothing, "upstream_timeout", "deadline"),
    Silence("total", True, opening, "upstream_timeout", "deadline"),
)


def pool(resolver: Resolver | None = None) -> Pool:
    """Connections within this machine; nobody here speaks TLS, so no certificates are read."""
    return Pool(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), resolver=resolver or Resolver(loopback))


@contextlib.asynccontextmanager
async def silent(folder: Path, provider: str, silence: Silence, **env: str) -> AsyncIterator[Listening]:
    """A gateway whose provider falls silent, and a spare one that does not."""
    dialect = DIALECTS.get(provider, DIALECTS["openai"])
    async with contextlib.AsyncExitStack() as stack:
        up = await stack.enter_async_context(Upstream(lambda seen: silence.steps(dialect)))
        port = stack.enter_context(black_hole()) if silence is CONNECTS else up.port
        spare = await stack.enter_async_context(Upstream(lambda seen: [json_answer(completion(SPARE))]))
        stem = provider.upper().replace("-", "_")
        theirs = {f"{stem}_BASE_URL": f"http://127.0.0.1:{port}/v1", f"{stem}_API_KEY": "sk-canary"}
        compat = {"FWD_COMPAT": "my-box,spare", "MY_BOX_BASE_URL": up.url, "SPARE_BASE_URL": spare.url}
        times = {**ALL, "FWD_OLLAMA_FIRST_EVENT_TIMEOUT": str(OTHERS_S), "FWD_SSE_KEEPALIVE": "0"}
        settings = {**compat, "SPARE_MODEL": "good", **theirs, **times, **env}
        yield await stack.enter_async_context(gateway(folder, KEY, pool(), LoopClock(), **settings))


async def call(at: Listening, provider: str, silence: Silence, model: str = "", **headers: str) -> tuple[Answer, float]:
    """A call of a model of the provider: the answer, and after how many seconds it came."""
    body = {
        "model": model or f"{provider}:m",
        "stream": silence.stream,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    fixed = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    began = asyncio.get_running_loop().time()
    answered = await post(at.url, json.dumps(body).encode(), {**fixed, **headers})
    return answered, asyncio.get_running_loop().time() - began


def setting(provider: str, silence: Silence) -> dict[str, str]:
    """The provider's own time, shorter than that of all."""
    return {f"FWD_{provider.upper().replace('-', '_')}_{silence.time.upper()}_TIMEOUT": f"{OWN_S}s"}


def header(silence: Silence, value: str = str(OWN_S)) -> dict[str, str]:
    """The header that asks for a time."""
    name = silence.time.replace("_", "-")
    return {"x-fwd-timeout" if name == "total" else f"x-fwd-{name}-timeout": value}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("silence", SILENCES, ids=str)
def test_every_time_of_every_provider_is_kept(tmp_path: Path, provider: str, silence: Silence) -> None:
    """F2, F7, F9, F10: its own setting counts, not that of all."""

    async def main() -> None:
        async with silent(tmp_path, provider, silence, **setting(provider, silence)) as at:
            answered, seconds = await call(at, provider, silence)
        assert (answered.error["code"], round(seconds, 1)) == (silence.code, OWN_S)

    run(main())


@pytest.mark.parametrize("silence", SILENCES, ids=str)
def test_a_caller_may_ask_for_less(tmp_path: Path, silence: Silence) -> None:
    """F2, F7, F9, F10: each time has its header."""

    async def main() -> None:
        async with silent(tmp_path, "openai", silence) as at:
            answered, seconds = await call(at, "openai", silence, **header(silence))
        assert (answered.error["code"], round(seconds, 1)) == (silence.code_asked or silence.code, OWN_S)

    run(main())


@pytest.mark.parametrize("silence", SILENCES, ids=str)
def test_a_caller_cannot_ask_for_more(tmp_path: Path, silence: Silence) -> None:
    """What the operator set is the bound of every header."""

    async def main() -> None:
        async with silent(tmp_path, "openai", silence, **setting("openai", silence)) as at:
            answered, seconds = await call(at, "openai", silence, **header(silence, "40"))
        assert (answered.error["code"], round(seconds, 1)) == (silence.code, OWN_S)

    run(main())


@pytest.mark.parametrize("silence", [s for s in SILENCES if not s.stream], ids=str)
def test_a_provider_out_of_time_is_followed_by_the_next(tmp_path: Path, silence: Silence) -> None:
    """F2, F7, F10 with fallback: an attempt has ended, and not the call."""

    async def main() -> None:
        env = {**setting("openai", silence), "PROVIDERS_PRIORITY": "spare"}
        async with silent(tmp_path, "openai", silence, **env) as at:
            answered, seconds = await call(at, "openai", silence)
        assert (answered.status, answered.text, round(seconds, 1)) == (200, SPARE, OWN_S)

    run(main())


@pytest.mark.parametrize("silence", SILENCES, ids=str)
@pytest.mark.parametrize("whose", ["operator", "caller"])
def test_a_callers_short_time_cools_down_no_provider(tmp_path: Path, silence: Silence, whose: str) -> None:
    """G8, G10: three faults rest it for everybody, unless they are only faults by the caller's own clock."""

    async def main() -> None:
        env, headers = (setting("openai", silence), {}) if whose == "operator" else ({}, header(silence))
        async with silent(tmp_path, "openai", silence, **env) as at:
            for _ in range(3):
                await call(at, "openai", silence, **headers)
            resting = [
                name for (name, _), _ in at.app.runtime.routing.health.cooling_down(asyncio.get_running_loop().time())
            ]
        assert resting == (["openai"] if whose == "operator" else [])

    run(main())


def test_a_failure_of_the_provider_cools_it_down_whatever_the_caller_asked(tmp_path: Path) -> None:
    """F14: a provider that says itself that it was too slow was not hurried by anybody here."""

    async def main() -> None:
        late = Silence("first_byte", False, lambda dialect: [error_answer(504)], "upstream_timeout")
        async with silent(tmp_path, "openai", late, FWD_ATTEMPTS="1") as at:
            for _ in range(3):
                answered, _ = await call(at, "openai", late, **header(late))
            resting = at.app.runtime.routing.health.cooling_down(asyncio.get_running_loop().time())
        assert (answered.error["code"], [name for (name, _), _ in resting]) == (late.code, ["openai"])

    run(main())


def test_a_name_that_is_looked_up_too_slowly_for_the_caller(tmp_path: Path) -> None:
    """F3, G8: the time to connect bounds that as well, and a caller's rests no provider."""

    async def slow(host: str, port: int) -> Sequence[Address]:
        await asyncio.sleep(0 if host == "127.0.0.1" else OTHERS_S)
        return await loopback(host, port)

    async def main() -> None:
        env = {**ALL, "OPENAI_API_KEY": "sk-canary", "OPENAI_BASE_URL": "http://nowhere.test", "FWD_ATTEMPTS": "1"}
        async with gateway(tmp_path, KEY, pool(Resolver(slow)), LoopClock(), **env) as at:
            for _ in range(3):
                answered, seconds = await call(at, "openai", CONNECTS, **header(CONNECTS))
            resting = at.app.runtime.routing.health.cooling_down(asyncio.get_running_loop().time())
        assert (answered.error["code"], round(seconds, 1), resting) == ("dns_failed", OWN_S, [])

    run(main())


@pytest.mark.parametrize("time", ["first_event", "total"])
def test_the_built_in_provider_keeps_what_it_can(tmp_path: Path, time: str) -> None:
    """It is not connected to, but a stream of it has a first event, and its time."""

    async def main() -> None:
        env = {**ALL, f"FWD_ECHO_{time.upper()}_TIMEOUT": str(OWN_S)}
        async with gateway(tmp_path, KEY, pool(), LoopClock(), **env) as at:
            answered, seconds = await call(at, "echo", Silence(time, True, nothing, ""), model="echo:slow?ttft=40s")
        assert (answered.error["code"], round(seconds, 1)) == ("upstream_timeout", OWN_S)

    run(main())


def test_without_a_first_byte_time_an_answer_may_take_the_whole_call(tmp_path: Path) -> None:
    """F7: an answer that is not streamed comes when it is ready, by default up to the deadline."""

    async def main() -> None:
        silence = Silence("total", False, nothing, "deadline")
        async with silent(tmp_path, "openai", silence, FWD_FIRST_BYTE_TIMEOUT="0") as at:
            answered, seconds = await call(at, "openai", silence)
        assert (answered.error["code"], round(seconds)) == ("deadline", 600)

    run(main())
