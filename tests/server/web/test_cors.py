"""Pages of other origins: nothing is said to them unless FWD_CORS_ORIGINS lists them (contract T21)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from kit.gateways import gateway

from fwd_server.settings import SettingsError, load_settings
from fwd_server.web.cors import CorsPolicy

KEY = "fwd_" + "c" * 43
LISTED = "https://app.example"
ORIGINS = [
    *("https://app.example:8443", "http://app.example", "https://app.example.evil.test", "https://evil.test"),
    *("https://sub.app.example", "null", "https://APP.example.", "file://", "https://app.example/", "app.example"),
    *("https://app.example, https://evil.test", "*"),
]
ROUTES = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/models"),
    ("GET", "/health"),
]


def ask(folder: Path, *requests: tuple[str, str, dict[str, str]], **env: str) -> list[httpx.Response]:
    async def main() -> list[httpx.Response]:
        async with gateway(folder, KEY, **env) as listening, httpx.AsyncClient(base_url=listening.url) as client:
            return [await send(client, *one) for one in requests]

    return asyncio.run(main())


async def send(client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    body = {"model": "echo:", "messages": [{"role": "user", "content": "Hi"}], "input": "Hi"}
    return await client.request(method, path, headers=headers, json=body if method == "POST" else None)


def told(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def with_key(**more: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KEY}", **more}


@pytest.mark.parametrize("listed", ["", LISTED])
def test_an_origin_that_is_not_listed_is_told_nothing(tmp_path: Path, listed: str) -> None:
    """12 origins x 4 routes, and a preflight of each: 0 headers."""
    requests = [(method, path, with_key(origin=origin)) for method, path in ROUTES for origin in ORIGINS]
    asks = {"access-control-request-method": "POST"}
    requests += [("OPTIONS", path, {"origin": origin, **asks}) for _, path in ROUTES for origin in ORIGINS]
    answers = ask(tmp_path, *requests, **({"FWD_CORS_ORIGINS": listed} if listed else {}))
    assert [told(answer) for answer in answers if told(answer)] == []


@pytest.mark.parametrize(("setting", "allowed"), [(f"{LISTED},https://b.example", LISTED), ("*", "*")])
def test_a_listed_origin_may_read_the_answer(tmp_path: Path, setting: str, allowed: str) -> None:
    """Every answer, also a refusal: its own headers are exposed, and credentials are never allowed."""
    requests = [(method, path, with_key(origin=LISTED)) for method, path in ROUTES]
    requests += [("POST", "/v1/chat/completions", {"origin": LISTED}), ("GET", "/nothing", {"origin": LISTED})]
    answers = ask(tmp_path, *requests, FWD_CORS_ORIGINS=setting)
    assert [answer.status_code for answer in answers][-2:] == [401, 404]
    for answer in answers:
        headers = told(answer)
        assert headers["access-control-allow-origin"] == allowed
        assert {"x-request-id", "x-fwd-cost"} & set(headers["access-control-expose-headers"].split(", "))
        assert "access-control-allow-credentials" not in headers
        assert ("origin" in answer.headers.get("vary", "").lower()) is (allowed != "*")


def test_a_browser_asks_first_and_needs_no_key_for_that(tmp_path: Path) -> None:
    """The headers it wants to send are allowed by their names, since `*` would not stand for Authorization."""
    asks = {"origin": LISTED, "access-control-request-method": "POST"}
    wanted = "authorization, content-type, x-stainless-os"
    answers = ask(
        tmp_path,
        ("OPTIONS", "/v1/chat/completions", {**asks, "access-control-request-headers": wanted}),
        ("OPTIONS", "/v1/models", {**asks, "access-control-request-headers": "bad name;"}),
        ("OPTIONS", "/v1/models", asks),
        ("OPTIONS", "/v1/models", {"origin": LISTED}),
        FWD_CORS_ORIGINS=LISTED,
    )
    assert [answer.status_code for answer in answers[:3]] == [204] * 3
    allowed = [told(answer)["access-control-allow-headers"] for answer in answers[:3]]
    assert allowed == [wanted, *["authorization, content-type, x-api-key"] * 2]
    assert told(answers[0])["access-control-allow-methods"] == "GET, POST, DELETE"
    assert answers[3].status_code in (401, 405)


@pytest.mark.parametrize("value", ["app.example", "https://a.example/", "https://", "ftp://a.example", "https://a/b"])
def test_what_is_no_origin_stops_the_start(value: str) -> None:
    with pytest.raises(SettingsError, match="FWD_CORS_ORIGINS"):
        load_settings({}, {"FWD_CORS_ORIGINS": value})


def test_no_origin_needs_no_header() -> None:
    """A program is no page; but what it is told may not be kept for a page."""
    policy: Any = CorsPolicy(frozenset({LISTED}))
    assert policy.answer_headers({}) == (("Vary", "Origin"),)
    assert CorsPolicy().answer_headers({"origin": LISTED}) == ()
