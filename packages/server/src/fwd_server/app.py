"""The composition root, the one module that knows all others: settings in, a gateway ready to listen out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import define
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.routing import URLSpec

from fwd_server._version import __version__
from fwd_server.clock import Clock, SystemClock
from fwd_server.gateway.fallback import Coordinator, RetryPolicy
from fwd_server.gateway.gateway import Gateway
from fwd_server.http1.client.pool import Limits, Pool, Proxies
from fwd_server.machine import MemoryUse, connection_cap
from fwd_server.observe import log
from fwd_server.providers import build_provider
from fwd_server.providers import model_catalog as models
from fwd_server.providers.base import Provider
from fwd_server.providers.model_catalog import Model
from fwd_server.routing.health import Health
from fwd_server.routing.planner import Routes
from fwd_server.settings import Settings
from fwd_server.settings.endpoints import endpoints
from fwd_server.store.key_file import KeyFile
from fwd_server.upstream.discovery import ModelDiscovery
from fwd_server.upstream.images import Images
from fwd_server.upstream.loop_guard import LoopGuard
from fwd_server.upstream.send import Upstream
from fwd_server.values import ids
from fwd_server.values.call import Caller
from fwd_server.values.errors import GatewayError
from fwd_server.web import pages
from fwd_server.web.admission import MANY, AdmissionController
from fwd_server.web.authenticator import Authenticator, peer_address
from fwd_server.web.calls import CallTimes
from fwd_server.web.chat import ChatHandler
from fwd_server.web.embeddings import EmbeddingsHandler
from fwd_server.web.guard import Authenticate, GatewayApplication, HostGuard, RequestGuard, is_loopback
from fwd_server.web.health import GatewayStatus, HealthHandler, ReadyHandler
from fwd_server.web.models import ModelIndex, ModelsHandler

_ANSWER_BYTES: Final = 64 << 20

Peer = Callable[[HTTPServerRequest], str]


@define
class App:
    """A gateway, built and not yet listening. Close it with ``aclose``."""

    application: GatewayApplication
    gateway: Gateway
    state: GatewayStatus
    keys: KeyFile
    upstream: Upstream
    clock: Clock
    discovery: ModelDiscovery
    images: Images | None = None

    def poll_keys(self) -> None:
        """Take a change of the key file, and say what it means (contract D8)."""
        if self.keys.poll(self.clock.monotonic()):
            log.app.info("Keys: %s", self.keys.summary())
            for notice in self.keys.notices():
                log.app.warning("%s", notice)

    async def aclose(self) -> None:
        """Let go of every upstream connection."""
        await self.discovery.aclose()
        await self.upstream.aclose()
        if self.images is not None:
            await self.images.aclose()


def build_app(
    settings: Settings,
    *,
    clock: Clock | None = None,
    pool: Pool | None = None,
    images: Images | None = None,
    environment: Mapping[str, str] | None = None,
    memory: Callable[[], MemoryUse | None] = lambda: None,
) -> App:
    """Build a gateway from its settings, on the running event loop.

    ``clock``, ``pool`` and ``images`` (used only with FWD_FETCH_IMAGES=public) are for tests and embedders;
    ``environment`` is where HTTPS_PROXY and NO_PROXY are read. ``memory`` is asked how much of its limit is used.
    """
    clock = clock or SystemClock()
    providers = known_providers(settings)
    routes = routes_of(settings, providers)
    loop_guard = LoopGuard(ids.new_id(""))
    upstream = Upstream(
        pool or Pool(proxies=Proxies.from_env(environment or {}), limits=Limits(body=_ANSWER_BYTES)),
        clock,
        loop_guard,
    )
    health = Health()
    images = (images or Images()) if settings.fetch_images == "public" else None
    coordinator = Coordinator(
        providers, upstream, clock, ids.new_id, retry_policy(settings), health=health, images=images
    )
    gateway = Gateway(routes, coordinator, clock, (log.report,), settings.fallback_explicit)
    keys = KeyFile(settings.keys_file)
    keys.poll(clock.monotonic())
    state = GatewayStatus(routes, clock, clock.monotonic(), keys.notices, health)
    discovery = ModelDiscovery(providers, upstream, clock)
    admission = AdmissionController(most_calls(settings), memory)
    application = _application(settings, gateway, state, keys, clock, loop_guard, discovery, admission)
    return App(application, gateway, state, keys, upstream, clock, discovery, images)


def known_providers(settings: Settings) -> dict[str, Provider]:
    """Every provider that has settings, by its name."""
    return {name: build_provider(name) for name in settings.providers}


def routes_of(settings: Settings, providers: Mapping[str, Provider]) -> Routes:
    """Where calls can go, as the settings say."""
    found = endpoints(settings, [name for name, provider in providers.items() if provider.chat])
    known = tuple(f"{name}:{model.id}" for name, endpoint in found.items() if endpoint.enabled for model in _chat(name))
    return Routes(found, settings.priority, known)


def _chat(provider: str) -> list[Model]:
    return [model for model in models.load().of(provider) if model.kind == "chat"]


def retry_policy(settings: Settings) -> RetryPolicy:
    """How often, how long and how much, as the settings say."""
    return RetryPolicy(settings.attempts, settings.stream_timeout, _ANSWER_BYTES)


def _application(
    settings: Settings,
    gateway: Gateway,
    state: GatewayStatus,
    keys: KeyFile,
    clock: Clock,
    loop_guard: LoopGuard,
    discovery: ModelDiscovery,
    admission: AdmissionController,
) -> GatewayApplication:
    authenticator = Authenticator(keys, clock)
    authenticate = _authenticate(authenticator)
    peer = _peer(settings)
    hosts = HostGuard(is_loopback(settings.host), frozenset(name.lower() for name in settings.allowed_hosts))
    details = _details(authenticate, peer)
    times = CallTimes(settings.total_timeout, settings.sse_keepalive)
    calls = {"gateway": gateway, "clock": clock, "times": times, "loop_guard": loop_guard}
    model_index = ModelIndex(gateway.routes, models.load(), discovery)
    routes = [
        URLSpec(r"/v1/chat/completions", ChatHandler, calls),
        URLSpec(r"/v1/embeddings", EmbeddingsHandler, calls),
        URLSpec(r"/v1/models", ModelsHandler, {"model_index": model_index}),
        URLSpec(r"/v1/models/(?P<name>.{1,700})", ModelsHandler, {"model_index": model_index}),
        URLSpec(r"/health", HealthHandler),
        URLSpec(r"/ready", ReadyHandler, {"state": state, "details": details}),
        *pages.routes(pages.PageContext(__version__, state.status_view, details)),
    ]
    return GatewayApplication(routes, RequestGuard(hosts, authenticate, peer, settings.max_body, admission))


def most_calls(settings: Settings) -> int:
    """How many calls are taken at once: half as many as connections, for each has one to a provider as well."""
    return settings.max_requests or connection_cap(share=4) or MANY


def _authenticate(authenticator: Authenticator) -> Authenticate:
    def authenticate(headers: HTTPHeaders, peer: str) -> Caller:
        return authenticator.authenticate(headers.get("Authorization"), headers.get("x-api-key"), peer)

    return authenticate


def _peer(settings: Settings) -> Peer:
    def peer(request: HTTPServerRequest) -> str:
        return peer_address(request.remote_ip or "", request.headers.get("X-Forwarded-For"), settings.trusted_proxies)

    return peer


def _details(authenticate: Authenticate, peer: Peer) -> Callable[[HTTPServerRequest], bool]:
    """Who may see which providers there are: this machine itself (not through a proxy on it), and who has a key."""

    def may_see(request: HTTPServerRequest) -> bool:
        headers = request.headers
        if is_loopback(request.remote_ip or "") and "X-Forwarded-For" not in headers:
            return True
        if "Authorization" not in headers and "x-api-key" not in headers:
            return False
        try:
            authenticate(headers, peer(request))
        except GatewayError:
            return False
        return True

    return may_see
