"""``/health`` (the process lives) and ``/ready`` (it can serve, and what is not as it should be)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from attrs import define, field
from tornado.httputil import HTTPServerRequest

from fwd_server.chat import Json
from fwd_server.clock import Clock
from fwd_server.health import Health, Rest
from fwd_server.routing import Endpoint, Routes
from fwd_server.web.base import BaseHandler
from fwd_server.web.pages import ProviderView, StatusView


@define
class State:
    """How the gateway is now. ``notices`` asks whoever knows what needs attention, in sentences."""

    routes: Routes
    clock: Clock
    started: float
    notices: Callable[[], tuple[str, ...]]
    health: Health = field(factory=Health)
    draining: bool = False

    def word(self) -> str:
        """``ready``, ``degraded`` (serves, but something needs attention) or ``unready``."""
        if self.draining or not any(_usable(endpoint) for endpoint in self.routes.endpoints.values()):
            return "unready"
        return "degraded" if self.notices() else "ready"

    def status(self) -> StatusView:
        """For the status page."""
        endpoints, resting = self.routes.endpoints.values(), self._resting()
        model = next((d.name for d in self.routes.listed()), "echo:")
        return StatusView(
            state=self.word(),
            uptime_s=self.clock.monotonic() - self.started,
            model=model,
            providers=tuple(ProviderView(e.provider, _usable(e), e.turned_on_by, _note(e, resting)) for e in endpoints),
            notices=self.notices(),
        )

    def ready(self, *, details: bool) -> Json:
        """For ``/ready``."""
        if not details:
            return {"status": self.word()}
        resting = [
            {"provider": rest.provider, "model": rest.model, "seconds": round(rest.seconds, 1)}
            for rest in self._resting()
        ]
        tired = {rest["provider"] for rest in resting}
        found = [
            {"name": e.provider, "state": _state(e, e.provider in tired), "turned_on_by": e.turned_on_by}
            for e in self.routes.endpoints.values()
        ]
        return {"status": self.word(), "degraded": list(self.notices()), "providers": found, "resting": resting}

    def _resting(self) -> tuple[Rest, ...]:
        return self.health.resting(self.clock.monotonic())


def _usable(endpoint: Endpoint) -> bool:
    return endpoint.on and endpoint.available


def _state(endpoint: Endpoint, rests: bool) -> str:
    if not endpoint.available:
        return "unavailable"
    if rests:
        return "resting"
    return "on" if endpoint.on else "off"


def _note(endpoint: Endpoint, resting: tuple[Rest, ...]) -> str:
    if not endpoint.available:
        return "not spoken by this version"
    own = [rest for rest in resting if rest.provider == endpoint.provider]
    more = f" and {len(own) - 1} more" if len(own) > 1 else ""
    return f"{own[0].model or 'its own model'} rests for {own[0].seconds:.0f} s{more}" if own else ""


class HealthHandler(BaseHandler):
    """The process lives."""

    needs_key = False

    def get(self) -> Any:
        """Say so."""
        self.write_json(b'{"status":"ok"}')


class ReadyHandler(BaseHandler):
    """Whether the gateway can serve; 503 when not."""

    needs_key = False

    def initialize(self, state: State, details: Callable[[HTTPServerRequest], bool]) -> None:
        """``details`` says who may see more than one word."""
        self.state = state
        self.details = details

    def get(self) -> Any:
        """Answer with the state."""
        if self.state.word() == "unready":
            self.set_status(503)
        self.write_json(orjson.dumps(self.state.ready(details=self.details(self.request))))
