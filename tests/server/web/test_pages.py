"""The pages: what they say, to whom, and that they load nothing from outside."""

from __future__ import annotations

import ipaddress
import json
import re
import urllib.parse
from html.parser import HTMLParser

import pytest
from attrs import Factory, define, evolve
from kit.guards import open_guard
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httputil import HTTPServerRequest

from fwd_server.observe.hub import ObserverHub
from fwd_server.web import pages
from fwd_server.web.application import GatewayApplication
from fwd_server.web.authenticator import Network
from fwd_server.web.pages import PageContext, ProviderView, StatusView, own_url, page_routes, uptime_text

PAYLOADS = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</pre><svg onload=alert(1)>", "{{ 1 + 1 }}")
STATUS = StatusView(
    "ready",
    3_725.0,
    providers=(
        ProviderView("openai", enabled=False, enabled_by="OPENAI_API_KEY"),
        ProviderView("echo", enabled=True, enabled_by="FWD_ECHO", note="at rest for 4 s"),
    ),
)
URLS = ["/", "/openapi.json", *pages.page_files()]


@define
class World:
    """What a test may change before it asks for a page."""

    status: StatusView = STATUS
    details: bool = True
    trusted: list[Network] = Factory(list)

    def context(self) -> PageContext:
        return PageContext("1.2.3", lambda: self.status, self._details, self.trusted)

    def _details(self, request: HTTPServerRequest) -> bool:
        return self.details


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def app(world: World) -> GatewayApplication:
    guard = open_guard(bound_to_loopback=False)
    return GatewayApplication(page_routes(world.context()), guard, ObserverHub())


async def fetch(client: AsyncHTTPClient, url: str, **more: object) -> HTTPResponse:
    return await client.fetch(url, raise_error=False, **more)


def text(response: HTTPResponse) -> str:
    return response.body.decode("utf-8")


# --- the status page


@pytest.mark.gen_test
async def test_status_says_how_it_is(http_client: AsyncHTTPClient, base_url: str) -> None:
    """State, version and uptime."""
    page = text(await fetch(http_client, base_url))
    assert '<li class="state ready">ready</li>' in page
    assert "1.2.3" in page
    assert "1 h 2 min" in page


@pytest.mark.gen_test
async def test_status_lists_providers(http_client: AsyncHTTPClient, base_url: str) -> None:
    """Each with on or off, and the variable that turns it on."""
    page = re.sub(r"\s+", " ", text(await fetch(http_client, base_url)))
    assert '<th scope="row">openai</th> <td><span class="pill off">off</span>' in page
    assert "<code>OPENAI_API_KEY</code>" in page
    assert '<span class="pill on">on</span> <small>at rest for 4 s</small>' in page


@pytest.mark.gen_test
async def test_status_without_details_names_no_provider(
    http_client: AsyncHTTPClient, base_url: str, world: World
) -> None:
    """Strangers see the state and how to call; neither providers nor notices."""
    world.details = False
    world.status = evolve(STATUS, model="openai:gpt-6", notices=("No keys yet.",))
    page = text(await fetch(http_client, base_url))
    assert "OPENAI_API_KEY" not in page
    assert "openai:gpt-6" not in page
    assert "No keys yet." not in page
    assert f"curl {base_url}/ready" in page


@pytest.mark.gen_test
async def test_status_shows_what_needs_attention(http_client: AsyncHTTPClient, base_url: str, world: World) -> None:
    """Notices, where there are any."""
    assert "Needs attention" not in text(await fetch(http_client, base_url))
    world.status = evolve(STATUS, state="degraded", notices=("No keys yet.",))
    assert "<li>No keys yet.</li>" in text(await fetch(http_client, base_url))


@pytest.mark.gen_test
async def test_snippets_have_the_real_address(http_client: AsyncHTTPClient, base_url: str) -> None:
    """The line that people copy works where they are, and its body is JSON."""
    page = text(await fetch(http_client, base_url))
    body = re.search(r"-d &#x27;(.*?)&#x27;|-d '(.*?)'", page)
    assert page.count(base_url) == 4
    assert f"curl {base_url}/v1/chat/completions \\\n  -H" in page
    assert body is not None
    assert json.loads((body[1] or body[2]).replace("&quot;", '"'))["model"] == "echo:"


@pytest.mark.gen_test
async def test_a_hostile_host_does_not_reach_the_snippets(http_client: AsyncHTTPClient, base_url: str) -> None:
    """People paste these lines into a shell."""
    page = text(await fetch(http_client, base_url, headers={"Host": "x$(id)"}))
    assert "$(id)" not in page


@pytest.mark.gen_test
@pytest.mark.parametrize("payload", PAYLOADS)
async def test_nothing_is_shown_raw(http_client: AsyncHTTPClient, base_url: str, world: World, payload: str) -> None:
    """Whatever stands in a name or a notice is text (T24)."""
    world.status = StatusView(payload, 1.0, payload, (ProviderView(payload, True, payload, payload),), (payload,))
    page = text(await fetch(http_client, base_url))
    assert page.count("<script") == 1  # our own, from a file
    assert "<svg" not in page
    assert "onerror=alert(1)>" not in page


@pytest.mark.gen_test
async def test_status_and_what_it_loads_is_small(http_client: AsyncHTTPClient, base_url: str) -> None:
    """Under 60 KB in all; its one script only adds buttons."""
    page = await fetch(http_client, base_url)
    loaded = [await fetch(http_client, f"{base_url}/{url}") for url in links(text(page))]
    assert re.findall("<script.*?>", text(page)) == ['<script src="static/page.js" defer>']
    assert len(page.body) + sum(len(answer.body) for answer in loaded) < 60_000


# --- every page


@pytest.mark.gen_test
@pytest.mark.parametrize("url", URLS)
async def test_headers_of_every_page(http_client: AsyncHTTPClient, base_url: str, url: str) -> None:
    """Never stored, framed, sniffed or named to others; nothing from outside (S29, T21, T24, T36)."""
    answer = await fetch(http_client, base_url + url)
    policy = answer.headers["Content-Security-Policy"]
    assert answer.code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert ("'unsafe-inline'" in policy) is (url in ("/docs", "/redoc"))
    assert not [name for name in answer.headers if name.startswith("Access-Control-")]


@pytest.mark.gen_test
@pytest.mark.parametrize("url", ["/", "/docs", "/openapi.json", "/static/page.css"])
async def test_head_is_get_without_a_body(http_client: AsyncHTTPClient, base_url: str, url: str) -> None:
    """``curl -I`` works."""
    answer = await fetch(http_client, base_url + url, method="HEAD")
    assert (answer.code, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 100


@pytest.mark.gen_test
@pytest.mark.parametrize("url", ["/", "/docs", "/redoc"])
async def test_a_page_loads_only_what_is_served(http_client: AsyncHTTPClient, base_url: str, url: str) -> None:
    """Every link that a page loads is relative, and there."""
    for link in links(text(await fetch(http_client, base_url + url))):
        assert ":" not in link
        assert (await fetch(http_client, f"{base_url}/{link}")).code == 200


@pytest.mark.gen_test
async def test_document_is_served(http_client: AsyncHTTPClient, base_url: str) -> None:
    """The description, for this version."""
    answer = await fetch(http_client, f"{base_url}/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.body)["info"]["version"] == "1.2.3"


@pytest.mark.gen_test
async def test_traversal_finds_nothing(http_client: AsyncHTTPClient, base_url: str) -> None:
    """Only what is on the list is served, however a path is written (T17, L4)."""
    for path in traversals():
        answer = await fetch(http_client, f"{base_url}/static/{path}")
        assert answer.code in (400, 404), path


# --- files


def test_types_of_files() -> None:
    """A browser that does not sniff needs the right ones."""
    types = {url: file.content_type.partition(";")[0] for url, file in pages.page_files().items()}
    assert types["/docs"] == "text/html"
    assert types["/static/icon.svg"] == "image/svg+xml"
    assert {kind for url, kind in types.items() if url.endswith(".js")} == {"text/javascript"}
    assert {kind for url, kind in types.items() if url.endswith(".css")} == {"text/css"}


@pytest.mark.parametrize("url", [url for url in pages.page_files() if url.endswith(".js")])
def test_scripts_know_no_address_to_load_from_or_report_to(url: str) -> None:
    """ReDoc's logo, icons and telemetry and Swagger's validator are taken out; a new version may not bring more."""
    body = pages.page_files()[url].read_bytes()
    assert not re.findall(rb"https?://[a-z.]*(?:cdn|otel|validator|telemetry|unpkg|jsdelivr)[a-z.]*", body)


def test_offapi_is_found_without_being_imported() -> None:
    """Importing it would read 9 MB of scripts; its absence has a name."""
    assert (pages.package_folder("offapi") / "redoc.js").is_file()
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        pages.package_folder("no_such_package")


# --- behind a proxy


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("trusted", "proto", "host", "shown"),
    [
        ("127.0.0.0/8", "https", "llm.example.com", "https://llm.example.com"),
        ("127.0.0.0/8", "http, HTTPS", "made-up.example, llm.example.com:8443", "https://llm.example.com:8443"),
        ("127.0.0.0/8", "https", "", "https://own"),
        ("127.0.0.0/8", "ftp", "x$(id)", "http://127.0.0.1:8000"),
        ("192.0.2.0/24", "https", "llm.example.com", "http://own"),
    ],
)
async def test_snippets_have_the_address_of_a_trusted_proxy(
    http_client: AsyncHTTPClient, base_url: str, world: World, trusted: str, proto: str, host: str, shown: str
) -> None:
    """Only a trusted one is believed, the last value counts, and nothing goes into a shell that is no host (T13)."""
    world.trusted.append(ipaddress.ip_network(trusted))
    headers = {"X-Forwarded-Proto": proto, **({"X-Forwarded-Host": host} if host else {})}
    page = text(await fetch(http_client, base_url, headers=headers))
    assert page.count(shown.replace("own", base_url.partition("://")[2])) == 4


# --- small parts


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("fwd.example.com", "http://fwd.example.com"),
        ("localhost:8000", "http://localhost:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("a b", "http://127.0.0.1:8000"),
        ("x;reboot", "http://127.0.0.1:8000"),
        ("", "http://127.0.0.1:8000"),
    ],
)
def test_own_url(host: str, url: str) -> None:
    """The caller's own name for this server, if it is one."""
    assert own_url("http", host) == url


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3_600, "1 h"),
        (90_061, "1 d 1 h"),
        (86_460, "1 d"),
    ],
)
def test_uptime(seconds: float, shown: str) -> None:
    """Two units at most, and none that is zero."""
    assert uptime_text(seconds) == shown


# --- help


class _Links(HTMLParser):
    """Collects what a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        name = {"link": "href", "script": "src", "img": "src"}.get(tag)
        self.found += [value for key, value in attrs if key == name and value]


def links(page: str) -> set[str]:
    """What a page loads by itself."""
    parser = _Links()
    parser.feed(page)
    return set(parser.found)


def traversals() -> list[str]:
    """Some two hundred ways to write a path out of a folder."""
    dots = ("..", "%2e%2e", ".%2e", "%2E.", "%252e%252e", "....", "..;", "..%00", "%c0%ae%c0%ae", "\u2025")
    slashes = ("/", "%2f", "%5c", "%252f", "//", "/./")
    targets = ("pages.py", "etc/passwd", "static/page.css%00.py", "openapi.py")
    raw = [f"{(dot + slash) * 3}{target}" for dot in dots for slash in slashes for target in targets]
    return [urllib.parse.quote(path, safe="/%;.") for path in raw]
