"""Many callers at once, each with a word of its own: whoever reads another's word has found a leak (S28, T27)."""

from __future__ import annotations

import asyncio
import json
import random
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from attrs import define, field

from fwd_server.clock import Clock
from fwd_server.http1.client.pool import Pool, Resolver
from kit import wire
from kit.fakeup import CLOSE, DONE, RESET, STREAM_END, STREAM_HEAD, Seen, completion, error_answer, event, json_answer
from kit.fakeup import piece as chunk
from kit.gateways import gateway
from kit.loopup import Step, Upstream, loopback

KEY: Final = "fwd_" + secrets.token_urlsafe(32)
_WORD: Final = re.compile(rb"word-[0-9]+-[0-9]+-[0-9a-f]{16}")
_FAULTS: Final = 0.15  # of the calls; as many callers leave early


@define
class Tally:
    """What the callers saw."""

    answers: int = 0
    left: int = 0
    broken: int = 0
    foreign: list[tuple[bytes, bytes]] = field(factory=list)

    def read(self, word: bytes, raw: bytes) -> None:
        """Count an answer, and every word in it that is not the caller's."""
        self.answers += 1
        self.broken += word not in raw
        self.foreign += [(word, found) for found in set(_WORD.findall(raw)) - {word}]


async def crosstalk(
    folder: Path, *, callers: int, enough: Callable[[int], bool], seed: int, clock: Clock | None = None
) -> Tally:
    """Let ``callers`` ask, one call after the other, until ``enough`` says so of the number of a call."""
    chance = random.Random(seed)
    async with repeater(chance) as up:
        pool = Pool(resolver=Resolver(loopback))
        env = {"OPENAI_API_KEY": "sk-canary", "OPENAI_BASE_URL": up.url, "FWD_SSE_KEEPALIVE": "0"}
        async with gateway(folder, KEY, pool, clock, **env) as at:
            return await talk(at.url, KEY, callers=callers, enough=enough, chance=chance)


def repeater(chance: random.Random) -> Upstream:
    """A provider that says every caller's word back, unless it breaks."""
    return Upstream(lambda seen: _play(seen, chance), keeps=False)


async def talk(url: str, key: str, *, callers: int, enough: Callable[[int], bool], chance: random.Random) -> Tally:
    """The callers alone, of a gateway in front of a ``repeater``."""
    tally = Tally()
    await asyncio.gather(*(_caller(number, url, key, enough, chance, tally) for number in range(callers)))
    return tally


def _play(seen: Seen, chance: random.Random) -> Iterable[Step]:
    """The word comes back, in pieces; some calls break somewhere."""
    word = seen.json["messages"][0]["content"]
    steps = _stream(word, chance) if seen.json["stream"] else _whole(word, chance)
    if chance.random() < _FAULTS:
        ends: list[Step] = [RESET, CLOSE]
        return [error_answer(500)] if chance.random() < 0.3 else [*steps[: chance.randrange(4)], chance.choice(ends)]
    return steps


def _stream(word: str, chance: random.Random) -> list[Step]:
    said: list[Step] = [STREAM_HEAD, event({"role": "assistant", "content": ""}), event({"content": f"{word} "})]
    said += [chance.random() / 50, event({"content": f"{word} "}), event({}, "stop")]
    return [*said, chunk(DONE), STREAM_END]


def _whole(word: str, chance: random.Random) -> list[Step]:
    answer = json_answer(completion(f"{word} {word}"))
    cut = chance.randrange(1, len(answer))
    return [chance.random() / 50, answer[:cut], chance.random() / 50, answer[cut:]]


async def _caller(
    number: int, url: str, key: str, enough: Callable[[int], bool], chance: random.Random, tally: Tally
) -> None:
    """One caller, on a connection that is kept as long as it lives."""
    line: wire.Line | None = None
    calls = 0
    while not enough(calls):
        word = f"word-{number}-{calls}-{chance.getrandbits(64):016x}"
        line = line or await wire.Line.to(url)
        line = await _call(line, key, word, chance, tally)
        calls += 1
    if line is not None:
        line.close()


async def _call(line: wire.Line, key: str, word: str, chance: random.Random, tally: Tally) -> wire.Line | None:
    """One call; the connection, if it may be used again."""
    stream, leaves = chance.random() < 0.5, chance.random() < _FAULTS
    body = {"model": "openai:m", "stream": stream, "messages": [{"role": "user", "content": word}]}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "x-fwd-fallback": "none"}
    reading = asyncio.ensure_future(line.post(json.dumps(body).encode(), headers))
    if leaves:
        await asyncio.wait({reading}, timeout=chance.random() / 40)
    if leaves and not reading.done():
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        line.close()
        tally.left += 1
        return None
    answer = await reading
    tally.read(word.encode(), answer.raw)
    if answer.closed:
        line.close()
        return None
    return line
