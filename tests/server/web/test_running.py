"""Overload: what there is no room for is turned away at once, and the rest goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from tornado.web import Application

from fwd_server.app import App, most_calls
from fwd_server.settings import Settings
from fwd_server.web.running import Memory

from .conftest import KEY

pytestmark = pytest.mark.gen_test


@pytest.fixture
def built(make_app: Callable[..., App]) -> App:
    return make_app(FWD_MAX_REQUESTS="1")


@pytest.fixture
def app(built: App) -> Application:
    return built.application


def call(model: str = "echo:", **more: Any) -> bytes:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}).encode()
    return head(len(body)) + body


def head(length: int, target: str = "POST /v1/chat/completions", key: str = KEY) -> bytes:
    lines = [f"{target} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


class Talk:
    """One connection."""

    def __init__(self, base_url: str) -> None:
        self._port = int(base_url.rpartition(":")[2])

    async def __aenter__(self) -> Talk:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, str]:
        """Status and head of the answer."""
        found = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        return int(found.split()[1]), found


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.001)


async def test_more_calls_than_there_is_room_for_are_refused_at_once(app: Any, base_url: str, http_server: Any) -> None:
    """R3: 503 with Retry-After, from the head alone: this body never comes."""
    async with Talk(base_url) as one, Talk(base_url) as other:
        await one.send(call("echo:stall?after=0"))
        await until(lambda: app.running.calls == 1)
        await other.send(head(1000))
        status, text = await other.answer()
        assert status == 503
        assert "retry-after: 1\r\n" in text


async def test_a_call_counts_from_its_head_on(app: Any, base_url: str, http_server: Any) -> None:
    """... so that bodies cannot pile up; whoever leaves before the body was there is counted out."""
    async with Talk(base_url) as one, Talk(base_url) as other:
        await one.send(head(1000) + b"{")
        await until(lambda: app.running.calls == 1)
        await other.send(call())
        assert (await other.answer())[0] == 503
    await until(lambda: app.running.calls == 0)
    async with Talk(base_url) as again:
        await again.send(call())
        assert (await again.answer())[0] == 200
    await until(lambda: app.running.calls == 0)


async def test_health_answers_under_overload(app: Any, base_url: str, http_server: Any) -> None:
    """R3: liveness."""
    async with Talk(base_url) as one, Talk(base_url) as other:
        await one.send(call("echo:stall?after=0"))
        await until(lambda: app.running.calls == 1)
        await other.send(head(0, "GET /health"))
        assert (await other.answer())[0] == 200


async def test_a_wrong_key_takes_no_room(app: Any, base_url: str, http_server: Any) -> None:
    async with Talk(base_url) as one:
        await one.send(head(0, key="fwd_wrong"))
        assert (await one.answer())[0] == 401
    assert app.running.calls == 0


async def test_tight_memory_refuses_streams_and_keeps_no_connection(
    built: App, base_url: str, http_server: Any
) -> None:
    """D13 at 80 %."""
    built.take_memory(0.8)
    async with Talk(base_url) as one, Talk(base_url) as other:
        await one.send(call(stream=True))
        status, text = await one.answer()
        assert (status, "retry-after: 1\r\n" in text) == (503, True)
        await other.send(call())
        status, text = await other.answer()
        assert (status, "connection: close\r\n" in text) == (200, True)


async def test_scarce_memory_refuses_all_calls_until_it_is_over(
    built: App, base_url: str, http_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """D13 at 90 %; the change is logged, both ways."""
    with caplog.at_level("WARNING"):
        for used in (0.9, 0.95, None):
            built.take_memory(used)
            async with Talk(base_url) as one:
                await one.send(call())
                assert (await one.answer())[0] == (200 if used is None else 503)
    assert [r.getMessage() for r in caplog.records if "Memory" in r.getMessage()] == [
        "Memory is scarce now (before: ample).",
        "Memory is ample now (before: scarce).",
    ]


async def test_how_many_calls_follows_from_the_files_unless_it_is_set() -> None:
    assert most_calls(Settings(max_requests=7)) == 7
    assert most_calls(Settings()) >= 16
    assert Memory.of(0.79) is Memory.AMPLE
