"""The pages people look at: status, Swagger UI, ReDoc, and the files these load.

Every file comes from a list written here (contract T17): no part of a path of the file system is ever made from a
URL. Swagger UI and ReDoc are files of the ``offapi`` package, which is never imported: that would read 9 MB of
scripts into memory. No page loads anything from outside (contract T24).
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import orjson
from attrs import frozen
from tornado.httputil import HTTPServerRequest
from tornado.routing import URLSpec
from tornado.template import Loader, Template

from fwd_server.web.authenticator import Network, is_trusted_peer
from fwd_server.web.base import BaseHandler

HERE: Final = Path(__file__).parent.parent / "pages"

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src {styles}; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
STRICT: Final = _POLICY.format(styles="'self'")
# Swagger UI and ReDoc write style attributes and elements of their own, and ReDoc brings a font of icons in one.
OWN_STYLES: Final = _POLICY.format(styles="'self' 'unsafe-inline'; font-src data:")

# Where the scripts of Swagger UI and ReDoc would load a logo and icons from, or report to. The policy forbids it, and
# our start scripts turn off what has a switch; ReDoc's logo has none, so the addresses are taken out as well.
_OUTSIDE: Final = (
    b"https://cdn.redoc.ly/",
    b"https://cdn.redocly.com/",
    b"https://otel.cloud.redocly.com/",
    b"https://validator.swagger.io/",
)
_NOWHERE: Final = b"data:,"

_HTML: Final = "text/html; charset=utf-8"
_CSS: Final = "text/css; charset=utf-8"
_SCRIPT: Final = "text/javascript; charset=utf-8"

# The part of a URL -> the file, and what it is.
_OURS: Final = {
    "page.css": _CSS,
    "page.js": _SCRIPT,
    "docs.css": _CSS,
    "docs.js": _SCRIPT,
    "redoc.js": _SCRIPT,
    "icon.svg": "image/svg+xml",
}
_OFFAPI: Final = {
    "swagger-ui.css": ("swagger_style.css", _CSS),
    "swagger-ui.js": ("swagger_bundle.js", _SCRIPT),
    "redoc-standalone.js": ("redoc.js", _SCRIPT),
}

# What may stand in a snippet that people paste into a shell.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


@frozen
class ProviderView:
    """A provider as the status page shows it: on or off, which variable turns it on, and a word more."""

    name: str
    enabled: bool
    enabled_by: str = ""
    note: str = ""


@frozen
class StatusView:
    """What the status page shows of the gateway now.

    ``state`` is "ready", "degraded" or "unready". ``model`` is one that the snippets can call. ``notices`` are
    sentences about what needs attention; they and the providers are shown with details only.
    """

    state: str
    uptime_s: float
    model: str = "echo:"
    providers: tuple[ProviderView, ...] = ()
    notices: tuple[str, ...] = ()


@frozen
class PageContext:
    """What the pages need. ``details`` says whether a request may see more than the state: loopback, or a key."""

    version: str
    status: Callable[[], StatusView]
    details: Callable[[HTTPServerRequest], bool]
    trusted_proxies: Collection[Network] = ()


@frozen
class PageFile:
    """A file that may be served, and how."""

    path: Path
    content_type: str
    policy: str = STRICT

    def read_bytes(self) -> bytes:
        """The file's bytes, without the addresses outside that a script would go to."""
        body = self.path.read_bytes()
        for address in _OUTSIDE:
            body = body.replace(address, _NOWHERE)
        return body


def page_routes(context: PageContext) -> list[URLSpec]:
    """The routes of every page and of every file a page loads."""
    return [
        URLSpec(r"/", StatusPage, {"page": context, "template": _load_template("status.html")}),
        URLSpec(r"/openapi\.json", DocumentHandler, {"version": context.version}),
        *(URLSpec(re.escape(url), FileHandler, {"file": file}) for url, file in page_files().items()),
    ]


def page_files() -> dict[str, PageFile]:
    """Every file that is served as it is, by its URL: the packaged list."""
    ours = {f"/static/{name}": PageFile(HERE / "static" / name, type_) for name, type_ in _OURS.items()}
    offapi = package_folder("offapi")
    theirs = {f"/static/{name}": PageFile(offapi / file, type_) for name, (file, type_) in _OFFAPI.items()}
    pages = {f"/{name}": PageFile(HERE / f"{name}.html", _HTML, OWN_STYLES) for name in ("docs", "redoc")}
    return {**pages, **ours, **theirs}


def package_folder(name: str) -> Path:
    """The folder of an installed package, found without importing it. Raises ModuleNotFoundError."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"fwd-server needs the package {name} for its pages: pip install {name}")
    return Path(spec.origin).parent


def _load_template(name: str) -> Template:
    return Loader(str(HERE), autoescape="xhtml_escape", whitespace="all").load(name)


class PageHandler(BaseHandler):
    """Anything a browser loads from here. ``policy`` is its Content-Security-Policy."""

    needs_key = False
    policy = STRICT

    def prepare(self) -> None:
        """Let the page load what it needs from here; an error page needs nothing and keeps the base's policy."""
        super().prepare()
        self.set_header("Content-Security-Policy", self.policy)


class StatusPage(PageHandler):
    """``/``: whether the gateway is ready, and how to call it. Works without a script, and in a text browser."""

    def initialize(self, page: PageContext, template: Template) -> None:
        """Take what the page is made from."""
        self.page = page
        self.template = template

    def get(self) -> None:
        """Render the page. Without a key the snippets name ``echo:``, because a default model reveals the provider."""
        status = self.page.status()
        details = self.page.details(self.request)
        # Rendered for every request: the page is small, and it must show what is true now.
        html = self.template.generate(
            version=self.page.version,
            status=status,
            model=status.model if details else "echo:",
            uptime=uptime_text(status.uptime_s),
            details=details,
            url=public_url(self.request, self.page.trusted_proxies),
        )
        self.set_header("Content-Type", _HTML)
        self.write(html)


class DocumentHandler(PageHandler):
    """``/openapi.json``."""

    def initialize(self, version: str) -> None:
        """Take the version of the gateway that the document names."""
        self.version = version

    def get(self) -> None:
        """Send the document."""
        self.write_json(_api_description(self.version))


# Made when it is first asked for: its schemas take two megabytes, and most gateways are never asked.
@functools.lru_cache(maxsize=1)
def _api_description(version: str) -> bytes:
    from fwd_server.web import openapi

    return orjson.dumps(openapi.build_document(version))


class FileHandler(PageHandler):
    """One file of the packaged list, as it is."""

    def initialize(self, file: PageFile) -> None:
        """Take the file."""
        self.file = file
        self.policy = file.policy

    async def get(self) -> None:
        """Send the file, read off the event loop: ReDoc alone has 2 MB."""
        # A cold disk would stop every stream for as long as the read takes.
        body = await asyncio.to_thread(self.file.read_bytes)
        self.set_header("Content-Type", self.file.content_type)
        self.write(body)


def public_url(request: HTTPServerRequest, trusted: Collection[Network]) -> str:
    """The address under which the caller reached us, for snippets.

    A proxy that ends TLS says so in ``X-Forwarded-Proto`` and ``-Host``. Anybody can send these, so they count only
    from the networks in ``trusted``, and of several values the last, which the proxy itself added.
    """
    protocol, host = request.protocol, request.host
    if is_trusted_peer(request.remote_ip or "", trusted):
        forwarded = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
        protocol = forwarded if forwarded in ("http", "https") else protocol
        host = request.headers.get("X-Forwarded-Host", "").rpartition(",")[2].strip() or host
    return own_url(protocol, host)


def own_url(protocol: str, host: str) -> str:
    """The address that the caller used, for snippets; a loopback one where theirs is not fit for a shell."""
    return f"{protocol}://{host if _HOST.fullmatch(host) else '127.0.0.1:8000'}"


def uptime_text(seconds: float) -> str:
    """A time in its two largest units, as ``3 d 4 h``."""
    rest = int(seconds)
    found = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        amount, rest = divmod(rest, size)
        found.append((amount, unit))
    shown = next((found[i : i + 2] for i, (amount, _) in enumerate(found) if amount), found[-1:])
    return " ".join(f"{amount} {unit}" for amount, unit in shown if amount) or "0 s"
