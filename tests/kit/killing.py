"""Gateways that are killed in the middle of their work, and what their ledger then says (contract R1).

A caller knows a call by its own request id and says it in the message, so that the upstream knows it too.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import re
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from attrs import define, field

from fwd_server.store.store_file import STORE_NAME, read_store
from fwd_server.store.upkeep import check_store
from kit.fakeup import CLOSE, DONE, STREAM_END, STREAM_HEAD, Seen, completion, error_answer, event, json_answer, piece
from kit.loopup import Step, Upstream

KEY = "fwd_" + "r" * 43
CALLS_A_SECOND = 50
_COMMENT = re.compile(r"^: fwd (\{.*\})$", re.MULTILINE)


@define
class Killed:
    """What the callers and the upstream saw over all runs. ``acknowledged``: request id -> call id and nano-dollars."""

    seen: set[str] = field(factory=set)
    acknowledged: dict[str, tuple[str, int]] = field(factory=dict)
    starts: int = 0
    _numbers: Iterator[int] = field(factory=lambda: iter(range(1, 1 << 40)))

    def script(self, request: Seen) -> list[Step]:
        """The upstream's answer: whole or streamed, at once or later, now and then a failure."""
        body = request.json
        name = body["messages"][0]["content"]
        self.seen.add(name)
        if name.endswith("7"):
            return [error_answer(500)]
        usage = {"prompt_tokens": random.randrange(1, 2000), "completion_tokens": random.randrange(500)}
        waits: list[Step] = [random.random() * 0.2] if random.random() < 0.5 else []
        if not body.get("stream"):
            return [*waits, json_answer({**completion(), "usage": usage})]
        last = piece(b"data: " + json.dumps({"id": "1", "choices": [], "usage": usage}).encode() + b"\n\n")
        end: list[Step] = [CLOSE] if name.endswith("9") else [event({}, "stop"), last, piece(DONE), STREAM_END]
        return [STREAM_HEAD, event({"content": "Hello"}), *waits, event({"content": " you"}), *end]

    async def call(self, client: httpx.AsyncClient) -> None:
        """One call, whose end may never come."""
        number = next(self._numbers)
        name, stream = f"r{number}", number % 2 == 0
        body = {"model": "openai:gpt-5-mini", "messages": [{"role": "user", "content": name}], "max_tokens": 500}
        try:
            response = await client.post(
                "/v1/chat/completions", json={**body, "stream": stream}, headers={"x-request-id": name}
            )
        except httpx.HTTPError:
            return
        if response.status_code != 200:
            return
        if not stream:
            cost = response.headers["x-fwd-cost"].replace(".", "")
            self.acknowledged[name] = response.headers["x-fwd-call-id"], int(cost)
        elif response.text.rstrip().endswith("[DONE]"):
            facts: dict[str, Any] = json.loads(_COMMENT.findall(response.text)[-1])
            self.acknowledged[name] = facts["call_id"], facts["cost_nano"]

    async def run(self, folder: Path, seconds: float) -> None:
        """One life of a gateway: it serves for so long, and is killed."""
        async with Upstream(self.script) as up:
            process, url = await start(folder, up.url)
            self.starts += 1
            tasks: list[asyncio.Task[None]] = []
            limits = httpx.Limits(max_connections=200)
            async with httpx.AsyncClient(
                base_url=url, headers={"authorization": f"Bearer {KEY}"}, timeout=10, limits=limits
            ) as client:
                until = asyncio.get_running_loop().time() + seconds
                while asyncio.get_running_loop().time() < until:
                    tasks.append(asyncio.ensure_future(self.call(client)))
                    await asyncio.sleep(random.expovariate(CALLS_A_SECOND))
                process.send_signal(signal.SIGKILL)
                await process.wait()
                await asyncio.gather(*tasks)


async def start(folder: Path, upstream: str) -> tuple[asyncio.subprocess.Process, str]:
    """A gateway with a ledger in ``folder``, a key with limits and budgets, and one provider."""
    keys = folder / "keys.txt"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    keys.write_text(f"sha256:{digest} name=web rpm=1000000 tpm=10000000000 budget=1000/day,100000\n")
    keys.chmod(0o600)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FWD_", "FORWARDER_"))}
    mine = {"FORWARDER_KEYS_FILE": str(keys), "FWD_DATA": str(folder / "data"), "FWD_LOG_FORMAT": "json"}
    provider = {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": f"{upstream}/v1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fwd_server", "--port", "0"),
        cwd=folder,
        env={**clean, **mine, **provider},
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    assert process.stderr is not None
    while b"listens on" not in (line := await process.stderr.readline()):
        assert line, "the gateway did not start"
    asyncio.ensure_future(process.stderr.read())  # noqa: RUF006 - or it would stop at a full pipe
    url = re.search(r"http://127\.0\.0\.1:\d+", line.decode())
    assert url is not None
    return process, url[0]


async def stop(folder: Path) -> None:
    """Start once more and stop as asked: everything is recovered and folded then."""
    process, _ = await start(folder, "http://127.0.0.1:9")
    process.terminate()
    await process.wait()


def check(folder: Path, killed: Killed) -> str:
    """R1 and laws W1, W4 over the ledger; a sentence with the numbers."""
    with closing(read_store(folder / "data" / STORE_NAME)) as store:
        assert check_store(store) == []
        rows = _rows(store)
        names = [name for name, *_ in rows]
        assert len(names) == len(set(names)), "a call is there twice"
        by_name = {name: (call_id, cost, state) for name, call_id, cost, state in rows}
        lost = {n: (a, by_name.get(n)) for n, a in killed.acknowledged.items() if by_name.get(n) != (*a, "done")}
        assert lost == {}, "acknowledged and not so in the ledger"
        assert killed.seen - by_name.keys() == set(), "the upstream saw a call that has no row"
        states = {state for *_, state in rows}
        assert states <= {"done", "failed", "broken", "left", "interrupted"}
        spent = store.execute("select spent from counters where period = 'all'").fetchone()[0]
        assert spent == sum(cost or 0 for _, _, cost, _ in rows)
    return f"{killed.starts} kills, {len(killed.seen)} calls seen upstream, {len(killed.acknowledged)} acknowledged"


def _rows(store: sqlite3.Connection) -> list[tuple[str, str, int | None, str]]:
    return store.execute("select request_id, id, cost, state from calls").fetchall()
