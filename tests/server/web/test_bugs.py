"""A bug of ours in the middle of a stream: said in the log, and to the caller as a failure (contract G5)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.iostream import StreamClosedError
from tornado.web import Application

from fwd_server.app import App, build_app
from fwd_server.callers.openai_chat import parse_request
from fwd_server.http1.client.pool import Pool
from fwd_server.settings import Settings
from fwd_server.values.call import Call, Caller

from .conftest import KEY

pytestmark = pytest.mark.gen_test


class Falling:
    """An upstream that begins an answer, and then raises what no upstream may."""

    status = 200
    headers: Mapping[str, str] = {"content-type": "text/event-stream"}

    def prepare(self, *_: Any) -> None: ...

    async def send_prepared(self, *_: Any) -> Falling:
        return self

    def whole_body(self) -> None: ...

    async def read(self) -> bytes:
        return b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'

    def start_reading(self, *_: Any) -> None:
        raise RuntimeError("a bug")

    def close(self) -> None: ...

    pause = resume = await_end = close

    async def aclose(self) -> None: ...


@pytest.fixture
def app(make_app: Callable[..., App]) -> Application:
    return make_app(cast(Pool, Falling()), OPENAI_API_KEY="sk-canary").application


async def test_a_bug_never_looks_like_a_good_end(
    http_client: AsyncHTTPClient, base_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """G5: an error event and no ``[DONE]``; the log has the traceback, and the line of the call the failure."""
    body = {"model": "openai:gpt-x", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with caplog.at_level(logging.INFO):
        answer = await http_client.fetch(
            f"{base_url}/v1/chat/completions", method="POST", headers=headers, body=json.dumps(body)
        )
    said = answer.body.decode()
    assert "Hel" in said
    assert json.loads(said.split("data: ")[-1])["error"]["code"] == "internal"
    assert any(record.exc_info and record.name == "fwd.app" for record in caplog.records)
    (line,) = [vars(record)["fwd_fields"] for record in caplog.records if record.name == "fwd.access"]
    assert (line["status"], line["error"]) == (200, "internal")


async def test_a_caller_that_is_gone_is_no_bug() -> None:
    """T7: a write to it may fail before anybody is told; its line says that it left."""
    gateway = build_app(Settings()).gateway
    body = {"model": "echo:", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    record = gateway.open_record(Call("req_1", Caller("web"), parse_request(json.dumps(body).encode())))
    with pytest.raises(StreamClosedError):
        async with gateway.stream_call(record):
            raise StreamClosedError
    assert (record.was_disconnected, record.error) == (True, None)
