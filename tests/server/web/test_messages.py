"""The Messages API at a gateway that listens: paths, lists, counts, errors, and what passes as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
import pytest
from kit.fakeup import Fakeup, Seen, answer, error_answer, json_answer
from kit.gateways import gateway
from tests.server.callers import messages

from fwd_server.settings.config_file import ConfigText
from fwd_server.upstream.loop_guard import LoopGuard
from fwd_server.web.call_options import read_options

T = TypeVar("T")
KEY = "fwd_" + "m" * 43
VERSION = {"anthropic-version": "2023-06-01"}
ASK: dict[str, Any] = {"model": "echo:", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello there"}]}
TOLD = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "content": []}
TOLD |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 9}}


def run(folder: Path, act: Callable[[httpx.AsyncClient], Awaitable[T]], **env: Any) -> T:
    async def main() -> T:
        async with gateway(folder, KEY, **env) as listening:
            headers = {"x-api-key": KEY}
            async with httpx.AsyncClient(base_url=listening.url, headers=headers) as client:
                return await act(client)

    return asyncio.run(main())


def post(folder: Path, body: Any, path: str = "/v1/messages", headers: dict[str, str] | None = None, **env: Any) -> Any:
    """One request."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    headers = {"content-type": "application/json", **(headers or {})}
    return run(folder, lambda client: client.post(path, content=data, headers=headers), **env)


def anthropic(up: Fakeup) -> dict[str, str]:
    return {"ANTHROPIC_API_KEY": "sk-ant-canary", "ANTHROPIC_BASE_URL": up.url}


@pytest.mark.parametrize("path", ["/v1/messages?beta=true", "/v1/v1/messages", "/v1//messages/"])
def test_the_path_is_found_however_it_was_joined(tmp_path: Path, path: str) -> None:
    """Queries mean nothing, and a doubled version counts once."""
    got = post(tmp_path, ASK, path)
    assert got.status_code == 200
    assert got.json()["content"] == [{"type": "text", "text": "Hello there"}]
    assert got.headers["request-id"] == got.headers["x-request-id"]


def test_failures_before_and_beside_calls_are_in_its_language(tmp_path: Path) -> None:
    """By the path, and by the version that Anthropic's clients state."""
    wrong = post(tmp_path, ASK, headers={"x-api-key": "fwd_wrong"})
    assert (wrong.status_code, wrong.json()["error"]["type"]) == (401, "authentication_error")
    assert wrong.json()["request_id"] == wrong.headers["request-id"]
    for path, status, kind in (("/v1/messages/batches", 404, "not_found_error"), ("/nothing", 404, "not_found_error")):
        got = post(tmp_path, ASK, path, VERSION)
        assert (got.status_code, got.json()["error"]["type"]) == (status, kind)
    assert "code" in post(tmp_path, ASK, "/nothing").json()["error"]
    assert "not served yet" in post(tmp_path, ASK, "/v1/images/generations").json()["error"]["message"]
    failing = {**ASK, "model": "echo:fail?status=503"}
    overloaded = post(tmp_path, failing)
    assert (overloaded.status_code, overloaded.json()["error"]["type"]) == (529, "overloaded_error")


def test_the_list_of_models_is_in_the_language_of_who_asks(tmp_path: Path) -> None:
    """Claude Code takes over ids that begin with claude, so an alias is listed; pages go both ways."""
    env = {"FWD_ALIASES": "claude-by-echo=echo:json"}

    async def act(client: httpx.AsyncClient) -> list[Any]:
        queries = ("", "?limit=2", "?limit=2&after_id=claude-by-echo", "?limit=1&before_id=echo:tools")
        pages = [(await client.get(f"/v1/models{query}", headers=VERSION)).json() for query in queries]
        one = await client.get("/v1/models/claude-by-echo", headers=VERSION)
        bad = await client.get("/v1/models?limit=0", headers=VERSION)
        plain = await client.get("/v1/models")
        return [*pages, one.json(), bad.json(), plain.json()]

    whole, first, second, before, one, bad, plain = run(tmp_path, act, **env)
    names = [model["id"] for model in whole["data"]]
    assert names[0] == "claude-by-echo"
    assert not whole["has_more"]
    assert [model["id"] for model in first["data"]] == names[:2]
    assert first["has_more"]
    assert [model["id"] for model in second["data"]] == names[1:3]
    assert [model["id"] for model in before["data"]] == [names[names.index("echo:tools") - 1]]
    assert one == whole["data"][0]
    assert one["lifecycle"] == "active"
    assert bad["error"]["message"].startswith("limit: ")
    assert [model["id"] for model in plain["data"]] == names


def test_tokens_are_counted_by_us_where_nobody_else_does(tmp_path: Path) -> None:
    """And the answer says so; the same body gives the same number, and a model that does not exist is still 404."""
    body = {name: value for name, value in ASK.items() if name != "max_tokens"}
    counts = [post(tmp_path, body, "/v1/messages/count_tokens") for _ in range(2)]
    assert counts[0].json() == counts[1].json() == {"input_tokens": 7}
    assert counts[0].headers["x-fwd-estimated"] == "true"
    assert post(tmp_path, {**body, "model": "no-such"}, "/v1/messages/count_tokens").status_code == 404


def test_anthropic_counts_its_own_tokens(tmp_path: Path) -> None:
    """The caller's own bytes, version and betas go there; when it fails, the estimate is the answer."""
    seen: list[Seen] = []

    def answered(one: Seen) -> list[Any]:
        seen.append(one)
        return [json_answer({"input_tokens": 321})] if len(seen) == 1 else [error_answer(500)]

    body = orjson.dumps({"model": "claude-sonnet-5-5", "messages": ASK["messages"], "new": 1})
    with Fakeup(answered) as up:
        headers = {**VERSION, "anthropic-beta": "a-2026"}
        got = [post(tmp_path, body, "/v1/messages/count_tokens", headers, **anthropic(up)) for _ in range(2)]
    assert got[0].json() == {"input_tokens": 321}
    assert "x-fwd-estimated" not in got[0].headers
    assert got[1].json()["input_tokens"] > 0
    assert got[1].headers["x-fwd-estimated"] == "true"
    assert seen[0].target == "/v1/messages/count_tokens"
    assert seen[0].body == body
    assert seen[0].headers["anthropic-beta"] == "a-2026"


def test_google_counts_the_whole_call(tmp_path: Path) -> None:
    """System prompt and tools too, which its count of mere contents leaves out."""
    seen: list[Seen] = []

    def answered(one: Seen) -> list[Any]:
        seen.append(one)
        return [json_answer({"totalTokens": 33})]

    body = {"model": "google:gemini-3.8-flash", "system": "S", "messages": ASK["messages"]}
    with Fakeup(answered) as up:
        env = {"GOOGLE_API_KEY": "canary", "GOOGLE_BASE_URL": up.url.removesuffix("/v1") + "/v1beta"}
        assert post(tmp_path, body, "/v1/messages/count_tokens", **env).json() == {"input_tokens": 33}
    assert seen[0].target == "/v1beta/models/gemini-3.8-flash:countTokens"
    asked = seen[0].json["generateContentRequest"]
    assert asked["model"] == "models/gemini-3.8-flash"
    assert asked["systemInstruction"]["parts"] == [{"text": "S"}]


def test_a_call_for_anthropic_passes_as_it_is(tmp_path: Path) -> None:
    """Body and answer to the byte, the receipt beside them, and the gateway's key in place of the caller's."""
    seen: list[Seen] = []
    told = orjson.dumps(TOLD, option=orjson.OPT_INDENT_2)

    def answered(one: Seen) -> list[Any]:
        seen.append(one)
        return [answer(200, told, request_id="req_up")]

    body = b'{ "max_tokens":9, "model":"claude-sonnet-5-5", "new":[1], "messages":[{"role":"user","content":"Hi"}] }'
    with Fakeup(answered) as up:
        got = post(tmp_path, body, headers={**VERSION, "cookie": "a=b"}, **anthropic(up))
    assert got.content == told
    assert got.headers["x-fwd-provider"] == "anthropic"
    assert seen[0].body == body
    assert seen[0].headers["x-api-key"] == "sk-ant-canary"
    assert seen[0].headers["anthropic-version"] == "2023-06-01"
    assert KEY not in str(seen[0].headers)
    assert "cookie" not in seen[0].headers


def test_a_stream_of_anthropics_passes_as_it_is(tmp_path: Path) -> None:
    """All events to the byte; the receipt is a comment before the last one."""
    case = next(c for c, _ in messages.entries("native_stream") if c.name.endswith("native-stream"))
    raw = case.read("upstream_response")
    with Fakeup(lambda seen: [answer(200, raw, "text/event-stream")]) as up:
        got = post(tmp_path, {**ASK, "model": "claude-sonnet-5-5", "stream": True}, **anthropic(up))
    comments = [part for part in got.content.split(b"\n\n") if part.startswith(b": fwd ")]
    assert len(comments) == 1
    assert got.content.replace(comments[0] + b"\n\n", b"") == raw
    assert got.content.index(comments[0]) < got.content.index(b"event: message_stop")
    assert orjson.loads(comments[0].removeprefix(b": fwd "))["usage"]["completion_tokens"] > 0


def test_a_refused_beta_comes_back_as_anthropic_said_it(tmp_path: Path) -> None:
    """Claude Code then sends the same call with one beta less."""
    error = {"type": "invalid_request_error", "message": "Unexpected value(s) `x`"}
    told = orjson.dumps({"type": "error", "error": error, "request_id": "req_up"})
    with Fakeup(lambda seen: [answer(400, told)]) as up:
        got = post(tmp_path, {**ASK, "model": "claude-sonnet-5-5"}, **anthropic(up))
    assert (got.status_code, got.content) == (400, told)


def test_the_plan_goes_on_from_anthropic_to_another_language(tmp_path: Path) -> None:
    """Native first, then translated: each attempt is made anew from the caller's own body."""
    with Fakeup(lambda seen: [error_answer(529)]) as up:
        config = '[models.m]\ndeployments = ["anthropic:claude-sonnet-5-5", "echo:"]\nbalance = "order"\n'
        got = post(tmp_path, {**ASK, "model": "m"}, **anthropic(up), config=ConfigText(config, "fwd.toml", tmp_path))
    assert got.status_code == 200, got.text
    assert got.json()["content"][0]["text"] == "Hello there"
    assert got.headers["x-fwd-attempts"] == "2"


def test_what_is_dropped_is_named_and_strict_refuses_it(tmp_path: Path) -> None:
    """In the caller's words."""
    body = {**ASK, "container": "c", "tools": [{"type": "web_search_20250305", "name": "web_search"}]}
    assert post(tmp_path, body).headers["x-fwd-dropped"] == "container,tools.web_search"
    refused = post(tmp_path, body, headers={"x-fwd-strict": "true"})
    assert refused.status_code == 400
    assert "'container', 'tools.web_search'" in refused.json()["error"]["message"]


@pytest.mark.parametrize("name", ["x-fwd-session", "x-claude-code-session-id", "session-id", "x-session-id"])
def test_a_program_says_itself_which_conversation_it_is(name: str) -> None:
    """What a call sticks by; our own header comes first."""
    guard = LoopGuard("a")
    assert read_options({name: "s-1", "x-openwebui-chat-id": "other"}, guard).session == "s-1"
    assert read_options({}, guard).session is None
