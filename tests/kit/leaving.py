"""A caller that leaves in the middle, and how long the gateway goes on for it (S19, T7)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Final

from attrs import define, field

from kit import wire
from kit.fakeup import STREAM_HEAD, WAIT_FOR_CLOSE, Seen, completion, event, json_answer
from kit.gateways import Listening, gateway
from kit.loopup import Step, Upstream, black_hole

KEY: Final = "fwd_" + secrets.token_urlsafe(32)
PHASES: Final = ("connecting", "before the head", "before the content", "in the middle")
_PATIENCE_S: Final = 10.0


@define
class Scene:
    """A gateway whose provider stops talking in each phase, and says so."""

    at: Listening
    up: Upstream
    reached: asyncio.Event = field(factory=asyncio.Event)

    async def leave(self, phase: str, *, stream: bool) -> float:
        """Call, leave once the phase is reached, and return the seconds until the provider was left too."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.at.url.rpartition(":")[2]))
        self.reached.clear()
        before = len(self.up.closed_at)
        writer.write(_request(self.at.url, phase, stream=stream))
        await self._wait_for(phase, reader, stream=stream)
        began = asyncio.get_running_loop().time()
        writer.transport.abort()
        await self._wait_until_left(phase, before)
        # Nobody sees the end of a connection that was never made, but the gateway's own work for the call.
        left = asyncio.get_running_loop().time() if phase == "connecting" else self.up.closed_at[-1]
        return left - began

    async def _wait_for(self, phase: str, reader: asyncio.StreamReader, *, stream: bool) -> None:
        if phase == "connecting":
            while not self.at.app.application.admission:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.005)
        else:
            await self.reached.wait()
        if phase == "in the middle" and stream:
            await reader.readuntil(b'"content":"x"')

    async def _wait_until_left(self, phase: str, before: int) -> None:
        async def left() -> None:
            admission = self.at.app.application.admission
            while admission or (phase != "connecting" and len(self.up.closed_at) == before):
                await asyncio.sleep(0.0005)

        await asyncio.wait_for(left(), _PATIENCE_S)


def _request(url: str, phase: str, *, stream: bool) -> bytes:
    provider = "groq" if phase == "connecting" else "openai"
    model = f"{provider}:{phase.replace(' ', '-')}"  # a model's name has no blanks
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    return wire.request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)


@contextlib.asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """The scene, on sockets of this process."""
    found: list[Scene] = []

    def script(seen: Seen) -> Iterable[Step]:
        return _play(found[0], seen)

    with black_hole() as port:
        async with Upstream(script) as up:
            env = {"OPENAI_API_KEY": "sk-canary", "OPENAI_BASE_URL": up.url, "GROQ_API_KEY": "sk-canary"}
            async with gateway(folder, KEY, GROQ_BASE_URL=f"http://127.0.0.1:{port}", **env) as at:
                found.append(Scene(at, up))
                yield found[0]


def _play(scene: Scene, seen: Seen) -> Iterator[Step]:
    """As far as the phase goes, then silence until the gateway leaves."""
    stream = seen.json["stream"]
    answer = json_answer(completion())
    head = STREAM_HEAD if stream else answer[: answer.index(b"\r\n\r\n") + 4]
    content = event({"content": "x"}) if stream else answer[len(head) : -20]
    shown = PHASES.index(seen.json["model"].replace("-", " ")) - 1
    yield from (head, content)[:shown]
    scene.reached.set()
    yield WAIT_FOR_CLOSE
