"""The room that talks to upstreams: keys to their own host only, faults as values, scripts played with the clock."""

from __future__ import annotations

import asyncio

import pytest
from kit.calls import make_deployment
from kit.clock import FakeClock
from kit.fakeup import CLOSE, Fakeup, answer, closed_port, json_answer

from fwd_server.http1.client.pool import Pool
from fwd_server.providers.base import ScriptedResponse, UpstreamRequest
from fwd_server.upstream.send import ScriptedPlayback, Upstream, read_all, wire_headers
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import UpstreamError
from fwd_server.values.secret import Secret

pytestmark = pytest.mark.gen_test


@pytest.fixture
def upstream(pool: Pool, clock: FakeClock) -> Upstream:
    return Upstream(pool, clock)


def request(path: str = "/chat") -> UpstreamRequest:
    return UpstreamRequest(path, (("content-type", "application/json"),), b"{}")


async def test_the_path_follows_the_base_urls(upstream: Upstream) -> None:
    with Fakeup(lambda seen: [json_answer({"a": 1})]) as up:
        for url in (up.url, up.url + "/"):
            response = await upstream.send_request(Endpoint("x", url), request())
            assert await read_all(response, 100) == b'{"a": 1}'
    assert [seen.target for seen in up.seen] == ["/v1/chat", "/v1/chat"]
    assert up.connections == 1


def test_a_key_of_another_provider_does_not_go_out() -> None:
    """S11: a secret goes to the endpoint it belongs to, or nowhere."""
    endpoint = make_deployment("http://127.0.0.1:1/v1").endpoint
    assert endpoint.key is not None
    good = wire_headers(endpoint, [("authorization", endpoint.key.with_prefix("Bearer "))])
    assert good == [(b"authorization", b"Bearer sk-openai-canary")]
    with pytest.raises(AssertionError, match="GROQ_API_KEY does not belong to openai"):
        wire_headers(endpoint, [("authorization", Secret("gsk-x", "GROQ_API_KEY"))])
    with pytest.raises(AssertionError, match="does not belong"):
        wire_headers(Endpoint("local"), [("authorization", endpoint.key)])


async def test_what_cannot_be_reached_is_an_upstream_error(upstream: Upstream) -> None:
    """F1: our words and code, nothing of the socket's."""
    with pytest.raises(UpstreamError) as caught:
        await upstream.send_request(Endpoint("x", f"http://127.0.0.1:{closed_port()}"), request())
    assert (caught.value.status, caught.value.code) == (502, "connect_failed")


async def test_a_cut_body_is_an_upstream_error(upstream: Upstream) -> None:
    """F8: short of its Content-Length."""
    with Fakeup(lambda seen: [answer(200, b"0123456789")[:-5], CLOSE]) as up:
        response = await upstream.send_request(Endpoint("x", up.url), request())
        with pytest.raises(UpstreamError) as caught:
            await read_all(response, 100)
    assert caught.value.code == "upstream_truncated"


async def test_more_than_the_limit_is_too_much(upstream: Upstream) -> None:
    """F26."""
    with Fakeup(lambda seen: [answer(200, b"x" * 101)]) as up:
        response = await upstream.send_request(Endpoint("x", up.url), request())
        with pytest.raises(UpstreamError) as caught:
            await read_all(response, 100)
        response.close()
    assert caught.value.code == "too_large"


def script(*steps: tuple[float, bytes], ends: str = "end") -> ScriptedResponse:
    return ScriptedResponse(200, (("content-type", "text/plain"),), steps, ends)


async def test_a_script_is_played_with_the_clock(upstream: Upstream, clock: FakeClock) -> None:
    response = await upstream.send_request(Endpoint("echo"), script((0.5, b"a"), (0, b""), (0.25, b"b")))
    assert (response.status, response.headers["content-type"]) == (200, "text/plain")
    assert await read_all(response, 10) == b"ab"
    assert clock.slept == [0.5, 0.25]


async def test_a_script_may_end_in_the_middle(clock: FakeClock) -> None:
    played = ScriptedPlayback(script((0, b"a"), ends="cut"), clock)
    assert await played.read() == b"a"
    with pytest.raises(UpstreamError) as caught:
        await played.read()
    assert caught.value.code == "upstream_truncated"


async def test_a_script_may_fall_silent(clock: FakeClock) -> None:
    played = ScriptedPlayback(script(ends="stall"), clock)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(played.read(), 0.05)


async def test_a_script_takes_turns_with_all_else(clock: FakeClock) -> None:
    """R5: a long text, all of it at once, would hold everybody up."""
    played, over = ScriptedPlayback(script((0, b"a"), (0, b"b")), clock), asyncio.Event()
    seen: list[bytes] = []

    def take(data: bytes) -> None:
        seen.append(data)
        asyncio.get_running_loop().call_soon(seen.append, b"another")

    played.start_reading(take, lambda error: over.set())
    await over.wait()
    assert seen == [b"a", b"another", b"b", b"another"]


async def test_a_closed_script_says_nothing_more(clock: FakeClock) -> None:
    played = ScriptedPlayback(script((0, b"a"), (0, b"b")), clock)
    played.close()
    assert await played.read() == b""
