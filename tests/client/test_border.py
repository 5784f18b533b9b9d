"""The border to httpx, with respx in its place: what is asked of it, and what of its answers is used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import respx

from fwd_client import APIConnectionError, AsyncClient, Client, Timeout

from .conftest import CHAT, KEY, STREAM, event

URL = "http://gw.test/v1/chat/completions"


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces, which knows whether it was closed."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


@respx.mock
def test_limits_reach_httpx() -> None:
    """Each limit arrives where it belongs."""
    route = respx.post(URL).respond(json=CHAT)
    with Client(base_url="http://gw.test", api_key=KEY, timeout=Timeout(total=None, connect=3, idle=7)) as client:
        client.ask("hi")
        route.respond(stream=Pieces(event("[DONE]")))
        client.chat.completions.create(messages="hi", stream=True).final()
    limits = [call.request.extensions["timeout"] for call in route.calls]
    assert limits == [
        {"connect": 3, "read": None, "write": None, "pool": 3},
        {"connect": 3, "read": 7.5, "write": 7.5, "pool": 3},
    ]


@respx.mock
def test_bodies_are_closed() -> None:
    """A body is closed when it was read, and when it was not."""
    read, left = Pieces(*STREAM), Pieces(*STREAM)
    respx.post(URL).mock(side_effect=[httpx.Response(200, stream=read), httpx.Response(200, stream=left)])
    with Client(base_url="http://gw.test", api_key=KEY) as client:
        client.chat.completions.create(messages="hi", stream=True).final()
        client.chat.completions.create(messages="hi", stream=True).close()
    assert read.closed
    assert left.closed


@respx.mock
def test_retry_after_a_broken_connection() -> None:
    """A connection that breaks is tried again, and the error keeps its cause when it is given up."""
    respx.get("http://gw.test/v1/models").mock(side_effect=httpx.ReadError("gone"))
    with (
        Client(base_url="http://gw.test", api_key=KEY, max_retries=0) as client,
        pytest.raises(APIConnectionError) as caught,
    ):
        client.models.list()
    assert isinstance(caught.value.__cause__, httpx.ReadError)


@respx.mock
async def _ask() -> str:
    respx.post(URL).respond(json=CHAT, headers={"X-Request-ID": "r"})
    async with AsyncClient(base_url="http://gw.test", api_key=KEY) as client:
        answer = await client.chat.completions.create(messages="hi")
        return f"{answer.text} {answer.request_id}"


def test_header_names_in_any_case() -> None:
    """Headers are found whatever their case."""
    import asyncio

    assert asyncio.run(_ask()) == "hi r"
