"""POST /v1/chat/completions through the whole application, in front of scripted upstreams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from kit.fakeup import (
    ROLE,
    STREAM_HEAD,
    WAIT_FOR_CLOSE,
    Fakeup,
    Seen,
    Step,
    completion,
    error_answer,
    event,
    json_answer,
    stream,
)
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.web import Application

from fwd_server.app import App

from .conftest import KEY

pytestmark = pytest.mark.gen_test


class Script:
    """What the upstream does next; tests set ``steps``."""

    steps: list[Step] = [json_answer(completion())]

    def __call__(self, seen: Seen) -> list[Step]:
        return self.steps


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def up(script: Script) -> Any:
    with Fakeup(script) as up:
        yield up


@pytest.fixture
def built(make_app: Callable[..., App], up: Fakeup) -> App:
    return make_app(
        OPENAI_API_KEY="sk-canary",
        OPENAI_BASE_URL=up.url,
        OPENAI_MODEL="gpt-x",
        FWD_SSE_KEEPALIVE="0.1",
        FWD_IDLE_TIMEOUT="1",
    )


@pytest.fixture
def app(built: App) -> Application:
    return built.application


@pytest.fixture
def ask(http_client: AsyncHTTPClient, base_url: str) -> Callable[..., Any]:
    """Sends a call and gives the answer, whatever its status."""

    async def send(headers: dict[str, str] | None = None, raw: bytes | None = None, **body: Any) -> HTTPResponse:
        given = {"model": "openai:gpt-x", "messages": [{"role": "user", "content": "Hi"}], **body}
        return await http_client.fetch(
            f"{base_url}/v1/chat/completions",
            method="POST",
            headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **(headers or {})},
            body=raw if raw is not None else json.dumps(given),
            raise_error=False,
        )

    return send


Ask = Callable[..., Any]


def events(response: HTTPResponse) -> list[Any]:
    """The data events of a stream."""
    lines = response.body.decode().split("\n\n")
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


async def test_an_answer_with_its_receipt(ask: Ask, up: Fakeup) -> None:
    """The provider's bytes, and who answered in the headers."""
    response = await ask()
    assert json.loads(response.body) == completion()
    assert response.headers["x-fwd-provider"] == "openai"
    assert response.headers["x-fwd-model"] == "gpt-x"
    assert response.headers["x-fwd-attempts"] == "1"
    assert response.headers["x-request-id"].startswith("req_")
    assert "total;dur=" in response.headers["server-timing"]
    assert up.seen[0].json["model"] == "gpt-x"


async def test_nothing_of_the_callers_headers_goes_upstream(ask: Ask, up: Fakeup) -> None:
    """T18: upstream headers are built from scratch."""
    hostile = {"OpenAI-Organization": "org-x", "X-Evil": "1", "Cookie": "a=b", "User-Agent": "me", "HTTP-Referer": "x"}
    await ask(headers=hostile)
    assert set(up.seen[0].headers) <= {
        "host",
        "content-length",
        "content-type",
        "authorization",
        "accept-encoding",
        "x-fwd-via",
    }
    assert up.seen[0].headers["authorization"] == "Bearer sk-canary"


async def test_hostile_headers_of_a_provider_stay_behind(ask: Ask, script: Script) -> None:
    """T11: response headers go by a list."""
    hostile = {"set_cookie": "a=b", "server": "evil", "openai_organization": "org", "access_control_allow_origin": "*"}
    script.steps = [json_answer(completion(), x_request_id="req_up", x_ratelimit_limit_requests="5", **hostile)]
    response = await ask()
    assert not {"Set-Cookie", "Server", "Openai-Organization", "Access-Control-Allow-Origin"} & set(response.headers)
    assert response.headers["x-fwd-upstream-request-id"] == "req_up"
    assert response.headers["x-ratelimit-limit-requests"] == "5"


async def test_the_callers_own_request_id_is_kept(ask: Ask) -> None:
    """Design: 1 to 64 of A-Za-z0-9._-; anything else is replaced."""
    assert (await ask(headers={"x-request-id": "my-id.1"})).headers["x-request-id"] == "my-id.1"
    assert (await ask(headers={"x-request-id": "my id"})).headers["x-request-id"].startswith("req_")


async def test_a_stream_goes_through_whole(ask: Ask, script: Script) -> None:
    """Events, the receipt as a comment, and [DONE]."""
    script.steps = stream("Hel", "lo")
    response = await ask(stream=True)
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-fwd-provider"] == "openai"
    data = events(response)
    assert data[-1] == "[DONE]"
    assert "".join(json.loads(one)["choices"][0]["delta"].get("content") or "" for one in data[:-1]) == "Hello"
    (receipt,) = [line for line in response.body.decode().split("\n\n") if line.startswith(": fwd ")]
    assert json.loads(receipt.removeprefix(": fwd "))["attempts"] == 1


async def test_a_cut_stream_is_an_error_event_and_never_done(ask: Ask, script: Script) -> None:
    """G5: error event, no finish reason, no [DONE]."""
    script.steps = [STREAM_HEAD, ROLE, event({"content": "Hel"})]
    script.steps.append(object())
    response = await ask(stream=True)
    data = events(response)
    assert response.code == 200
    assert json.loads(data[-1])["error"]["code"] == "upstream_truncated"
    assert "[DONE]" not in data


async def test_a_stream_that_fails_before_it_begins_has_a_status(ask: Ask, script: Script) -> None:
    """Contract 3a: the 200 is held until there is content."""
    script.steps = [error_answer(429, retry_after="7")]
    response = await ask(stream=True)
    assert (response.code, response.headers["retry-after"]) == (429, "7")
    assert response.headers["x-fwd-provider"] == "openai"


async def test_silence_is_filled_with_comments_before_the_first_content(ask: Ask, script: Script) -> None:
    """Contract 3a: the head goes out with a keep-alive, and who answered follows as a comment."""
    script.steps = [STREAM_HEAD, 0.35, *stream("ok")[1:]]
    response = await ask(stream=True)
    text = response.body.decode()
    assert text.startswith(": keep-alive\n\n")
    assert '"provider":"openai"' in text.partition("data: ")[0]
    assert events(response)[-1] == "[DONE]"


async def test_a_failure_after_an_early_head_is_an_event(ask: Ask, script: Script) -> None:
    """Contract 3a: once the head is out, only the last failure travels, as an event."""
    script.steps = [0.35, error_answer(400, "Bad thing")]
    response = await ask(stream=True)
    assert response.code == 200
    assert json.loads(events(response)[-1])["error"]["message"] == "Bad thing"
    assert "[DONE]" not in events(response)


@pytest.mark.parametrize(
    ("raw", "said", "param"),
    [
        (b"", "empty", None),
        (b"{", "not valid JSON", None),
        (b"[]", "must be a JSON object, not an array", None),
        (b'{"a":NaN}', "not valid JSON", None),
        (b'{"model":"echo:","model":"x","messages":[]}', "more than once", "model"),
        (b'{"model":"echo:"}', "Missing required parameter: 'messages'", "messages"),
        (b'{"model":"echo:","messages":[]}', "length >= 1", "messages"),
        (b'{"model":"echo:","messages":"x"}', "expected array", "messages"),
        (b'{"model":1,"messages":[{"role":"user","content":"x"}]}', "expected", "model"),
        (b'{"model":"echo:","messages":[{"role":"bad","content":"x"}]}', "bad", "messages[0].role"),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", "more than 64 levels", None),
        (b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}", "not valid JSON", None),
        (b"\xff", "not valid JSON", None),
    ],
)
async def test_bad_bodies_get_a_clear_400(ask: Ask, raw: bytes, said: str, param: str | None) -> None:
    """L5, L6, T5: what was found and where; never a 500."""
    response = await ask(raw=raw)
    error = json.loads(response.body)["error"]
    assert (response.code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert said in error["message"]


@pytest.mark.parametrize(
    ("model", "status", "code", "said"),
    [
        ("gtp-4", 404, "model_not_found", "gpt-"),
        ("openia:gpt-x", 404, "model_not_found", "'openai:gpt-x'"),
        ("../../etc/passwd", 404, "model_not_found", "does not exist"),
        ("groq:llama", 503, "provider_not_configured", "GROQ_API_KEY"),
        ("evil\nname", 404, "model_not_found", "name is invalid"),
        (None, 400, "model_required", "PROVIDERS_PRIORITY"),
    ],
)
async def test_models_that_lead_nowhere_say_what_to_do(
    ask: Ask, model: str | None, status: int, code: str, said: str
) -> None:
    """Design, *Routing*: 404 with near names, 503 with the variable, 400 with the two settings; T17."""
    response = await ask(model=model)
    error = json.loads(response.body)["error"]
    assert (response.code, error["code"]) == (status, code)
    assert said in error["message"]


async def test_the_callers_own_deadline_counts(ask: Ask, script: Script) -> None:
    """x-fwd-timeout is the time for the whole call."""
    script.steps = [3.0]
    response = await ask(headers={"x-fwd-timeout": "0.1"})
    assert (response.code, json.loads(response.body)["error"]["code"]) == (504, "deadline")


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("phase", ["before the head", "before content", "in the middle"])
async def test_the_caller_leaves_and_the_upstream_call_ends(
    ask: Ask, script: Script, up: Fakeup, base_url: str, streamed: bool, phase: str
) -> None:
    """T7, S19: in every phase the upstream's connection is closed."""
    before: dict[str, list[Step]] = {
        "before the head": [],
        "before content": [STREAM_HEAD if streamed else json_answer(completion())[:-20]],
        "in the middle": [STREAM_HEAD, event({"content": "x"})] if streamed else [json_answer(completion())[:60]],
    }
    script.steps = [*before[phase], WAIT_FOR_CLOSE]
    body = json.dumps({"model": "gpt-x", "stream": streamed, "messages": [{"role": "user", "content": "Hi"}]}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url.rpartition(":")[2]))
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + f"Authorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    while not up.seen:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    writer.close()
    for _ in range(200):
        if up.closed_after_s:
            break
        await asyncio.sleep(0.01)
    assert len(up.closed_after_s) == 1


async def test_a_dry_run_shows_the_request_and_sends_nothing(ask: Ask, up: Fakeup) -> None:
    """Design, *Headers of a call*: the exact request with keys as $NAME, and what would be dropped."""
    response = await ask(headers={"x-fwd-dry-run": "true"}, user="ada", extra_body={"deep": {"er": 1}})
    (step,) = json.loads(response.body)["plan"]
    assert step["request"]["url"] == f"{up.url}/chat/completions"
    assert step["request"]["headers"]["authorization"] == "Bearer $OPENAI_API_KEY"
    assert (step["request"]["body"]["user"], step["request"]["body"]["deep"]) == ("ada", {"er": 1})
    assert (step["provider"], step["model"], step["dropped"]) == ("openai", "gpt-x", [])
    assert up.connections == 0


@pytest.mark.parametrize(
    ("name", "value"), [("x-fwd-dry-run", "on"), ("x-fwd-strict", "maybe"), ("x-fwd-fallback", "false")]
)
async def test_a_word_that_means_nothing_is_refused(ask: Ask, up: Fakeup, name: str, value: str) -> None:
    """Nothing is lost silently: a misspelled dry run is no call that costs money."""
    response = await ask(headers={name: value})
    assert (response.code, json.loads(response.body)["error"]["param"]) == (400, name)
    assert up.connections == 0


@pytest.mark.parametrize("value", ["", "false", "No"])
async def test_a_call_may_say_that_it_is_no_dry_run(ask: Ask, up: Fakeup, value: str) -> None:
    assert (await ask(headers={"x-fwd-dry-run": value})).code == 200
    assert up.connections == 1


async def test_a_dry_run_says_who_would_refuse(ask: Ask) -> None:
    """G11: a provider that cannot take the call says why."""
    response = await ask(headers={"x-fwd-dry-run": "true"}, model="echo:nonsense")
    assert json.loads(response.body)["plan"][0]["error"]["param"] == "model"


async def test_a_dry_run_of_echo_has_no_request(ask: Ask) -> None:
    response = await ask(headers={"x-fwd-dry-run": "true"}, model="echo:")
    assert json.loads(response.body)["plan"] == [{"provider": "echo", "model": "echo:", "dropped": [], "request": None}]


async def test_a_gateway_that_would_call_itself_stops(ask: Ask, script: Script, up: Fakeup) -> None:
    """Design, *Headers of a call*: a call that comes back is 508, and is not sent again."""
    other = "b" * 29
    await ask(headers={"x-fwd-via": f"short, {other},\u00e9,,x y"})
    first = up.seen[0].headers["x-fwd-via"].split(",")
    assert first[:-1] == [other]
    again = await ask(headers={"x-fwd-via": ",".join(first)})
    error = json.loads(again.body)["error"]
    assert (again.code, error["code"], again.headers["x-should-retry"]) == (508, "loop_detected", "false")
    assert (await ask(headers={"x-fwd-via": ",".join([other] * 8)})).code == 508
    assert len(up.seen) == 1


async def test_a_dry_run_keeps_long_integers(ask: Ask) -> None:
    """Integers of any length keep their digits, also in what is only shown."""
    response = await ask(headers={"x-fwd-dry-run": "true"}, seed=12345678901234567890123456789)
    assert b'"seed":12345678901234567890123456789' in response.body
