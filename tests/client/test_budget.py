"""One budget for a call: the SDK, the real gateway, and providers that fail (T29)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fwd_client import APIError, Client, DeadlineError

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
