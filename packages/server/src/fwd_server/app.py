"""The composition root, the one module that knows all others: settings in, a gateway ready to listen out."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import define
from tornado.httputil import HTTPServerRequest
from tornado.routing import URLSpec

from fwd_server._version import __version__
from fwd_server.callers.base import Dialect
from fwd_server.callers.messages import COUNT_TOKENS, MESSAGES
from fwd_server.callers.openai_chat import OPENAI_CHAT
from fwd_server.callers.openai_embeddings import OPENAI_EMBEDDINGS
from fwd_server.clock import Clock, SystemClock
from fwd_server.gateway.attempt import AttemptRunner
from fwd_server.gateway.counting import TokenCounter
from fwd_server.gateway.fallback import FallbackRunner
from fwd_server.gateway.gateway import Gateway
from fwd_server.gateway.meter_policy import MeterPolicy
from fwd_server.gateway.policy import Policy
from fwd_server.gateway.retry_policy import RetryPolicy
from fwd_server.gateway.translation import Translator
from fwd_server.http1.client.pool import Limits, Pool, Proxies
from fwd_server.machine import MemoryUse, connection_cap
from fwd_server.observe import log
from fwd_server.observe.access_log import AccessLog
from fwd_server.observe.hub import Observer, ObserverHub
from fwd_server.providers import LANGUAGES, build_provider, model_catalog
from fwd_server.providers.base import Provider
from fwd_server.routing.planner import Routes
from fwd_server.routing.state import RoutingState
from fwd_server.routing.table import NO_FACTS, ModelFacts
from fwd_server.settings import Settings
from fwd_server.settings.config_file_table import BuiltRoutes, build_routes
from fwd_server.store.accounts import Accounts
from fwd_server.store.key_file import KeyFile
from fwd_server.store.meter import Meter
from fwd_server.store.migrate import StoreError
from fwd_server.store.price_store import PriceFiles, PriceWatch
from fwd_server.upstream.cloud_tokens import TokenRenewer, make_fetch, sessions_of
from fwd_server.upstream.discovery import ModelDiscovery
from fwd_server.upstream.images import ImageFetcher
from fwd_server.upstream.loop_guard import LoopGuard
from fwd_server.upstream.send import Upstream
from fwd_server.values import ids
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import GatewayError
from fwd_server.web import pages
from fwd_server.web.admission import DEFAULT_MAX_CALLS, AdmissionController
from fwd_server.web.application import GatewayApplication
from fwd_server.web.authenticator import Authenticator, has_key, peer_address
from fwd_server.web.call_exchange import CallRoute, CallService, CallTimes
from fwd_server.web.cors import CorsPolicy
from fwd_server.web.guard import HostGuard, RequestGuard, is_loopback
from fwd_server.web.health import GatewayStatus, HealthHandler, ReadyHandler
from fwd_server.web.models import ModelIndex, ModelsHandler
from fwd_server.web.usage import KeyHandler, RequestHandler, UsageHandler

# The largest answers are pictures in base64, of several megabytes each (contract F26).
_ANSWER_BYTES: Final = 64 << 20

# The caller languages, by the paths they are served at: a new one is a module in callers/ and a line here.
DIALECTS: Final[Mapping[str, Dialect[Any, Any]]] = {
    "/v1/chat/completions": OPENAI_CHAT,
    "/v1/embeddings": OPENAI_EMBEDDINGS,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": COUNT_TOKENS,
}


@define
class Runtime:
    """What outlives a reload: connections to providers, what is remembered of them, and what is being answered.

    Close it with ``aclose``, once.
    """

    upstream: Upstream
    loop_guard: LoopGuard
    routing: RoutingState
    admission: AdmissionController
    discovery: ModelDiscovery
    tokens: TokenRenewer
    clock: Clock
    started: float
    images: ImageFetcher | None = None

    @classmethod
    def start(
        cls,
        clock: Clock,
        pool: Pool,
        memory: Callable[[], MemoryUse | None] = lambda: None,
        images: ImageFetcher | None = None,
    ) -> Runtime:
        """What a process begins with."""
        # A new id for every process: after a restart an old one means nothing.
        loop_guard = LoopGuard(ids.new_id(""))
        upstream = Upstream(pool, clock, loop_guard)
        admission = AdmissionController(DEFAULT_MAX_CALLS, memory)
        discovery = ModelDiscovery({}, upstream, clock)
        tokens = TokenRenewer(clock, asyncio.get_running_loop(), make_fetch)
        started = clock.monotonic()
        return cls(upstream, loop_guard, RoutingState(), admission, discovery, tokens, clock, started, images)

    def take_settings(self, settings: Settings, routes: Routes, providers: Mapping[str, Provider]) -> None:
        """Go by these settings and this table from now on; what keeps its identity keeps what is remembered of it."""
        self.admission.most = most_calls(settings)
        self.discovery.providers = providers
        lanes = (lane for model in routes.models.values() for lane in model.lanes)
        # What left the table must not be reported as cooling down, nor fill the memory.
        self.routing.keep_only(routes.instances.values(), lanes)
        if settings.fetch_images == "public" and self.images is None:
            self.images = ImageFetcher()
        sessions = sessions_of(key.endpoint.key for instance in routes.instances.values() for key in instance.keys)
        # The same tokens go on in their threads: a reload that changes something else must not fetch them anew.
        if not self.tokens.has_just(sessions):
            self.tokens.close()
            self.tokens = TokenRenewer(self.clock, asyncio.get_running_loop(), make_fetch)
            self.tokens.start(sessions)

    async def aclose(self) -> None:
        """Let go of every upstream connection, and renew no more tokens."""
        self.tokens.close()
        await self.discovery.aclose()
        await self.upstream.aclose()
        if self.images is not None:
            await self.images.aclose()


@define
class App:
    """A gateway, built and not yet listening. Close it with ``aclose``."""

    application: GatewayApplication
    gateway: Gateway
    state: GatewayStatus
    keys: KeyFile
    clock: Clock
    prices: PriceWatch
    meter: Meter
    accounts: Accounts
    runtime: Runtime

    def poll_prices(self) -> None:
        """Take a change of the price files; calls that run keep the table they began with (money M11)."""
        if self.prices.poll():
            self.meter.table = self.prices.table
            if self.prices.trouble:
                log.app.error("%s", self.prices.trouble)
            else:
                log.app.info("Prices: table %s is in force.", self.prices.table.id)

    def poll_keys(self) -> None:
        """Take a change of the key file, and say what it means (contract D8)."""
        self.accounts.tidy(self.clock)
        if self.keys.poll(self.clock.monotonic()):
            try:
                self.accounts.take_rules(self.keys.keys.list_rules())
            except (StoreError, sqlite3.OperationalError) as error:
                log.app.error("What new limits and budgets have used before cannot be read: %s", error)
            log.app.info("Keys: %s", self.keys.summary())
            for notice in self.keys.notices():
                log.app.warning("%s", notice)

    async def aclose(self) -> None:
        """Let go of every upstream connection, those of the gateways before a reload included: they are the same."""
        await self.runtime.aclose()


def build_app(
    settings: Settings,
    *,
    clock: Clock | None = None,
    pool: Pool | None = None,
    images: ImageFetcher | None = None,
    environment: Mapping[str, str] | None = None,
    memory: Callable[[], MemoryUse | None] = lambda: None,
    policies: Sequence[Policy] = (),
    observers: Sequence[Observer] = (),
    dialects: Mapping[str, Dialect[Any, Any]] | None = None,
    accounts: Accounts | None = None,
    runtime: Runtime | None = None,
    notices: Callable[[], tuple[str, ...]] = tuple,
) -> App:
    """Build a gateway from its settings, on the running event loop.

    ``policies`` may refuse calls and settle them, ``observers`` hear of everything beside the access log, and
    ``dialects`` (path -> caller language) are served beside our own; CONTRIBUTING.md has an example of each.
    ``accounts`` are the book and the ledger that calls go into: by default a new book and no ledger.
    ``clock``, ``pool`` and ``images`` (used only with FWD_FETCH_IMAGES=public) are for tests and embedders;
    ``environment`` is where HTTPS_PROXY and NO_PROXY are read. ``memory`` returns how much of its limit is used.
    ``runtime`` is that of the gateway in whose place this one serves (a reload); then pool, images and memory are its.
    ``notices`` says what of the settings somebody should see to.
    """
    clock = clock or SystemClock()
    hub = ObserverHub((AccessLog(), *observers))
    routes = routes_of(settings)
    providers = known_providers(routes)
    if runtime is None:
        pool = pool or Pool(proxies=Proxies.from_env(environment or {}), limits=Limits(body=_ANSWER_BYTES))
        runtime = Runtime.start(clock, pool, memory, images)
    runtime.take_settings(settings, routes, providers)
    routing, fetcher = runtime.routing, runtime.images if settings.fetch_images == "public" else None
    translator = Translator(providers, clock, ids.new_id, fetches_images=fetcher is not None)
    attempts = AttemptRunner(providers, runtime.upstream, clock, routing, hub)
    fallback = FallbackRunner(translator, attempts, routing, clock, retry_policy(settings), fetcher)
    prices = PriceWatch.start(PriceFiles.in_directory(settings.data, settings.prices))
    accounts = accounts or Accounts()
    accounts.book.max_requests = most_calls(settings)
    meter = Meter(
        accounts.book,
        prices.table,
        clock,
        accounts.ledger,
        refuse_unknown=settings.unknown_price == "refuse",
        bound_output=settings.bound_output,
        fail_open=settings.usage_fail_open,
    )
    # Money comes last: a policy that refuses before it spares the hold, and settling runs the other way round.
    policies = (*policies, MeterPolicy(meter, routes, clock))
    counter = TokenCounter(translator, providers, runtime.upstream)
    gateway = Gateway(routes, routing, fallback, clock, hub, policies, settings.fallback_explicit, counter=counter)
    keys = KeyFile(settings.keys_file, not accounts.is_shared)
    # Read before the first request, or every caller would be refused until the first poll.
    keys.poll(clock.monotonic())
    accounts.take_rules(keys.keys.list_rules())

    def list_notices() -> tuple[str, ...]:
        return (*notices(), *keys.notices(), *accounts.notices(), *runtime.tokens.notices())

    state = GatewayStatus(routes, clock, runtime.started, list_notices, routing)
    guard = _build_guard(settings, keys, clock, runtime.admission)
    times = CallTimes(settings.total_timeout, settings.sse_keepalive)
    service = CallService(gateway, guard, clock, times, runtime.loop_guard, hub)
    calls = {path: CallRoute(dialect) for path, dialect in {**DIALECTS, **(dialects or {})}.items()}
    application = GatewayApplication(
        _build_handlers(settings, guard, state, gateway, runtime.discovery, accounts), guard, hub, calls, service
    )
    return App(application, gateway, state, keys, clock, prices, meter, accounts, runtime)


def known_providers(routes: Routes) -> dict[str, Provider]:
    """The codecs of every endpoint, by its name."""
    return {name: build_provider(name, endpoint.info) for name, endpoint in routes.endpoints.items()}


def build_table(settings: Settings) -> BuiltRoutes:
    """Where calls can go, as the settings and their file say, and what looks odd. Raises ConfigError."""
    return build_routes(settings, LANGUAGES, _known_models, _facts_of)


def routes_of(settings: Settings) -> Routes:
    """Where calls can go; what looks odd is logged. Raises ConfigError."""
    built = build_table(settings)
    for warning in built.warnings:
        log.app.warning("%s", warning)
    return built.routes


def _known_models(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    """The chat models that the table has of each endpoint that is on."""
    usable = (endpoint for endpoint in endpoints if endpoint.enabled)
    catalog = model_catalog.load_catalog()
    known = ((endpoint, catalog.models_of(endpoint.info.name)) for endpoint in usable)
    return tuple(f"{e.provider}:{model.id}" for e, models in known for model in models if model.kind == "chat")


# Abilities by the names of the table, and as a plan asks for them.
_ABILITIES: Final = {
    "vision": "image",
    "audio_input": "audio",
    "pdf": "file",
    "tools": "tools",
    "json_schema": "json_schema",
}


def _facts_of(provider_type: str, name: str) -> ModelFacts:
    """The facts about a model that plans depend on, from the table."""
    model = model_catalog.load_catalog().find_model(provider_type, name)
    if model is None:
        return NO_FACTS
    lacks = frozenset(ability for key, ability in _ABILITIES.items() if model.supports.get(key) is False)
    prices = model.price_usd_per_mtok
    per_input, per_output = prices.get("input"), prices.get("output")
    price = None if per_input is None or per_output is None else (3 * per_input + per_output) / 4
    return ModelFacts(model.context_window, lacks, price)


def retry_policy(settings: Settings) -> RetryPolicy:
    """How often, how long and how much, as the settings say."""
    return RetryPolicy(settings.attempts, settings.stream_timeout, _ANSWER_BYTES)


def _build_guard(settings: Settings, keys: KeyFile, clock: Clock, admission: AdmissionController) -> RequestGuard:
    """The checks of every request, according to the settings."""
    trusted = settings.trusted_proxies
    return RequestGuard(
        HostGuard(is_loopback(settings.host), frozenset(name.lower() for name in settings.allowed_hosts)),
        Authenticator(keys, clock),
        lambda remote_ip, headers: peer_address(remote_ip, headers.get("x-forwarded-for"), trusted),
        settings.max_body,
        admission,
        CorsPolicy(frozenset(settings.cors_origins)),
    )


def _build_handlers(
    settings: Settings,
    guard: RequestGuard,
    state: GatewayStatus,
    gateway: Gateway,
    discovery: ModelDiscovery,
    accounts: Accounts,
) -> list[URLSpec]:
    """The handlers of all requests that are not calls."""
    details = _may_see_details(guard)
    page = pages.PageContext(__version__, state.status_view, details, settings.trusted_proxies)
    model_index = ModelIndex(gateway.routes, model_catalog.load_catalog(), discovery)
    return [
        URLSpec(r"/v1/models", ModelsHandler, {"model_index": model_index}),
        URLSpec(r"/v1/models/(?P<name>.{1,700})", ModelsHandler, {"model_index": model_index}),
        URLSpec(r"/health", HealthHandler),
        URLSpec(r"/ready", ReadyHandler, {"state": state, "details": details}),
        URLSpec(r"/v1/key", KeyHandler, {"accounts": accounts, "clock": state.clock}),
        URLSpec(r"/v1/usage", UsageHandler, {"accounts": accounts, "clock": state.clock}),
        URLSpec(r"/v1/requests/(?P<name>[^/]{1,64})", RequestHandler, {"accounts": accounts}),
        *pages.page_routes(page),
    ]


def most_calls(settings: Settings) -> int:
    """How many calls are taken at once: half as many as connections, because each also has one to a provider."""
    return settings.max_requests or connection_cap(share=4) or DEFAULT_MAX_CALLS


def _may_see_details(guard: RequestGuard) -> Callable[[HTTPServerRequest], bool]:
    """Who may see which providers there are: this machine itself (not through a proxy on it), and who has a key."""

    def may_see(request: HTTPServerRequest) -> bool:
        headers, remote_ip = request.headers, request.remote_ip or ""
        # A proxy on this machine makes every stranger look local; the header gives it away.
        if is_loopback(remote_ip) and "X-Forwarded-For" not in headers:
            return True
        if not has_key(headers):
            return False
        try:
            guard.authenticator.authenticate_caller(headers, guard.peer_address(remote_ip, headers))
        except GatewayError:
            return False
        return True

    return may_see
