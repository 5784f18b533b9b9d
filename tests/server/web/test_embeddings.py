"""POST /v1/embeddings through the whole application, in front of scripted upstreams."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.fakeup import Fakeup, error_answer, json_answer
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.web import Application

from fwd_server.app import App

from .conftest import KEY

pytestmark = pytest.mark.gen_test
VECTOR = {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}
LIST = {"object": "list", "data": [VECTOR], "model": "e", "usage": {"prompt_tokens": 2, "total_tokens": 2}}
Ask = Callable[..., Any]


@pytest.fixture
def up() -> Iterator[Fakeup]:
    with Fakeup(lambda seen: [json_answer(LIST)]) as up:
        yield up


@pytest.fixture
def app(make_app: Callable[..., App], up: Fakeup) -> Application:
    return make_app(
        OPENAI_API_KEY="sk-canary",
        OPENAI_BASE_URL=up.url,
        OPENAI_MODEL="gpt-x",
        ANTHROPIC_API_KEY="sk-ant",
        ANTHROPIC_BASE_URL=up.url,
        PROVIDERS_PRIORITY="echo",
    ).application


@pytest.fixture
def ask(http_client: AsyncHTTPClient, base_url: str) -> Ask:
    async def send(headers: dict[str, str] | None = None, **body: Any) -> HTTPResponse:
        return await http_client.fetch(
            f"{base_url}/v1/embeddings",
            method="POST",
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **(headers or {})},
            body=json.dumps(body),
            raise_error=False,
        )

    return send


async def test_vectors_with_their_receipt(ask: Ask, up: Fakeup) -> None:
    """The answer, and who gave it."""
    response = await ask(model="text-embedding-3-small", input="Hi")
    assert json.loads(response.body)["data"][0]["embedding"] == [0.5, -1.0]
    assert (response.headers["x-fwd-provider"], response.headers["x-fwd-attempts"]) == ("openai", "1")
    assert up.seen[0].target.endswith("/embeddings")


async def test_base64_is_little_endian_float32(ask: Ask) -> None:
    """As OpenAI's Python SDK asks for."""
    response = await ask(model="text-embedding-3-small", input="Hi", encoding_format="base64")
    packed = base64.b64decode(json.loads(response.body)["data"][0]["embedding"])
    assert struct.unpack("<2f", packed) == (0.5, -1.0)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "text-embedding-3-small"}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": ""}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": []}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": 5}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": "x", "dimensions": 0}, 400, "dimensions"),
        ({"input": "x"}, 400, "model"),
        ({"model": "nonsense", "input": "x"}, 404, "model"),
        ({"model": "anthropic:claude-x", "input": "x"}, 501, None),
        ({"model": "echo:", "input": "x"}, 501, None),
    ],
)
async def test_what_cannot_be_embedded_says_why(ask: Ask, body: dict[str, Any], status: int, param: str | None) -> None:
    response = await ask(**body)
    error = json.loads(response.body)["error"]
    assert (response.code, error["param"]) == (status, param)


async def test_no_other_model_takes_over(ask: Ask, up: Fakeup) -> None:
    """Vectors of two models have nothing in common: a failure is a failure."""
    up.script = lambda seen: [error_answer(429)]
    response = await ask(model="text-embedding-3-small", input="Hi")
    assert response.code == 429
    assert response.headers["x-fwd-provider"] == "openai"


async def test_a_dry_run_shows_the_request(ask: Ask, up: Fakeup) -> None:
    response = await ask(headers={"x-fwd-dry-run": "true"}, model="text-embedding-3-small", input="Hi")
    (step,) = json.loads(response.body)["plan"]
    assert step["request"]["body"]["input"] == "Hi"
    assert up.connections == 0
