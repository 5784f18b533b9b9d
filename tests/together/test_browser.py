"""The pages in a real browser: they render, they work, and nothing leaves the machine."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from kit.guards import open_guard
from tests.together.browser import Tab, chromium, find_chromium
from tests.together.gateway import KEY, gateway
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from fwd_server.observe.hub import ObserverHub
from fwd_server.web.application import GatewayApplication
from fwd_server.web.pages import PageContext, ProviderView, StatusView, page_routes

PROGRAM = find_chromium()
pytestmark = pytest.mark.skipif(
    PROGRAM is None and os.environ.get("CI") != "true", reason="needs Chromium: apt-get install chromium"
)

PAYLOADS = (
    "<script>window.hit=1</script>",
    '"><img src=x onerror="window.hit=1">',
    "<svg onload=window.hit=1>",
    "</code></pre><iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "{% raw 1 %}{{ 1 }}",
    "javascript:window.hit=1",
)
PROVIDERS = (
    ProviderView("echo", enabled=True, enabled_by="FWD_ECHO"),
    ProviderView("groq", enabled=False, note="at rest"),
)

SWAGGER_READY = "document.querySelectorAll('.opblock').length >= 9"
REDOC_READY = "document.querySelector('#redoc').innerText.includes('/v1/chat/completions')"
LOADED = "document.readyState === 'complete'"
# axe-core 4.14.1 from npm, as it is in its package (sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r7
# 6ASyFNNtuFooJpZe37OgudVGtQ==). MPL-2.0; used by this test only.
AXE = Path(__file__).parent / "axe.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
Visit = Callable[[Tab, str], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(status: Callable[[], StatusView]) -> AsyncIterator[str]:
    """The pages alone, on a loopback port, with a state of the test's own."""
    context = PageContext("1.2.3", status, lambda request: True)
    guard = open_guard(bound_to_loopback=True)
    server = HTTPServer(GatewayApplication(page_routes(context), guard, ObserverHub()))
    socket, port = bind_unused_port()
    server.add_socket(socket)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        await server.close_all_connections()


@contextlib.asynccontextmanager
async def real(folder: Path) -> AsyncIterator[str]:
    """The whole gateway."""
    async with gateway(folder) as server:
        yield server.url


def browse(folder: Path, context: Visit, server: AbstractAsyncContextManager[str] | None = None) -> None:
    """Run ``visit`` with a browser and the address of a server; nothing may be asked of anybody else."""
    assert PROGRAM, "Chromium is missing; .ci/run installs it"

    async def run() -> None:
        async with server or real(folder) as url, chromium(PROGRAM or "", folder / "profile") as tab:
            await context(tab, url)
            outside = [asked for asked in tab.requests if not asked.startswith((f"{url}/", "data:"))]
            assert outside == []
            assert tab.complaints == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("page", "ready"), [("", LOADED), ("docs", SWAGGER_READY), ("redoc", REDOC_READY)], ids=["status", "docs", "redoc"]
)
def test_page_renders(tmp_path: Path, page: str, ready: str) -> None:
    """At any width and in both schemes, without a complaint and without scrolling sideways."""

    async def context(tab: Tab, url: str) -> None:
        for width, dark in itertools.product((360, 1280), (False, True)):
            await tab.open(f"{url}/{page}", width=width, dark=dark)
            await tab.until(ready)
            assert await tab.evaluate("document.documentElement.scrollWidth") <= width

    browse(tmp_path, context)


def test_status_page_can_be_read(tmp_path: Path) -> None:
    """Every text has a contrast of 4.5 to 1 with what lies under it, light and dark (WCAG 2.2, 1.4.3)."""
    now = "ready"

    def status() -> StatusView:
        return StatusView(now, 61.0, providers=PROVIDERS, notices=("Hm.",))

    async def context(tab: Tab, url: str) -> None:
        nonlocal now
        for state, dark in itertools.product(("ready", "degraded", "unready"), (False, True)):
            now = state
            await tab.open(url, dark=dark)
            await tab.until(LOADED)
            assert await tab.evaluate(CONTRASTS) == []

    browse(tmp_path, context, serving(status))


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_are_accessible(tmp_path: Path, width: int, dark: bool) -> None:
    """axe finds nothing on `/`, and nothing of ours on the other pages: what Swagger UI and ReDoc draw is theirs."""
    checker = AXE.read_bytes()
    assert hashlib.sha256(checker).hexdigest() == AXE_SHA256

    async def context(tab: Tab, url: str) -> None:
        for page, ready in (("", LOADED), ("docs", SWAGGER_READY), ("redoc", REDOC_READY)):
            await tab.open(f"{url}/{page}", width=width, dark=dark)
            await tab.until(ready)
            await tab.evaluate(f"{checker.decode()};0")
            assert await tab.evaluate(VIOLATIONS) == [], page

    browse(tmp_path, context)


def test_snippets_are_copied(tmp_path: Path) -> None:
    """Each has a button; where the browser has no clipboard, as over plain http, the text is selected."""

    async def context(tab: Tab, url: str) -> None:
        await tab.open(url)
        await tab.until(
            "document.querySelectorAll('.snippet button').length === document.querySelectorAll('pre').length"
        )
        await tab.evaluate(
            "Object.defineProperty(navigator, 'clipboard', "
            "{value: {writeText: async (text) => { window.copied = text; }}, configurable: true})"
        )
        await tab.until(click(".snippet button"))
        copied = await tab.until("window.copied")
        assert copied == await tab.evaluate("document.querySelector('pre').textContent")
        assert copied.startswith(f"curl {url}/v1/chat/completions")
        await tab.until("document.querySelector('.snippet button').textContent === 'Copied'")
        await tab.until("document.querySelector('.snippet button').textContent === 'Copy'")
        await tab.evaluate(
            "Object.defineProperty(navigator, 'clipboard', {value: undefined}); document.execCommand = () => false"
        )
        await tab.until(click(".snippet button"))
        assert await tab.until("getSelection().toString()") == copied.rstrip()

    browse(tmp_path, context)


def test_headers_fold_behind_the_body(tmp_path: Path) -> None:
    """The body of a call comes first; its nine optional headers, and those of answers, are there on demand."""

    async def context(tab: Tab, url: str) -> None:
        for width in (360, 1280):
            await tab.open(f"{url}/docs", width=width, height=2600)
            await tab.until(SWAGGER_READY)
            await tab.until(click(".opblock-post .opblock-summary-control"))
            await tab.until("!!document.querySelector('.opblock-post textarea')")
            assert await tab.evaluate("document.querySelector('.parameters-container').checkVisibility()") is False
            assert await tab.evaluate("!!document.querySelector('details.fold:not([open]) > summary')")
            await tab.until(click("button.fold"))
            table = "document.querySelector('.parameters-container')"
            assert "x-fwd-strict" in await tab.until(f"{table}.checkVisibility() && {table}.innerText")
            below = (
                f"{table}.getBoundingClientRect().top > document.querySelector('textarea').getBoundingClientRect().top"
            )
            assert await tab.evaluate(below)
            assert await tab.evaluate("document.documentElement.scrollWidth") <= width
        # A parameter of the path is no option: it stays where it was.
        await tab.until(click("#operations-models-getModel .opblock-summary-control"))
        await tab.until(
            "document.querySelector('#operations-models-getModel .parameters-container')?.checkVisibility()"
        )

    browse(tmp_path, context)


def test_redoc_sends_nobody_elsewhere(tmp_path: Path) -> None:
    """Its offers to open the document in a chat of others, and the link to its makers, are hidden."""

    async def context(tab: Tab, url: str) -> None:
        for dark in (False, True):
            await tab.open(f"{url}/redoc", dark=dark)
            await tab.until(REDOC_READY)
            await tab.until("!!document.querySelector('#redoc [data-testid=page-actions]')")
            assert (
                await tab.evaluate(
                    "[...document.querySelectorAll('#redoc a[href^=http], #redoc [data-testid=page-actions]')]"
                    ".filter((e) => e.checkVisibility() && e.origin !== location.origin).map((e) => e.outerHTML)"
                )
                == []
            )

    browse(tmp_path, context)


def test_swagger_calls_with_the_key_it_was_given(tmp_path: Path) -> None:
    """Authorize, then execute an example: the gateway answers it."""

    async def context(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/docs", height=2600)
        await tab.until(SWAGGER_READY)
        await tab.until(click(".auth-wrapper .authorize"))
        await tab.until(typed("#auth-bearer-value", KEY))
        await tab.until(click(".modal-ux .auth-container:has(#auth-bearer-value) button[type=submit]"))
        await tab.until(click(".modal-ux .close-modal"))
        await tab.until(click(".opblock-post .opblock-summary-control"))
        await tab.until("document.querySelector('.opblock-post textarea')?.value.includes('echo:')")
        await tab.until(click(".opblock-post .execute"))
        answer: Any = await tab.until(
            "document.querySelector('.live-responses-table .response .highlight-code')?.innerText"
        )
        assert '"object": "chat.completion"' in answer
        assert '"content": "Say hello in one word."' in answer

    browse(tmp_path, context)


def test_redoc_searches_without_a_worker(tmp_path: Path) -> None:
    """The policy allows no worker from a blob, and none is missed."""

    async def context(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/redoc")
        await tab.until(REDOC_READY)
        for type_ in ("rawKeyDown", "keyUp"):
            await tab.send(
                "Input.dispatchKeyEvent", type=type_, modifiers=2, key="k", code="KeyK", windowsVirtualKeyCode=75
            )
        await tab.until("document.querySelector('input') && (document.querySelector('input').focus(), true)")
        await tab.send("Input.insertText", text="model")
        await tab.until("document.body.innerText.includes('The models this caller can use')")

    browse(tmp_path, context)


def test_no_payload_runs(tmp_path: Path) -> None:
    """Text that would be a script anywhere else is shown as text (T24)."""
    shown = ""

    def status() -> StatusView:
        return StatusView("ready", 1.0, shown, (ProviderView(shown, True, shown, shown),), (shown,))

    async def context(tab: Tab, url: str) -> None:
        nonlocal shown
        for payload in PAYLOADS:
            shown = payload
            await tab.open(url)
            await tab.until(LOADED)
            assert payload in await tab.evaluate("document.querySelector('.notices li').textContent")
            assert await tab.evaluate(
                "[window.hit, ...document.querySelectorAll('script:not([src]), iframe, svg')]"
            ) == [None]

    browse(tmp_path, context, serving(status))


def click(selector: str) -> str:
    """A script that clicks what ``selector`` finds, and is false while there is nothing."""
    return f"(e => e && (e.click(), true))(document.querySelector({selector!r}))"


def typed(selector: str, text: str) -> str:
    """A script that types into a field so that React sees it, and is false while there is none."""
    setter = f"Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(e, {text!r})"
    return (
        f"(e => e && ({setter}, e.dispatchEvent(new Event('input', {{bubbles: true}})), true))"
        f"(document.querySelector({selector!r}))"
    )


# What axe finds in our own elements. Landmarks count wherever they are found: a second one is ours to avoid.
VIOLATIONS = """
(async () => {
  const ours = ({element: e}) => e.isConnected && !e.closest("#swagger-ui > *, #redoc > *");
  const {violations} = await axe.run(document, {resultTypes: ["violations"], elementRef: true});
  return violations.flatMap(({id, nodes}) =>
    nodes.filter((node) => id.startsWith("landmark") || ours(node)).map((node) => [id, node.html]));
})()
"""

# Every text whose contrast is below 4.5, with the colours. https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
CONTRASTS = """
(() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const opaque = (colour) => numbers(colour).length === 3 || numbers(colour)[3] === 1;
  const ground = (e) => {
    while (e && !opaque(getComputedStyle(e).backgroundColor)) e = e.parentElement;
    return e ? getComputedStyle(e).backgroundColor : "rgb(255, 255, 255)";
  };
  const bad = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim()) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) bad.push([texts.currentNode.textContent.trim(), ratio]);
  }
  return bad;
})()
"""
