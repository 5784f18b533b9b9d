"""Uses of the SDK as a type checker must see them; read by mypy and pyright, never run."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import attrs

import fwd_client
from fwd_client import (
    AsyncClient,
    AsyncStream,
    Chat,
    ChatParams,
    Chunk,
    Client,
    Embeddings,
    Health,
    ImagePart,
    Message,
    MessageParam,
    Models,
    Parsed,
    Plan,
    RateLimitError,
    Receipt,
    Stream,
    StreamEvent,
    TextDelta,
    Timeout,
    ToolCall,
    ToolRun,
    Usage,
)
from fwd_client.testing import FakeGateway

if sys.version_info >= (3, 11):
    from typing import assert_type
else:
    from typing_extensions import assert_type


@attrs.frozen
class City:
    """A class to parse into."""

    name: str


def double(x: int) -> int:
    """A tool."""
    return 2 * x


async def double_later(x: int) -> int:
    """An async tool."""
    return 2 * x


def clients() -> None:
    """Every way to make a client."""
    import httpx
    import httpx2

    Client()
    Client(base_url="http://gw", api_key="k", timeout=3, max_retries=0, headers={"a": "b"})
    Client(api_key=lambda: "k", timeout=Timeout(total=None, idle=5, first_token=3), http_client=httpx.Client())
    Client(http_client=httpx2.Client())
    AsyncClient(http_client=httpx.AsyncClient())
    AsyncClient(http_client=httpx2.AsyncClient())
    assert_type(Client().with_options(timeout=3, api_key="k"), Client)
    assert_type(AsyncClient().with_options(max_retries=0), AsyncClient)
    Client(api_key=3)  # type: ignore[arg-type]
    Client(http_client=httpx.AsyncClient())  # type: ignore[arg-type]


def calls(client: Client, stream: bool) -> None:
    """Every call, and what it gives."""
    completions = client.chat.completions
    assert_type(completions.create(messages="hi"), Chat)
    assert_type(completions.create(messages=[{"role": "user", "content": "hi"}], model="echo:", stream=False), Chat)
    assert_type(completions.create(messages="hi", stream=True), Stream)
    assert_type(completions.create(messages="hi", stream=stream), Chat | Stream)
    completions.create(messages="hi", temperature=0.5, stop=["a"], reasoning_effort="low", extra_body={"top_k": 1})
    completions.create(messages="hi", timeout=3, max_retries=1, strict=True, fallback=False, extra_headers={"a": "b"})
    completions.create(messages="hi", max_token=1)  # type: ignore[call-overload]
    completions.create(messages="hi", temperature="hot")  # type: ignore[call-overload]
    completions.create()  # type: ignore[call-overload]
    assert_type(completions.parse(messages="hi", into=City), Parsed[City])
    assert_type(completions.parse(messages="hi", into=City).value, City)
    assert_type(completions.run_tools(messages="hi", tools=[double], max_steps=3), ToolRun)
    assert_type(client.ask("hi", model="echo:"), str)
    assert_type(client.models.list(), Models)
    assert_type(client.health(), Health)
    assert_type(completions.explain(messages="hi"), Plan)
    assert_type([call.request for call in completions.explain(messages="hi")], list[Mapping[str, Any] | None])
    assert_type(client.embeddings.create(input=["a"], model="m", encoding_format="base64"), Embeddings)
    assert_type(client.embeddings.create(input="a").vectors, list[tuple[float, ...]])
    client.embeddings.create(input=[[1, 2]], stream=True)  # type: ignore[call-arg]
    completions.create(messages=[{"rol": "user", "content": "hi"}])  # type: ignore[list-item]
    completions.create(messages=[{"role": "usr", "content": "hi"}])  # type: ignore[list-item]
    image: ImagePart = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    conversation: list[MessageParam | Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}, image]},
        completions.create(messages="hi").message,
        {"role": "tool", "tool_call_id": "c1", "content": "7"},
    ]
    assert_type(completions.create(messages=conversation), Chat)
    with completions.parse_stream(messages="hi", into=City) as stream_of_city:
        assert_type(stream_of_city.final().value, City)
    completions.run_tools(messages="hi", tools=[double], on_event=print)
    params: ChatParams = {"model": "echo:", "temperature": 0.1}
    completions.create(messages="hi", **params)


def answers(chat: Chat) -> None:
    """Every fact of an answer."""
    assert_type(chat.text, str)
    assert_type(chat.usage, Usage | None)
    assert_type(chat.tool_calls, tuple[ToolCall, ...])
    assert_type(chat.receipt, Receipt)
    assert_type(chat.request_id, str | None)
    assert_type(chat.attempts, int | None)
    assert_type(chat.dropped, tuple[str, ...])
    assert_type(chat.timings, Mapping[str, float])
    assert_type(chat.extra, Mapping[str, Any])
    assert_type(chat.to_dict(), dict[str, Any])
    chat.model = "other"  # type: ignore[misc]


def streams(client: Client) -> None:
    """A stream, three ways."""
    with client.chat.completions.stream(messages="hi") as stream:
        assert_type(stream.text, Iterator[str])
        assert_type(stream.events, Iterator[StreamEvent])
        for event in stream.events:
            if isinstance(event, TextDelta):
                assert_type(event.text, str)
        for chunk in stream:
            assert_type(chunk, Chunk)
        assert_type(stream.final(), Chat)
        assert_type(stream.snapshot, Chat)


async def awaiting(client: AsyncClient, stream: bool) -> None:
    """The same for asyncio."""
    completions = client.chat.completions
    assert_type(await completions.create(messages="hi"), Chat)
    assert_type(await completions.create(messages="hi", stream=True), AsyncStream)
    assert_type(await completions.create(messages="hi", stream=stream), Chat | AsyncStream)
    assert_type((await completions.parse(messages="hi", into=City)).value, City)
    assert_type(await completions.run_tools(messages="hi", tools=[double, double_later]), ToolRun)
    assert_type(await client.ask("hi"), str)
    assert_type(await completions.explain(messages="hi"), Plan)
    assert_type(await client.embeddings.create(input="a"), Embeddings)
    async with completions.stream(messages="hi") as found:
        assert_type(found.text, AsyncIterator[str])
        async for chunk in found:
            assert_type(chunk, Chunk)
        assert_type(await found.final(), Chat)


def errors(client: Client) -> None:
    """What an error knows."""
    try:
        client.ask("hi")
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
        assert_type(error.request_id, str | None)
        assert_type(error.hint, str | None)


def fakes() -> None:
    """Tests of one's own."""
    gateway = FakeGateway()
    assert_type(gateway.client(), Client)
    assert_type(gateway.async_client(max_retries=0), AsyncClient)
    with gateway.serve() as url:
        assert_type(url, str)


def official() -> None:
    """The official client, typed as itself."""
    from openai import OpenAI

    assert_type(fwd_client.openai(), OpenAI)
