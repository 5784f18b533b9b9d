"""What attackers send: paths that climb, headers that inject, fields that name a host, requests that forge log lines.

Everything comes from a seed or a list, so that a failure can be had again.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any, Final

# -- paths (contract T17)

_UPS: Final = (
    *("../", "..\\", "..%2f", "..%5c", "%2e%2e/", "%2e%2e%2f", "%2E%2E%5C", "%252e%252e%252f", "..%252f", "....//"),
    *("..;/", "..%00/", "%c0%ae%c0%ae/", "%uff0e%uff0e/", "./../", ".%2e/", "..%c0%af", "%e0%80%ae%e0%80%ae/"),
    *("/..//", "..%0a/"),
)
_GOALS: Final = ("etc/passwd", "app.py", ".env", "keys/forwarder_api_keys.txt", "proc/self/environ")


def traversals() -> list[str]:
    """200 ways to climb out of a folder: 20 spellings of "up", two depths, five goals."""
    return [up * depth + goal for up in _UPS for depth in (1, 6) for goal in _GOALS]


# -- headers (contract T18)

_NAMES: Final = (
    *("User", "User-Agent", "OpenAI-Organization", "OpenAI-Project", "OpenAI-Beta", "X-Forwarded-For", "Referer"),
    *("X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "X-Original-URL", "X-Rewrite-URL", "Via"),
    *("X-Host", "X-HTTP-Method-Override", "Cookie", "Set-Cookie", "Proxy-Authorization", "x-api-key", "api-key"),
    *("x-goog-api-key", "anthropic-version", "anthropic-beta", "HTTP-Referer", "X-Title", "Accept", "Accept-Language"),
    *("Accept-Encoding", "Origin", "Traceparent", "Baggage", "X-Stainless-Lang", "X-Base-Url", "X-Portkey-Provider"),
    *("Helicone-Auth", "X-Upstream", "Range", "If-None-Match", "Cache-Control", "Pragma", "DNT", "Keep-Alive"),
    *("X-Evil\r\nAuthorization", "X Evil", "X-Evil:", "", "\x00X", "X-Évil", "Content-Length", "Transfer-Encoding"),
    *("x-fwd-via", "Host", "Connection", "TE", "Trailer", "Upgrade", "Expect"),
)
_VALUES: Final = (
    *("x", "Bearer sk-evil", "http://127.0.0.1:1/", "a\r\nAuthorization: Bearer sk-evil", "a\nX-Evil: 1"),
    *("a\rX-Evil: 1", "a\x00b", "\x1b[2J", "evil.example", "chunked", "0", "100-continue", "authorization"),
    *("close, authorization", "é"),
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    *("${jndi:ldap://127.0.0.1/}", "gzip, br", "trailers", "\x7f", " ", ""),
)


def header_sets(count: int, seed: int = 18) -> Iterator[list[tuple[str, str]]]:
    """Sets of one to eight headers that a gateway must not pass on."""
    rand = random.Random(seed)
    for _ in range(count):
        yield [(rand.choice(_NAMES), rand.choice(_VALUES)) for _ in range(rand.randint(1, 8))]


# -- fields (contract T19)

FIELDS: Final = (
    *("api_base", "base_url", "baseURL", "base", "url", "uri", "endpoint", "endpoint_url", "host", "hostname"),
    *("server", "proxy", "proxies", "http_proxy", "https_proxy", "callback", "callback_url", "webhook"),
    *("webhook_url", "redirect", "redirect_uri", "target", "target_url", "upstream", "upstream_url", "provider_url"),
    *("custom_host", "custom_url", "api_url", "api_host", "azure_endpoint", "aws_endpoint", "vertex_location"),
    *("vertex_project", "region", "origin", "forward_to", "destination", "remote", "gateway", "router", "deployment"),
    *("deployment_id", "model_url", "config", "litellm_params", "client", "transport", "http_client"),
    *("extra_headers", "headers", "extra_query", "default_headers", "organization", "api_version", "fetch_url"),
    *("image_server", "file_url", "schema_url", "mcp_server"),
)
URL_FORMS: Final = (
    *("http://127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "127.0.0.1:{port}"),
    *("http://localhost:{port}/v1", "http://[::1]:{port}/", "http://2130706433:{port}/", "http://0x7f.1:{port}/"),
    *("http://api.openai.com@127.0.0.1:{port}/", "http://127.0.0.1:{port}#api.openai.com", "ws://127.0.0.1:{port}/"),
    "gopher://127.0.0.1:{port}/_GET",
)


def bodies_that_name_a_host(port: int) -> Iterator[dict[str, Any]]:
    """Every field, at three depths, with every form of an address: calls that are good but for that."""
    for name, form, depth in itertools.product(FIELDS, URL_FORMS, (1, 2, 3)):
        value: Any = form.format(port=port)
        field = {name: value} if depth < 3 else {"options": {name: value}}
        said = {"role": "user", "content": "Hi", **(field if depth == 2 else {})}
        yield {"model": "openai:gpt-x", "messages": [said], **({} if depth == 2 else field)}


# -- requests that forge log lines (contract T37)

_FORGED: Final = (
    *('\n{"level":"info","message":"forged"}', "\r\nforged", "\x1b[2J\x1b[H", "\x1b]0;owned\x07"),
    *("\x1b]52;c;Zm9yZ2Vk\x07", "\x00", "\x08\x08\x08", "\x7f", "\x9b31m", "\x85forged", "%0d%0aforged", "%1b%5b2J"),
    *('"}\\n{"', "\\u000aforged", "\t", "\x0b\x0c", "é"),
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
)


def requests_that_forge(count: int, key: str, seed: int = 37) -> Iterator[bytes]:
    """Requests, each of which is one: something hostile in the method, path, headers, key, model or content."""
    rand = random.Random(seed)
    for _ in range(count):
        yield rand.choice(_KINDS)(rand, key)


def _head(start: str, headers: dict[str, str]) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in {"Host": "localhost", **headers}.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def _path(rand: random.Random, key: str) -> bytes:
    return _head(f"GET /v1/models/{rand.choice(_FORGED)} HTTP/1.1", {"Authorization": f"Bearer {key}"})


def _method(rand: random.Random, key: str) -> bytes:
    return _head(f"G{rand.choice(_FORGED)}T / HTTP/1.1", {})


def _header(rand: random.Random, key: str) -> bytes:
    names = ("x-request-id", "User-Agent", "X-Forwarded-For", "Referer", "Cookie", "x-fwd-timeout", "Host", "Expect")
    return _head("GET /health HTTP/1.1", {rand.choice(names): rand.choice(_FORGED)})


def _key(rand: random.Random, key: str) -> bytes:
    return _head("GET /v1/models HTTP/1.1", {"Authorization": f"Bearer fwd_{rand.choice(_FORGED)}"})


def _call(rand: random.Random, key: str) -> bytes:
    model = rand.choice(("echo:", "gpt-", "echo:fail?status=429", "")) + rand.choice(("", *_FORGED))
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": rand.choice(_FORGED)}]}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Content-Length": str(len(body))}
    return _head("POST /v1/chat/completions HTTP/1.1", headers) + body


def _broken_body(rand: random.Random, key: str) -> bytes:
    body = ('{"model": "' + rand.choice(_FORGED) + '"').encode("latin-1")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Content-Length": str(len(body))}
    return _head("POST /v1/chat/completions HTTP/1.1", headers) + body


_KINDS: Final = (_path, _method, _header, _key, _call, _broken_body)
