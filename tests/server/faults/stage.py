"""Where faults play: gateways whose providers are scripted, unreachable, nameless or not to be trusted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import warnings
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

import fwd_client
from fwd_server.http1.client.dial import Address
from fwd_server.http1.client.pool import Limits, Pool, Resolver, tls_context
from fwd_server.routing.state import RoutingState

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
    own: fwd_client.AsyncClient
    plays: dict[str, Played]
    asked: Counter[str]
    late: list[int]
    turn: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(48))

    @property
    def question(self) -> str:
        """What callers ask here."""
        return "x" * LONG if "early" in self.name else PROMPT


PROMPT = leaks.canary("prompt")


@frozen
class Providers:
    """How the six providers of a stage are reached."""

    base: str
    pool: dict[str, Any] = field(factory=dict)
    plays: dict[str, Played] = field(factory=dict)
    asked: Counter[str] = field(factory=Counter)
    late: list[int] = field(factory=list)


@contextlib.asynccontextmanager
async def scripted(*, early: Fault | None = None) -> AsyncIterator[Providers]:
    """Providers that play; with ``early`` they answer before they read."""
    plays: dict[str, Played] = {}

    def script(seen: Seen) -> Iterable[Step]:
        if early is not None:
            return [*early.play(_addressed(seen), False, seen), READ_ALL]
        _check_key(seen)
        return plays[model_of(seen)](seen)

    async with Upstream(script, early=early is not None) as up:
        yield Providers(up.url, plays=plays, late=up.late_bytes)


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
    context = None if which == "plain" else _server_context(folder, which)
    read: Counter[str] = Counter()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if context is None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        else:
            read[BYTES] += len(await reader.read())
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    trusting = tls_context()
    if which != "unknown":
        trusting.load_verify_locations(certificates.folder(folder) / "ca.crt")
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Providers(f"https://127.0.0.1:{port}", {"ssl_context": trusting}, asked=read)


BYTES = "bytes"  # what a server that nobody should trust has read, in what is asked


def _server_context(folder: Path, which: str) -> ssl.SSLContext:
    """TLS with this certificate; ``unknown`` is a good one of an authority that nobody trusts, ``old`` speaks 1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = "good" if which in ("unknown", "old") else which
    context.load_cert_chain(certificates.folder(folder) / f"{pem}.pem")
    if which == "old":
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


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


class CooldownsOfModels(dict[tuple[str, str], Any]):
    """Cooldowns of keys, without those that hold for every model of a key."""

    def __setitem__(self, scope: tuple[str, str], cooldown: Any) -> None:
        if scope[1]:
            super().__setitem__(scope, cooldown)


def keep_cases_apart(state: RoutingState) -> None:
    """Cases share a key and have a model each: one that plays a refused key must not cool down the others."""
    state.keys.cooldowns = state._cooldowns = CooldownsOfModels()


UNNAMED = "unnamed"  # the default model, where callers name none


@contextlib.asynccontextmanager
async def stage(name: str, folder: Path, early: Fault | None = None) -> AsyncIterator[Stage]:
    """Build a stage; everything of it is closed afterwards."""
    kind = name.removeprefix("patient-")
    async with contextlib.AsyncExitStack() as stack:
        providers = await stack.enter_async_context(_providers(kind, folder, early))
        others = await _others(stack, kind)
        pool = Pool(limits=Limits(body=BODY_LIMIT), **{"resolver": Resolver(loopback), **providers.pool})
        env = {**addresses(providers.base), **others, "FWD_SSE_KEEPALIVE": _keepalive(name)}
        at = await stack.enter_async_context(gateway(folder, CALLERS_KEY, pool, LoopClock(), **env))
        keep_cases_apart(at.app.runtime.routing)
        sdk = openai.AsyncOpenAI(base_url=f"{at.url}/v1", api_key=CALLERS_KEY, max_retries=0, timeout=3600)
        await stack.enter_async_context(sdk)
        own = fwd_client.AsyncClient(base_url=at.url, api_key=CALLERS_KEY, max_retries=0, timeout=PATIENT)
        await stack.enter_async_context(own)
        turn = asyncio.Semaphore(1 if kind == "kept" or kind.startswith(UNNAMED) or early else 48)
        built = Stage(name, at, sdk, own, providers.plays, providers.asked, providers.late, turn)
        built.plays["prime"] = lambda seen: good_and_kept(_addressed(seen), "stream" in seen.target, seen)
        yield built


PATIENT = fwd_client.Timeout(total=None, connect=None, idle=None)


def _keepalive(name: str) -> str:
    """Seconds of silence before a comment, as a setting; a connection has less to come about than an answer."""
    if not name.startswith("patient-"):
        return "0"
    return "2" if name.removeprefix("patient-") in ("black-hole", "dns-slow") else "15"


async def _others(stack: contextlib.AsyncExitStack, kind: str) -> dict[str, str]:
    """The settings of those who answer, or fail as well, when a provider fails."""
    if kind == "ruin":
        return await stack.enter_async_context(failing())
    spare = await stack.enter_async_context(Upstream(_spare))
    known = {"FWD_COMPAT": "spare", "SPARE_BASE_URL": spare.url, "SPARE_MODEL": "good", "PROVIDERS_PRIORITY": "spare"}
    if not kind.startswith(UNNAMED):
        return known
    first = kind.removeprefix(f"{UNNAMED}-")
    return {**known, f"{first.upper()}_MODEL": UNNAMED, "PROVIDERS_PRIORITY": f"{first},spare"}


def addresses(base: str) -> dict[str, str]:
    """The variables of the six providers."""
    keys = {f"{name.upper()}_API_KEY": KEYS[name] for name in PROVIDERS}
    return {**keys, **{f"{name.upper()}_BASE_URL": f"{base}/{name}" for name in PROVIDERS}}
