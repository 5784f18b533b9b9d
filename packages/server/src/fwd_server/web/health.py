"""``/health`` (the process lives) and ``/ready`` (it can serve, and what is not as it should be).

They answer beside the API, and, where that is set, on a port of their own: an application that knows no calls, so
that no limit for calls ever hides how the gateway is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import orjson
from attrs import define, field
from tornado.httputil import HTTPServerRequest
from tornado.routing import URLSpec

from fwd_server.clock import Clock, SystemClock
from fwd_server.observe.hub import ObserverHub
from fwd_server.routing.planner import Routes
from fwd_server.routing.state import Cooldown, RoutingState
from fwd_server.store.key_set import KeySet
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Endpoint
from fwd_server.web.application import GatewayApplication
from fwd_server.web.authenticator import Authenticator
from fwd_server.web.base import BaseHandler
from fwd_server.web.guard import HostGuard, RequestGuard, is_loopback
from fwd_server.web.pages import ProviderView, StatusView


@define
class GatewayStatus:
    """How the gateway is now. ``notices`` asks whoever knows what needs attention, in sentences."""

    routes: Routes
    clock: Clock
    started: float
    notices: Callable[[], tuple[str, ...]]
    routing: RoutingState = field(factory=RoutingState)
    draining: bool = False

    def is_alive(self) -> bool:
        """That it can answer says so."""
        return True

    def status_name(self) -> str:
        """``ready``, ``degraded`` (serves, but something needs attention) or ``unready``."""
        # A draining process must leave the load balancer before it stops accepting.
        if self.draining or not any(_is_usable(endpoint) for endpoint in self.routes.endpoints.values()):
            return "unready"
        return "degraded" if self.notices() else "ready"

    def status_view(self) -> StatusView:
        """For the status page."""
        endpoints, resting = self.routes.endpoints.values(), self._cooldowns()
        model = next((d.name for d in self.routes.priority_plan()), "echo:")
        return StatusView(
            state=self.status_name(),
            uptime_s=self.clock.monotonic() - self.started,
            model=model,
            providers=tuple(
                ProviderView(e.provider, _is_usable(e), e.enabled_by, _provider_note(e, resting)) for e in endpoints
            ),
            notices=self.notices(),
        )

    def ready_view(self, *, details: bool) -> Json:
        """For ``/ready``."""
        # To everybody else, which providers are configured is nobody's business.
        if not details:
            return {"status": self.status_name()}
        resting = [
            {
                "provider": rest.provider,
                "model": rest.model,
                **({} if rest.key is None else {"key": rest.key}),
                "seconds": round(rest.seconds, 1),
            }
            for rest in self._cooldowns()
        ]
        tired = {rest["provider"] for rest in resting}
        found = [
            {"name": e.provider, "state": _provider_state(e, e.provider in tired), "enabled_by": e.enabled_by}
            for e in self.routes.endpoints.values()
        ]
        return {
            "status": self.status_name(),
            "degraded": list(self.notices()),
            "providers": found,
            "cooling_down": resting,
        }

    def _cooldowns(self) -> tuple[Cooldown, ...]:
        return self.routing.cooling_down(self.routes.instances, self.clock.monotonic())


def _is_usable(endpoint: Endpoint) -> bool:
    return endpoint.enabled and endpoint.available


def _provider_state(endpoint: Endpoint, rests: bool) -> str:
    if not endpoint.available:
        return "unavailable"
    if rests:
        return "cooling_down"
    return "on" if endpoint.enabled else "off"


def _provider_note(endpoint: Endpoint, resting: tuple[Cooldown, ...]) -> str:
    if not endpoint.available:
        return "not supported by this version"
    own = [rest for rest in resting if rest.provider == endpoint.provider]
    if not own:
        return ""
    more = f" and {len(own) - 1} more" if len(own) > 1 else ""
    what = own[0].model or ("its own model" if own[0].model is not None else f"the key {own[0].key}")
    return f"{what} is cooling down for {math.ceil(own[0].seconds)} s{more}"


class Readiness(Protocol):
    """Whoever knows how the gateway is: one process, or the parent of several."""

    def is_alive(self) -> bool:
        """Whether it does what it is there for, or could again without being started anew."""

    def status_name(self) -> str:
        """``ready``, ``degraded`` or ``unready``."""

    def ready_view(self, *, details: bool) -> Json:
        """For ``/ready``."""


def probe_application(readiness: Readiness, *, to_loopback: bool, hub: ObserverHub) -> GatewayApplication:
    """What answers on the port for probes; ``to_loopback`` says whether it is open to this machine alone.

    There are no keys here: details are for this machine itself, not through a proxy on it.
    """
    routes = [
        URLSpec(r"/health", HealthHandler, {"alive": readiness.is_alive}),
        URLSpec(r"/ready", ReadyHandler, {"state": readiness, "details": _is_local}),
    ]
    nobody = Authenticator(_NoKeys(), SystemClock())
    # No trusted proxies here: X-Forwarded-For could make a stranger look like this machine.
    guard = RequestGuard(HostGuard(to_loopback), nobody, lambda remote_ip, headers: remote_ip, max_body=0)
    return GatewayApplication(routes, guard, hub)


def _is_local(request: HTTPServerRequest) -> bool:
    address = request.remote_ip or ""  # none on the Unix socket, which only our own user may open
    return (not address or is_loopback(address)) and "X-Forwarded-For" not in request.headers


class _NoKeys:
    """Nothing on this port takes a key."""

    keys = KeySet()


class HealthHandler(BaseHandler):
    """The process is alive; 503 when nothing of it moves any more."""

    needs_key = False

    def initialize(self, alive: Callable[[], bool] = lambda: True) -> None:
        """``alive`` is asked where more than this process has to live."""
        self.alive = alive

    def get(self) -> Any:
        """Say so."""
        alive = self.alive()
        self.set_status(200 if alive else 503)
        self.write_json(b'{"status":"ok"}' if alive else b'{"status":"hung"}')


class ReadyHandler(BaseHandler):
    """Whether the gateway can serve; 503 when not."""

    needs_key = False

    def initialize(self, state: Readiness, details: Callable[[HTTPServerRequest], bool]) -> None:
        """``details`` says who may see more than one word."""
        self.state = state
        self.details = details

    def get(self) -> Any:
        """Answer with the state."""
        if self.state.status_name() == "unready":
            self.set_status(503)
        self.write_json(orjson.dumps(self.state.ready_view(details=self.details(self.request))))
