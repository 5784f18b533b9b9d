"""Each seam of ``build_app``, used from outside through a double of a few lines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from attrs import evolve
from kit.gateways import gateway

from fwd_server.callers.base import Dialect
from fwd_server.callers.openai_chat import OPENAI_CHAT, OpenAIStreamWriter
from fwd_server.observe.hub import Observer
from fwd_server.values.call import Outcome, RequestEnd
from fwd_server.values.chat import ChatRequest, ChatResponse, Chunk, Json
from fwd_server.values.errors import GatewayError
from fwd_server.values.record import CallRecord

T = TypeVar("T")
ASK = {"model": "echo:", "messages": [{"role": "user", "content": "Hi"}]}


# -- the doubles


class ShoutWriter(OpenAIStreamWriter):
    def write_chunks(self, chunks: list[Chunk]) -> bytes:
        return super().write_chunks(chunks).upper()

    def write_end(self, facts: Json) -> bytes:
        return b"THE END\n\n"

    def write_error(self, error: GatewayError) -> bytes:
        return b"OH NO\n\n"


def shout(response: ChatResponse, request: ChatRequest, record: CallRecord) -> bytes:
    return OPENAI_CHAT.render(response, request, record).upper()


SHOUT: Dialect[Any, Any] = evolve(OPENAI_CHAT, name="shout", render=shout, stream_writer=ShoutWriter)


class EveryThird:
    """A policy that refuses every third call, and notes what is settled."""

    def __init__(self) -> None:
        self.calls = 0
        self.settled: list[tuple[str, bool]] = []

    def admit(self, record: CallRecord) -> None:
        self.calls += 1
        if self.calls % 3 == 0:
            raise GatewayError("Every third call is refused.", 429, code="every_third")

    def settle(self, record: CallRecord) -> None:
        self.settled.append((record.call.id, record.error is None))


class CannotSettle:
    """A policy whose books cannot be written."""

    def admit(self, record: CallRecord) -> None: ...

    async def settle(self, record: CallRecord) -> None:
        raise GatewayError("The call could not be recorded.", 503, code="ledger_unavailable")


class Crashes(Observer):
    """An observer that raises whatever it hears."""

    def call_started(self, record: CallRecord) -> None:
        raise RuntimeError("observer")

    attempt_started = attempt_ended = call_ended = request_ended = call_started  # type: ignore[assignment]


class Hears(Observer):
    """An observer that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def call_started(self, record: CallRecord) -> None:
        self.heard.append("start")

    def attempt_started(self, record: CallRecord, deployment: Any) -> None:
        self.heard.append(f"try {deployment.provider}")

    def attempt_ended(self, record: CallRecord, attempt: Any) -> None:
        self.heard.append(f"tried {attempt.code or 'ok'}")

    def call_ended(self, outcome: Outcome) -> None:
        self.heard.append(f"end {outcome.status} {outcome.error or ''}".strip())

    def request_ended(self, request: RequestEnd) -> None:
        self.heard.append(f"request {request.status} {request.error or ''}".strip())


# -- using them


KEY = "fwd_" + "s" * 43
PATH = "/v1/chat/completions"


def run(folder: Path, act: Callable[[httpx.AsyncClient], Awaitable[T]], **seams: Any) -> T:
    """Run ``act`` with a client of a gateway that is built with ``seams``."""

    async def main() -> T:
        async with gateway(folder, KEY, seams=seams) as listening:
            headers = {"authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(base_url=listening.url, headers=headers) as client:
                result = await act(client)
                await asyncio.sleep(0)  # observers hear of the ends of calls after their answers
            return result

    return asyncio.run(main())


def test_a_second_language_is_a_value_and_a_path(tmp_path: Path) -> None:
    """Whole, streamed, and in its own words when something is wrong; the first language is as it was."""

    async def act(client: httpx.AsyncClient) -> list[httpx.Response]:
        paths = {"/shout": ASK, "/shout#": {**ASK, "stream": True}, PATH: ASK}
        return [await client.post(path, json=body) for path, body in paths.items()]

    whole, streamed, plain = run(tmp_path, act, dialects={"/shout": SHOUT})
    assert '"CONTENT":"HI"' in whole.text
    assert "DATA: " in streamed.text
    assert streamed.text.endswith("THE END\n\n")
    assert plain.json()["choices"][0]["message"]["content"] == "Hi"


def test_a_policy_refuses_and_settles(tmp_path: Path) -> None:
    """Its refusal is the answer, and no provider is tried; every call it let in is settled once, streams too."""
    policy, observer = EveryThird(), Hears()

    async def act(client: httpx.AsyncClient) -> list[int]:
        bodies = [ASK, {**ASK, "stream": True}, ASK, {**ASK, "model": "nobody:knows"}]
        return [(await client.post(PATH, json=body)).status_code for body in bodies]

    assert run(tmp_path, act, policies=[policy], observers=[observer]) == [200, 200, 429, 404]
    assert [settled for _, settled in policy.settled] == [True, True], "what has no plan is not admitted"
    assert observer.heard.count("try echo") == 2
    assert "end 429 every_third" in observer.heard


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_cannot_be_settled_is_not_called_complete(tmp_path: Path, stream: bool) -> None:
    """R1: it is settled before the last byte, so the caller learns of it; another policy is settled all the same."""
    other = EveryThird()

    async def act(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post(PATH, json={**ASK, "stream": stream})

    answer = run(tmp_path, act, policies=[other, CannotSettle()])
    assert answer.status_code == (200 if stream else 503)
    assert "ledger_unavailable" in answer.text
    assert "[DONE]" not in answer.text
    assert len(other.settled) == 1


def test_an_observer_that_raises_costs_nobody_an_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the observers after it hear everything."""
    observer = Hears()

    async def act(client: httpx.AsyncClient) -> list[int]:
        answers = [await client.post(PATH, json=body) for body in (ASK, {**ASK, "stream": True}, {"messages": 1})]
        answers += [await client.get("/health"), await client.post(PATH, json=ASK, headers={"authorization": "x"})]
        return [answer.status_code for answer in answers]

    with caplog.at_level(logging.ERROR):
        assert run(tmp_path, act, observers=[Crashes(), observer]) == [200, 200, 400, 200, 401]
    assert sum("Bug: the observer" in record.message for record in caplog.records) >= 8
    assert observer.heard == [
        *["start", "try echo", "tried ok", "end 200"] * 2,
        "request 400 invalid_request_error",
        "request 200",
        "request 401 invalid_api_key",
    ]
