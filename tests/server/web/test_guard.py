"""The door: keys, hosts, bodies and the headers of every answer, over raw sockets."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from tornado.web import Application

from fwd_server.app import App
from fwd_server.values.errors import BadRequest
from fwd_server.web.guard import HostGuard

from .conftest import KEY

pytestmark = pytest.mark.gen_test
BODY = json.dumps({"model": "gpt-x", "messages": [{"role": "user", "content": "Hi"}]}).encode()


@pytest.fixture
def app(make_app: Callable[..., App]) -> Application:
    return make_app(FWD_MAX_BODY="100KiB").application


@pytest.fixture
def talk(http_server: Any, base_url: str) -> Callable[..., Any]:
    """Sends raw bytes and gives status, headers and body of the answer."""
    port = int(base_url.rpartition(":")[2])

    async def send(*pieces: bytes) -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for data in pieces:
                writer.write(data)
                await writer.drain()
            status = int((await reader.readline()).split()[1])
            headers = {}
            while line := (await reader.readline()).strip():
                name, _, value = line.decode().partition(":")
                headers[name.lower()] = value.strip()
            size = 0 if pieces[0].startswith(b"HEAD") else int(headers.get("content-length", 0))
            return status, headers, await reader.readexactly(size)
        finally:
            writer.close()

    return send


Talk = Callable[..., Any]


def head(method: str = "POST", path: str = "/v1/chat/completions", **headers: str) -> bytes:
    """A request's head; a header given as "" is left out."""
    found = {"Host": "localhost", "Authorization": f"Bearer {KEY}", "Content_Type": "application/json", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in found.items() if value]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines]).encode() + b"\r\n\r\n"


def code(body: bytes) -> Any:
    return json.loads(body)["error"]["code"]


@pytest.mark.parametrize(
    "keys",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer fwd_wrong"},
        {"Authorization": f"Bearer {KEY[:-1]}x"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "Bearer "},
        {"Authorization": "", "x_api_key": "fwd_wrong"},
        {"Authorization": "Bearer fwd_wrong", "x_api_key": KEY},
    ],
)
async def test_every_wrong_key_gets_the_same_bytes(talk: Talk, keys: dict[str, str]) -> None:
    """S15, T12: one constant 401, whatever is wrong."""
    status, _, body = await talk(head(Content_Length=str(len(BODY)), **keys) + BODY)
    assert status == 401
    assert body == (
        b'{"error":{"message":"Incorrect API key provided.","type":"invalid_request_error",'
        b'"param":null,"code":"invalid_api_key"}}'
    )


async def test_x_api_key_is_read_too(talk: Talk) -> None:
    """Design, *Keys*: both headers are read."""
    status, _, _ = await talk(head("GET", "/v1/models", Authorization="", x_api_key=KEY))
    assert status == 200


async def test_the_key_is_checked_before_the_body(talk: Talk) -> None:
    """T4: with Expect, a wrong key is answered before anything of the body is sent."""
    status, _, _ = await talk(head(Authorization="", Content_Length="1000", Expect="100-continue"))
    assert status == 401


async def test_a_large_body_is_413_and_the_client_gets_to_read_it(talk: Talk) -> None:
    """T4: what still comes is read and thrown away, so that the answer arrives."""
    size = 20 << 20
    status, _, body = await talk(head(Content_Length=str(size)), *([b"x" * (1 << 20)] * 20))
    assert (status, code(body)) == (413, "request_too_large")


async def test_a_chunked_body_is_counted_while_it_is_read(talk: Talk) -> None:
    """T4: no Content-Length is no way around the limit."""
    piece = b"%x\r\n%s\r\n" % (60 << 10, b"x" * (60 << 10))
    status, _, body = await talk(head(Transfer_Encoding="chunked"), piece, piece, b"0\r\n\r\n")
    assert (status, code(body)) == (413, "request_too_large")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Content_Type": "multipart/form-data; boundary=x"},
        {"Content_Type": "text/plain"},
        {"Content_Type": ""},
        {"Content_Encoding": "gzip"},
    ],
)
async def test_other_kinds_of_bodies_are_refused(talk: Talk, headers: dict[str, str]) -> None:
    """S16, T4, T22: JSON as it is, and nothing else."""
    status, _, body = await talk(head(Content_Length=str(len(BODY)), **headers) + BODY)
    assert (status, code(body)) == (415, "unsupported_media_type")


@pytest.mark.parametrize("coding", ["", " ", ",", " , ,", "identity", "Identity"])
async def test_a_list_without_codings_is_none(talk: Talk, coding: str) -> None:
    """S16: some clients send Content-Encoding empty, and RFC 9110 lets a list have empty entries."""
    status, _, body = await talk(head(Content_Length=str(len(BODY)), Content_Encoding=coding) + BODY)
    assert (status, code(body)) == (503, "provider_not_configured")  # it got in, and nobody is there to answer it


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/v1/../etc/passwd", "/static/../app.py", "/static/%2e%2e/app.py", "/v1/chat/x", "/docs/x"],
)
async def test_paths_that_lead_nowhere_are_404(talk: Talk, path: str) -> None:
    """T17: files come from a list, and a path is never one."""
    status, _, body = await talk(head("GET", path))
    assert (status, code(body)) == (404, "not_found")


async def test_a_wrong_method_names_the_right_ones(talk: Talk) -> None:
    """405 with Allow."""
    status, headers, body = await talk(head("GET"))
    assert (status, code(body), headers["allow"]) == (405, "method_not_allowed", "POST")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/openapi.json", "/health", "/ready"])
async def test_open_paths_need_no_key(talk: Talk, method: str, path: str) -> None:
    """Design, *Endpoints*: the ones that do not."""
    status, _, _ = await talk(head(method, path, Authorization=""))
    assert status == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health", "/ready", "/v1/models", "/nothing"])
async def test_every_answer_has_the_safe_headers(talk: Talk, path: str) -> None:
    """S29, T21, T36: not stored, not sniffed, no referrer, no other origin let in."""
    _, headers, _ = await talk(head("GET", path, Origin="https://evil.example"))
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-request-id"]
    assert not [name for name in headers if name.startswith("access-control")]
    assert "server" not in headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:8000", 200),
        ("127.8.9.10", 200),
        ("[::1]:8000", 200),
        ("localhost.", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("10.0.0.1", 421),
        ("0.0.0.0", 421),
        ("[::ffff:10.0.0.1]", 421),
        ("user@localhost", 400),
        ("localhost/x", 400),
        ("localhost:99999", 400),
        ("localhost:", 400),
        ("localhost,localhost", 400),
        ("a b", 400),
    ],
)
async def test_a_rebound_page_is_not_served(talk: Talk, host: str, status: int) -> None:
    """S3, T23: only names of this machine, when bound to it."""
    found, _, _ = await talk(head("GET", "/health", Host=host))
    assert found == status


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: localhost\r\n"])
async def test_exactly_one_host_is_needed(talk: Talk, hosts: bytes) -> None:
    """T23: none or two are refused."""
    status, _, _ = await talk(b"GET /health HTTP/1.1\r\n" + hosts + b"\r\n")
    assert status == 400


def test_other_addresses_check_the_host_only_when_told_which() -> None:
    """T23: FWD_ALLOWED_HOSTS switches the check on."""
    HostGuard(False).check_host("anything.example")
    guard = HostGuard(False, frozenset({"gw.example"}))
    guard.check_host("gw.example:443")
    with pytest.raises(BadRequest, match="FWD_ALLOWED_HOSTS"):
        guard.check_host("localhost")


async def test_after_twenty_failures_a_good_key_still_works(talk: Talk) -> None:
    """T13: further failures are 429, a good key is good."""
    wrong = head("GET", "/v1/models", Authorization="Bearer fwd_no")
    statuses = [(await talk(wrong))[0] for _ in range(22)]
    assert statuses == [401] * 20 + [429] * 2
    assert (await talk(head("GET", "/v1/models")))[0] == 200


async def test_one_line_a_request_and_nothing_of_it_runs_free(talk: Talk, caplog: pytest.LogCaptureFixture) -> None:
    """T37: hostile requests get one line each, without their secrets."""
    with caplog.at_level(logging.DEBUG):
        await talk(head("GET", "/x%0d%0aFAKE%1b[2J?key=secret", Authorization="Bearer fwd_canary"))
        await talk(head(Content_Length="3", Authorization="") + b"abc")
    records = [record for record in caplog.records if record.name.startswith(("fwd", "tornado"))]
    assert len(records) == 2
    assert "canary" not in caplog.text
    assert "secret" not in str([getattr(record, "fwd_fields", None) for record in records])
