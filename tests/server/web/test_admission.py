"""Overload: what there is no room for is turned away at once, and the rest goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define
from kit.guards import open_guard
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application

from fwd_server.app import App, most_calls
from fwd_server.machine import MemoryUse
from fwd_server.settings import Settings
from fwd_server.values.errors import Overloaded
from fwd_server.web.admission import AdmissionController, MemoryPressure

from .conftest import KEY

pytestmark = pytest.mark.gen_test
MB = 10**6


@define
class Gauge:
    """Says how much memory is used: what a test wants."""

    use: MemoryUse | None = None

    def __call__(self) -> MemoryUse | None:
        return self.use

    def show(self, share: float | None) -> None:
        """A share of 1 GB."""
        self.use = None if share is None else MemoryUse(int(share * 10**9), 10**9)


@pytest.fixture
def gauge() -> Gauge:
    return Gauge()


@pytest.fixture
def built(make_app: Callable[..., App], gauge: Gauge) -> App:
    return make_app(memory=gauge, FWD_MAX_REQUESTS="1")


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
        await until(lambda: app.admission.call_count == 1)
        await other.send(head(1000))
        status, text = await other.answer()
        assert status == 503
        assert "retry-after: 1\r\n" in text


async def test_a_call_counts_from_its_head_on(app: Any, base_url: str, http_server: Any) -> None:
    """... so that bodies cannot pile up; whoever leaves before the body was there is counted out."""
    async with Talk(base_url) as one, Talk(base_url) as other:
        await one.send(head(1000) + b"{")
        await until(lambda: app.admission.call_count == 1)
        await other.send(call())
        assert (await other.answer())[0] == 503
    await until(lambda: app.admission.call_count == 0)
    async with Talk(base_url) as again:
        await again.send(call())
        assert (await again.answer())[0] == 200
    await until(lambda: app.admission.call_count == 0)


async def test_health_answers_under_overload(app: Any, base_url: str, http_server: Any) -> None:
    """R3: liveness."""
    async with Talk(base_url) as one, Talk(base_url) as other:
        await one.send(call("echo:stall?after=0"))
        await until(lambda: app.admission.call_count == 1)
        await other.send(head(0, "GET /health"))
        assert (await other.answer())[0] == 200


async def test_a_wrong_key_takes_no_room(app: Any, base_url: str, http_server: Any) -> None:
    async with Talk(base_url) as one:
        await one.send(head(0, key="fwd_wrong"))
        assert (await one.answer())[0] == 401
    assert app.admission.call_count == 0


async def test_tight_memory_refuses_streams_and_keeps_no_connection(
    built: App, gauge: Gauge, base_url: str, http_server: Any
) -> None:
    """D13 at 80 %."""
    gauge.show(0.8)
    built.application.admission.refresh_memory()
    async with Talk(base_url) as one, Talk(base_url) as other:
        await one.send(call(stream=True))
        status, text = await one.answer()
        assert (status, "retry-after: 1\r\n" in text) == (503, True)
        await other.send(call())
        status, text = await other.answer()
        assert (status, "connection: close\r\n" in text) == (200, True)


async def test_scarce_memory_refuses_all_calls_until_it_is_over(
    built: App, gauge: Gauge, base_url: str, http_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """D13 at 90 %; the change is logged, both ways."""
    with caplog.at_level("WARNING"):
        for used in (0.9, 0.95, None):
            gauge.show(used)
            built.application.admission.refresh_memory()
            async with Talk(base_url) as one:
                await one.send(call())
                assert (await one.answer())[0] == (200 if used is None else 503)
    assert [r.getMessage() for r in caplog.records if "Memory" in r.getMessage()] == [
        "Memory is now scarce (before: ample).",
        "Memory is now ample (before: scarce).",
    ]


async def test_how_many_calls_follows_from_the_files_unless_it_is_set() -> None:
    assert most_calls(Settings(max_requests=7)) == 7
    assert most_calls(Settings()) >= 16
    assert MemoryPressure.from_share(0.79) is MemoryPressure.AMPLE


# -- what bodies will take


def request() -> HTTPServerRequest:
    headers = HTTPHeaders({"Host": "localhost"})
    return HTTPServerRequest(start_line=RequestStartLine("POST", "/", "HTTP/1.1"), headers=headers)


async def test_bodies_that_still_come_are_counted_three_times(gauge: Gauge) -> None:
    """D13: a thousand heads may come between two looks; each body is held as it came, read, and as it goes on."""
    admission, first = AdmissionController(probe=gauge), request()
    gauge.show(0.5)
    admission.refresh_memory()
    admission.admit_call(first, 100 * MB)
    admission.check_room(33 * MB)
    with pytest.raises(Overloaded, match="short of memory"):
        admission.check_room(34 * MB)
    admission.release_call(first)
    admission.refresh_memory()
    admission.check_room(100 * MB)


async def test_a_body_that_has_come_is_seen_and_no_longer_promised(gauge: Gauge) -> None:
    """Nothing is counted twice."""
    admission, first = AdmissionController(probe=gauge), request()
    gauge.show(0.5)
    admission.admit_call(first, 100 * MB)
    admission.note_body_complete(first)
    admission.refresh_memory()
    admission.check_room(100 * MB)
    admission.release_call(first)
    admission.note_body_complete(first)
    assert admission.call_count == 0


async def test_much_that_comes_at_once_is_looked_at_at_once(gauge: Gauge) -> None:
    """D13: not half a second later, when it is too late."""
    admission = AdmissionController(probe=gauge)
    gauge.show(0.95)
    admission.admit_call(request(), 100_000)
    assert admission.memory is MemoryPressure.AMPLE
    admission.admit_call(request(), 1_000_000)
    assert admission.memory is MemoryPressure.SCARCE


async def test_without_a_limit_nothing_is_too_much() -> None:
    admission = AdmissionController()
    admission.admit_call(request(), 10**12)
    admission.check_room(10**12)


async def test_a_body_without_a_length_may_be_as_long_as_any() -> None:
    """D13: chunks do not say."""
    guard = open_guard(max_body=MB)
    chunked, short, long = request(), request(), request()
    chunked.headers["Transfer-Encoding"] = "chunked"
    short.headers["Content-Length"], long.headers["Content-Length"] = "7", "2000000"
    assert [guard.body_bound(one.headers) for one in (request(), chunked, short, long)] == [0, MB, 7, MB]
