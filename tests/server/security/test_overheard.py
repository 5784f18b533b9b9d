"""The search for keys that runs along with every test of the server does find them (S12 to S14, T16)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from kit.overheard import Listener, listening_to_clients

from fwd_server.observe import log
from fwd_server.observe.access_log import AccessLog
from fwd_server.values.call import Outcome
from fwd_server.web.base import BaseHandler

from .conftest import Start, request, run

KEYS = ("sk-canary", "sk-openai-canary", "sk-groq-canary")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_a_key_in_a_log_line_is_heard(listener: Listener, key: str, level: str) -> None:
    getattr(log.app, level)("calling with %s", key)
    assert key in "".join(listener.take())


def test_a_key_in_a_field_or_a_traceback_is_heard(listener: Listener) -> None:
    AccessLog().call_ended(Outcome("req_1", "", KEYS[0], 200, False))
    assert listener.take()
    try:
        raise ValueError(KEYS[0])
    except ValueError:
        log.upstream.debug("failed", exc_info=True)
    assert listener.take()


def test_a_key_in_an_answer_is_heard(start: Start, listener: Listener) -> None:
    """In its body, in a header, and in an error's text."""

    class Leaky(BaseHandler):
        needs_key = False

        def get(self) -> Any:
            self.set_header("x-leak", KEYS[0])
            self.write(KEYS[1].encode())

    async def main() -> None:
        async with start() as gateway:
            gateway.app.application.add_handlers(".*", [("/leak", Leaky)])
            await gateway.talk(request("GET", "/leak"))

    run(main())
    heard = "".join(listener.take())
    assert "Leaky.set_header" in heard
    assert "Leaky.write" in heard


def test_what_is_no_key_is_not_heard(listener: Listener) -> None:
    log.app.warning("a canary sang: sk-1, canary, $OPENAI_API_KEY, ***")
    assert listener.take() == []


def test_a_key_in_what_a_client_is_answered_is_heard() -> None:
    """For gateways in a process of their own: whole answers, sync and async."""
    transport = httpx.MockTransport(lambda asked: httpx.Response(200, text=KEYS[0]))

    async def ask() -> None:
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get("http://gateway.test/")

    with listening_to_clients(httpx) as listener:
        with httpx.Client(transport=transport) as client:
            client.get("http://gateway.test/")
        assert listener.take()
        asyncio.run(ask())
        assert listener.take()
