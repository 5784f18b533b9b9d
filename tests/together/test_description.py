"""What the real gateway answers is what ``/openapi.json`` says it answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from jsonschema import Draft202012Validator
from tests.together.gateway import SIGNED, Server, gateway
from tornado.httpclient import HTTPResponse

from fwd_server.web import examples

# Headers that tell about a call; the rest are the same on every answer and belong to HTTP.
OURS = ("x-fwd-", "x-request-id", "x-should-retry", "x-ratelimit-", "retry-after", "server-timing")


@frozen
class Description:
    """What a gateway says of itself."""

    document: dict[str, Any]

    def problems(self, operation: tuple[str, str], answer: HTTPResponse) -> list[str]:
        """What the description does not say about an answer: its status, its type, its headers, its body."""
        method, path = operation
        described = self._follow(self.document["paths"][path][method]["responses"].get(str(answer.code), {}))
        content = described.get("content", {}).get(answer.headers["Content-Type"].partition(";")[0])
        if content is None:
            return [f"{answer.code} {answer.headers['Content-Type']} is not described"]
        own = {name.lower() for name in answer.headers if name.lower().startswith(OURS)}
        unsaid = [f"the header {name} is not described" for name in own - set(described["headers"])]
        return unsaid + self._misfits(content["schema"], answer.body)

    def examples(self, status: int) -> list[Any]:
        """The errors that are shown for a status."""
        content = self.document["components"]["responses"][f"Error{status}"]["content"]
        return [example["value"] for example in content["application/json"]["examples"].values()]

    def _follow(self, response: dict[str, Any]) -> dict[str, Any]:
        name = response.get("$ref", "").rpartition("/")[2]
        return dict(self.document["components"]["responses"][name]) if name else response

    def _misfits(self, schema: dict[str, Any], body: bytes) -> list[str]:
        each = schema.get("contentSchema")
        if each is None:
            return self._errors(schema, json.loads(body))
        return [problem for frame in frames(body) for problem in self._errors(each, frame)]

    def _errors(self, schema: dict[str, Any], value: Any) -> list[str]:
        validator = Draft202012Validator({**self.document, **schema})
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def against(folder: Path, test: Callable[[Server, Description], Awaitable[None]]) -> None:
    """Run ``test`` with a gateway and its description."""

    async def run() -> None:
        async with gateway(folder) as server:
            document = await server.ask("GET", "/openapi.json")
            await test(server, Description(json.loads(document.body)))

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/health", "/ready", "/v1/models"])
def test_answers_are_described(tmp_path: Path, path: str) -> None:
    """Whatever can be asked without a model."""

    async def test(server: Server, described: Description) -> None:
        answer = await server.ask("GET", path, headers=SIGNED)
        assert described.problems(("get", path), answer) == []

    against(tmp_path, test)


def test_one_model_is_described(tmp_path: Path) -> None:
    """By its id; one that does not exist is a described failure."""

    async def test(server: Server, described: Description) -> None:
        for name, status in (("echo:", 200), ("gtp-6", 404)):
            answer = await server.ask("GET", f"/v1/models/{name}", headers=SIGNED)
            assert answer.code == status
            assert described.problems(("get", "/v1/models/{id}"), answer) == []

    against(tmp_path, test)


def test_refusals_are_described(tmp_path: Path) -> None:
    """No key, a body that is no call, and a provider without a key."""

    async def test(server: Server, described: Description) -> None:
        refusals = [
            await server.ask("POST", "/v1/chat/completions", body="{}", headers={"Content-Type": "application/json"}),
            await server.ask(
                "POST", "/v1/chat/completions", body="{}", headers={**SIGNED, "Content-Type": "text/plain"}
            ),
            await server.chat({"messages": []}),
            await server.chat({"messages": [{"role": "user", "content": "hi"}]}),
            await server.chat({"model": "openai:gpt-6", "messages": [{"role": "user", "content": "hi"}]}),
        ]
        assert [answer.code for answer in refusals] == [401, 415, 400, 400, 503]
        for answer in refusals:
            assert described.problems(("post", "/v1/chat/completions"), answer) == []
        # What is shown is what is said: the examples are made by the code that refuses.
        for answer in (refusals[0], refusals[1], refusals[4]):
            assert json.loads(answer.body) in described.examples(answer.code)

    against(tmp_path, test)


@pytest.mark.parametrize("name", [name for name in examples.chat_requests() if name != "listed"])
def test_examples_work_as_they_stand(tmp_path: Path, name: str) -> None:
    """Each is a call that succeeds on any gateway, without a provider's key; its answer is described."""

    async def test(server: Server, described: Description) -> None:
        answer = await server.chat(examples.chat_requests()[name]["value"])
        assert answer.code == 200
        assert described.problems(("post", "/v1/chat/completions"), answer) == []

    against(tmp_path, test)


@pytest.mark.parametrize("name", examples.chat_answers())
def test_examples_of_answers_are_real(tmp_path: Path, name: str) -> None:
    """Each is what the call of the same name is answered."""

    async def test(server: Server, described: Description) -> None:
        answer = await server.chat(examples.chat_requests()[name]["value"])
        assert told(json.loads(answer.body)) == told(examples.chat_answers()[name]["value"])

    against(tmp_path, test)


def test_example_of_a_stream_is_real(tmp_path: Path) -> None:
    """Frame by frame."""

    async def test(server: Server, described: Description) -> None:
        answer = await server.chat(examples.chat_requests()["stream"]["value"])
        assert [told(frame) for frame in frames(answer.body)] == [
            told(frame) for frame in frames(examples.chat_stream())
        ]

    against(tmp_path, test)


def frames(sse: str | bytes) -> list[Any]:
    """The JSON objects of a stream."""
    lines = (sse if isinstance(sse, str) else sse.decode()).split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says, without what is new in each."""
    for choice in answer["choices"]:
        for call in choice.get("message", {}).get("tool_calls") or []:
            del call["id"]
    return {key: value for key, value in answer.items() if key in ("object", "model", "choices", "usage")}
