"""What a page in somebody's browser can do here: nothing (T21, T22, T23, S3, S16)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kit.fakeup import Fakeup, completion, json_answer

from .conftest import BODY, KEY, Start, request, run

ORIGINS = (
    *("https://evil.example", "http://evil.example", "null", "http://localhost", "http://localhost:3000", "file://"),
    *("http://127.0.0.1:8000", "https://localhost.evil.example", "chrome-extension://abc", "http://[::1]", "*", "x"),
)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/health", "/openapi.json"])
def test_no_other_origin_is_let_in(start: Start, path: str) -> None:
    """T21: 12 origins, asked for and asked about: no Access-Control header on any answer."""

    async def main() -> None:
        async with start() as gateway:
            for origin in ORIGINS:
                method = "POST" if path.endswith("completions") else "GET"
                ask = {"Origin": origin, "Access_Control_Request_Method": "POST"}
                for data in (request(method, path, Origin=origin), request("OPTIONS", path, **ask)):
                    answer = await gateway.talk(data)
                    assert not [name for name, _ in answer.headers if name.startswith("access-control")]

    assert len(set(ORIGINS)) == 12
    run(main())


FORM = b'{"model":"openai:gpt-x","messages":[{"role":"user","content":"Hi"}],"x":"='
COOKIE = f"key={KEY}; Authorization=Bearer {KEY}; session={KEY}"
NO_KEY = {"Authorization": "", "Origin": "https://evil.example", "Cookie": COOKIE}

# What a form or fetch without leave can send: method, path, headers.
VARIANTS = {
    "form": ("POST", "/v1/chat/completions", {**NO_KEY, "Content_Type": "application/x-www-form-urlencoded"}),
    "multipart": ("POST", "/v1/chat/completions", {**NO_KEY, "Content_Type": "multipart/form-data; boundary=x"}),
    "plain": ("POST", "/v1/chat/completions", {**NO_KEY, "Content_Type": "text/plain"}),
    "no type": ("POST", "/v1/chat/completions", {**NO_KEY, "Content_Type": ""}),
    "json": ("POST", "/v1/chat/completions", NO_KEY),
    "key in the query": ("POST", f"/v1/chat/completions?key={KEY}&api_key={KEY}&access_token={KEY}", NO_KEY),
    "override": ("GET", "/v1/models", {**NO_KEY, "X_HTTP_Method_Override": "POST"}),
    "basic": ("POST", "/v1/chat/completions", {**NO_KEY, "Authorization": f"Basic {KEY}"}),
}


@pytest.fixture
def up() -> Iterator[Fakeup]:
    with Fakeup(lambda seen: [json_answer(completion())]) as up:
        yield up


@pytest.mark.parametrize("name", VARIANTS)
def test_a_page_cannot_call(start: Start, up: Fakeup, name: str) -> None:
    """T22: 8 ways without a key in a header: refused, and nothing was sent to a provider."""
    method, path, headers = VARIANTS[name]

    async def main() -> None:
        async with start(OPENAI_API_KEY="sk-x", OPENAI_BASE_URL=up.url) as gateway:
            answer = await gateway.talk(request(method, path, FORM + b'"}', **headers))
            assert answer.status == 401

    assert len(VARIANTS) == 8
    run(main())
    assert up.connections == 0


@pytest.mark.parametrize("name", ["form", "multipart", "plain", "no type"])
def test_a_form_is_refused_even_with_a_key(start: Start, up: Fakeup, name: str) -> None:
    """T22, S16: only JSON is read; forms and their parts are refused before anybody parses them."""
    headers = {**VARIANTS[name][2], "Authorization": f"Bearer {KEY}"}

    async def main() -> None:
        async with start(OPENAI_API_KEY="sk-x", OPENAI_BASE_URL=up.url) as gateway:
            answer = await gateway.talk(request(body=b"-" * 100_000, **headers))
            assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")

    run(main())
    assert up.connections == 0


STRANGE_HOSTS = {
    **dict.fromkeys(("evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1", "0.0.0.0"), 421),
    **dict.fromkeys(("[::ffff:10.0.0.1]", "127.0.0.1.evil.example", "xn--lclhost-9xa.example", "169.254.169.254"), 421),
    **dict.fromkeys(("user@localhost", "localhost/health", "localhost#", "localhost?x", "localhost:99999", "a b"), 400),
    **dict.fromkeys(("localhost:", "localhost,localhost", "[::1", "localhost:8000:8000", "x/#", "\x7f", ""), 400),
}


@pytest.mark.parametrize("path", ["/health", "/", "/v1/models", "/v1/chat/completions"])
def test_a_rebound_page_is_not_served(start: Start, path: str) -> None:
    """T23, S3: on every kind of route, with the key: 421 for another's name, 400 for what is no name."""

    async def main() -> None:
        async with start() as gateway:
            method = "POST" if path.endswith("completions") else "GET"
            for host, status in STRANGE_HOSTS.items():
                assert (await gateway.talk(request(method, path, Host=host))).status == status, host
            twice = request(method, path).replace(b"Host: localhost\r\n", b"Host: localhost\r\nHost: localhost\r\n")
            assert (await gateway.talk(twice)).status == 400

    assert len(STRANGE_HOSTS) >= 20
    run(main())


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/embeddings"])
def test_no_host_makes_a_route_open(start: Start, path: str) -> None:
    """S3: whether a key is needed is decided on what the router chose, never on what Host says."""

    async def main() -> None:
        async with start() as gateway:
            method = "GET" if path.endswith("models") else "POST"
            for host in ("localhost", "localhost:8000", "localhost/health?", "x/#", "localhost/docs#"):
                answer = await gateway.talk(request(method, path, BODY, Host=host, Authorization=""))
                assert answer.status in (400, 401)

    run(main())
