"""One budget for a call: the SDK, the real gateway, and providers that fail (T29)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest

from fwd_client import APIError, Client, DeadlineError, Timeout

from .conftest import CHAT, KEY, RawServer, answer


def providers(server: RawServer) -> dict[str, str]:
    """Settings for three providers, all of them behind one server."""
    named = {
        f"{name}_{what}": value
        for name in ("ONE", "TWO", "THREE")
        for what, value in (("BASE_URL", f"{server.url}/{name}"), ("API_KEY", "k"), ("MODEL", "m"))
    }
    return {**named, "FWD_COMPAT": "one,two,three", "PROVIDERS_PRIORITY": "one,two,three"}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_worst_chain(server: RawServer, real_gateway: Callable[..., str], status: int) -> None:
    """With two retries here and three failing providers there, the providers see three calls in all."""
    server.script = lambda _: answer({"error": {"message": "no"}}, status)
    with Client(base_url=real_gateway(**providers(server)), api_key=KEY) as client:
        with pytest.raises(APIError) as caught:
            client.ask("hi")
    assert [request.path.split("/")[1] for request in server.received] == ["ONE", "TWO", "THREE"]
    assert (caught.value.attempts, caught.value.should_retry) == (3, False)
    assert [failed.provider for failed in caught.value.failures] == ["one", "two", "three"]


def test_fallback_is_told(server: RawServer, real_gateway: Callable[..., str]) -> None:
    """When the second provider answers, the answer says so, and how often was tried."""
    server.script = lambda request: answer({}, 500) if "/ONE/" in request.path else answer(CHAT)
    with Client(base_url=real_gateway(**providers(server)), api_key=KEY) as client:
        chat = client.chat.completions.create(messages="hi")
    assert (chat.text, chat.provider, chat.attempts, chat.receipt.retries) == ("hi", "two", 2, 0)


def test_one_deadline(real_gateway: Callable[..., str]) -> None:
    """The gateway keeps to the time the client has, and its own error arrives in it."""
    with Client(base_url=real_gateway(), api_key=KEY, timeout=0.3) as client:
        with pytest.raises(DeadlineError) as caught:
            client.ask("hi", model="echo:slow?ttft=60s")
    assert caught.value.code == "deadline"


def test_first_token(real_gateway: Callable[..., str]) -> None:
    """The gateway gives up when a stream has not begun in time; a slow one that has begun goes on."""
    limits = Timeout(first_token=0.3)
    with Client(base_url=real_gateway(), api_key=KEY, timeout=limits, max_retries=0) as client:
        with pytest.raises(DeadlineError):
            client.chat.completions.create(messages="hi", model="echo:slow?ttft=60s", stream=True)
        slow = client.chat.completions.create(messages="a b c d e f", model="echo:slow?ttft=1ms&rate=10", stream=True)
        assert slow.final().text == "a b c d e f"


def test_plan_of_the_gateway(server: RawServer, real_gateway: Callable[..., str]) -> None:
    """`explain` shows what each provider would get, keys by name; nobody hears of it."""
    with Client(base_url=real_gateway(**providers(server)), api_key=KEY) as client:
        plan = client.chat.completions.explain(messages="hi", temperature=0.5)
    assert [(call.provider, call.model) for call in plan] == [("one", "m"), ("two", "m"), ("three", "m")]
    request = plan.plan[0].request or {}
    assert (request["headers"]["authorization"], request["body"]["temperature"]) == ("Bearer $ONE_API_KEY", 0.5)
    assert server.received == []


@pytest.mark.parametrize("form", ["float", "base64"])
def test_embeddings(server: RawServer, real_gateway: Callable[..., str], form: Literal["float", "base64"]) -> None:
    """Vectors come through the gateway as floats, however they travel."""
    vector = [1.0, 2.0] if form == "float" else "AACAPwAAAEA="
    listed = [{"object": "embedding", "index": 0, "embedding": vector}]
    server.script = lambda _: answer({"object": "list", "data": listed, "model": "m", "usage": {"prompt_tokens": 1}})
    with Client(base_url=real_gateway(**providers(server)), api_key=KEY) as client:
        found = client.embeddings.create(input="hi", model="one:m", encoding_format=form)
    assert (found.vectors, found.provider) == ([(1.0, 2.0)], "one")
    assert server.received[0].json.get("encoding_format") == form
