"""Where faults play: gateways whose providers are scripted, unreachable, nameless or not to be trusted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import openai
from attrs import define, field, frozen
from kit import certificates, leaks
from kit.dialects import PROVIDERS, Dialect, dialect, model_of
from kit.fakeup import Seen, closed_port, completion, error_answer, json_answer, stream
from kit.gateways import Listening, gateway
from kit.loop import LoopClock
from kit.loopup import Step, Upstream, black_hole, loopback

from fwd_server.http1.client import Limits, Pool, Resolver, tls_context
from fwd_server.http1.dial import Address

from .rows import BODY_LIMIT, READ_ALL, Fault, good_and_kept

SPARE = "The spare answers."
CALLERS_KEY = "fwd_" + "c4n4ry" * 8
LONG = 6 << 20  # a message that no socket holds
KEYS = {name: leaks.canary(name) for name in PROVIDERS}
DIALECTS = {name: dialect(name, KEYS[name]) for name in PROVIDERS}

Played = Callable[[Seen], Iterable[Step]]


@define
class Stage:
    """A gateway in front of providers that play what ``plays`` says for a model; ``asked`` counts their requests."""

    name: str
    at: Listening
    sdk: openai.AsyncOpenAI
    plays: dict[str, Played]
    asked: Counter[str]
    late: list[int]
    turn: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(48))

    @property
    def question(self) -> str:
        """What callers ask here."""
        return "x" * LONG if self.name.startswith("early") else PROMPT


PROMPT = leaks.canary("prompt")


@frozen
class Providers:
    """How the six providers of a stage are reached."""

    base: str
    pool: dict[str, Any] = field(factory=dict)
    plays: dict[str, Played] = field(factory=dict)
    asked: Counter[str] = field(factory=Counter)
    late: list[int] = field(factory=list)
    settings: dict[str, str] = field(factory=dict)


@contextlib.asynccontextmanager
async def scripted(*, early: Fault | None = None) -> AsyncIterator[Providers]:
    """Providers that play; with ``early`` they answer before they read."""
    plays: dict[str, Played] = {}
    asked: Counter[str] = Counter()

    def script(seen: Seen) -> Iterable[Step]:
        if early is not None:
            return [*early.play(_addressed(seen), False, seen), READ_ALL]
        model = model_of(seen)
        asked[model] += 1
        _check_key(seen)
        return plays[model](seen)

    async with Upstream(script, early=early is not None) as up:
        yield Providers(up.url, plays=plays, asked=asked, late=up.late_bytes)


def _addressed(seen: Seen) -> Dialect:
    return DIALECTS[seen.target.split("/")[1]]


def _check_key(seen: Seen) -> None:
    """S11: a provider sees its own key and no other, and only in a header."""
    own = _addressed(seen).key
    told = json.dumps(seen.headers) + seen.target + seen.body.decode("utf-8", "replace")
    assert sum(told.count(key) for key in KEYS.values()) == 1
    assert any(own in value for value in seen.headers.values())


@contextlib.asynccontextmanager
async def nameless(outcome: Any) -> AsyncIterator[Providers]:
    """Providers whose name leads nowhere: the lookup fails, or takes ``outcome`` seconds to find nothing."""

    async def lookup(host: str, port: int) -> Sequence[Address]:
        if host == "127.0.0.1":
            return await loopback(host, port)
        if isinstance(outcome, Exception):
            raise outcome
        await asyncio.sleep(outcome)
        return []

    yield Providers("http://nowhere.test", {"resolver": Resolver(lookup)})


@contextlib.asynccontextmanager
async def untrusted(folder: Path, which: str) -> AsyncIterator[Providers]:
    """Providers behind a certificate that does not fit, or behind no TLS at all."""
    context = None
    if which != "plain":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.folder(folder) / f"{which}.pem")
    read: Counter[str] = Counter()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if context is None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        else:
            read["bytes"] += len(await reader.read())
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    trusting = tls_context()
    trusting.load_verify_locations(certificates.folder(folder) / "ca.crt")
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Providers(f"https://127.0.0.1:{port}", {"ssl_context": trusting}, asked=read)


@contextlib.asynccontextmanager
async def at_port(port: int) -> AsyncIterator[Providers]:
    """Providers at a port where nobody answers."""
    yield Providers(f"http://127.0.0.1:{port}")


@contextlib.asynccontextmanager
async def failing() -> AsyncIterator[dict[str, str]]:
    """The settings of two more providers, which fail."""
    async with Upstream(lambda seen: [error_answer(503)]) as one, Upstream(lambda seen: [error_answer(500)]) as two:
        yield {
            "FWD_COMPAT": "spare,last",
            "SPARE_BASE_URL": one.url,
            "SPARE_MODEL": "good",
            "LAST_BASE_URL": two.url,
            "LAST_MODEL": "good",
            "PROVIDERS_PRIORITY": "spare,last",
        }


def _spare(seen: Seen) -> Iterable[Step]:
    return stream(SPARE) if seen.json.get("stream") else [json_answer(completion(SPARE))]


@contextlib.asynccontextmanager
async def _providers(name: str, folder: Path, early: Fault | None) -> AsyncIterator[Providers]:
    if name.startswith("dns-"):
        outcome = {"dns-fails": OSError("no such host"), "dns-empty": 0.0, "dns-slow": 60.0}[name]
        entered: Any = nameless(outcome)
    elif name.startswith("tls-"):
        entered = untrusted(folder, name.removeprefix("tls-"))
    elif name == "refused":
        entered = at_port(closed_port())
    elif name == "black-hole":
        with black_hole() as port:
            async with at_port(port) as found:
                yield found
        return
    else:
        entered = scripted(early=early)
    async with entered as found:
        yield found


@contextlib.asynccontextmanager
async def stage(name: str, folder: Path, early: Fault | None = None) -> AsyncIterator[Stage]:
    """Build a stage; everything of it is closed afterwards."""
    async with contextlib.AsyncExitStack() as stack:
        providers = await stack.enter_async_context(_providers(name, folder, early))
        if name == "ruin":
            others = await stack.enter_async_context(failing())
        else:
            spare = await stack.enter_async_context(Upstream(_spare))
            others = {
                "FWD_COMPAT": "spare",
                "SPARE_BASE_URL": spare.url,
                "SPARE_MODEL": "good",
                "PROVIDERS_PRIORITY": "spare",
            }
        pool = Pool(limits=Limits(body=BODY_LIMIT), **{"resolver": Resolver(loopback), **providers.pool})
        env = {**addresses(providers.base), **others, **({} if name == "patient" else {"FWD_KEEPALIVE": "0"})}
        at = await stack.enter_async_context(gateway(folder, CALLERS_KEY, pool, LoopClock(), **env))
        sdk = openai.AsyncOpenAI(base_url=f"{at.url}/v1", api_key=CALLERS_KEY, max_retries=0, timeout=3600)
        await stack.enter_async_context(sdk)
        turn = asyncio.Semaphore(1 if name == "kept" or early else 48)
        built = Stage(name, at, sdk, providers.plays, providers.asked, providers.late, turn)
        built.plays["prime"] = lambda seen: good_and_kept(_addressed(seen), "stream" in seen.target, seen)
        yield built


def addresses(base: str) -> dict[str, str]:
    """The variables of the six providers."""
    keys = {f"{name.upper()}_API_KEY": KEYS[name] for name in PROVIDERS}
    return {**keys, **{f"{name.upper()}_BASE_URL": f"{base}/{name}" for name in PROVIDERS}}
