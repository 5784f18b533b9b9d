"""What the head of a call may ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.web import Application

from fwd_server.web.openapi import build_document

from .conftest import KEY

pytestmark = pytest.mark.gen_test

TIMES = [f"x-fwd-{what}timeout" for what in ("connect-", "first-byte-", "first-event-", "idle-", "")]


@pytest.fixture
def app(make_app: Callable[..., Any]) -> Application:
    application: Application = make_app().application
    return application


@pytest.fixture
def ask(http_client: AsyncHTTPClient, base_url: str) -> Callable[..., Any]:
    """Sends a call with these headers and gives the answer, whatever its status."""

    async def send(**headers: str) -> HTTPResponse:
        return await http_client.fetch(
            f"{base_url}/v1/chat/completions",
            method="POST",
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **headers},
            body=json.dumps({"model": "echo:", "messages": [{"role": "user", "content": "Hi"}]}),
            raise_error=False,
        )

    return send


@pytest.mark.parametrize(
    ("name", "value"),
    [*((name, "soon") for name in TIMES), *((TIMES[0], value) for value in ("0", "-1", "nan", "inf", "", "9" * 400))],
)
async def test_a_time_that_is_none_is_refused(ask: Callable[..., Any], name: str, value: str) -> None:
    """A header that cannot be used is said, not guessed at: what was found, and what is allowed."""
    response = await ask(**{name: value})
    error = json.loads(response.body)["error"]
    allowed = "a number of seconds above 0 is allowed."
    assert (response.code, error["param"]) == (400, name)
    assert error["message"] == f"Invalid value for {name!r}: {value[:40]!r}; {allowed}"


@pytest.mark.parametrize("value", ["0.5", "30", "1e3", "100000"])
async def test_times_in_seconds_are_taken(ask: Callable[..., Any], value: str) -> None:
    """All at once, whatever the case of their names; one that is too long is as the operator's."""
    response = await ask(**{name.title(): value for name in TIMES[:2]}, **dict.fromkeys(TIMES[2:], value))
    assert response.code == 200


def test_every_time_is_described() -> None:
    """/openapi.json names each for the operations that take it."""
    described = build_document("1.0.0")
    parameters = described["components"]["parameters"]
    for path in ("/v1/chat/completions", "/v1/embeddings"):
        taken = [parameters[ref["$ref"].rpartition("/")[2]] for ref in described["paths"][path]["post"]["parameters"]]
        named = {parameter["name"]: parameter["schema"] for parameter in taken}
        assert [named[name] for name in TIMES] == [{"type": "number", "exclusiveMinimum": 0}] * 5
