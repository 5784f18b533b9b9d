"""``/health`` (the process lives) and ``/ready`` (it can serve, and what is not as it should be)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from attrs import define
from tornado.httputil import HTTPServerRequest

from fwd_server.chat import Json
from fwd_server.clock import Clock
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
    draining: bool = False

    def word(self) -> str:
        """``ready``, ``degraded`` (serves, but something needs attention) or ``unready``."""
        if self.draining or not any(_usable(endpoint) for endpoint in self.routes.endpoints.values()):
            return "unready"
        return "degraded" if self.notices() else "ready"

    def status(self) -> StatusView:
        """For the status page."""
        endpoints = self.routes.endpoints.values()
        model = next((d.name for d in self.routes.listed()), "echo:")
        return StatusView(
            state=self.word(),
            uptime_s=self.clock.monotonic() - self.started,
            model=model,
            providers=tuple(ProviderView(e.provider, _usable(e), e.turned_on_by, _note(e)) for e in endpoints),
            notices=self.notices(),
        )

    def ready(self, *, details: bool) -> Json:
        """For ``/ready``."""
        if not details:
            return {"status": self.word()}
        found = [
            {"name": e.provider, "state": _state(e), "turned_on_by": e.turned_on_by}
            for e in self.routes.endpoints.values()
        ]
        return {"status": self.word(), "degraded": list(self.notices()), "providers": found}


def _usable(endpoint: Endpoint) -> bool:
    return endpoint.on and endpoint.available


def _state(endpoint: Endpoint) -> str:
    if not endpoint.available:
        return "unavailable"
    return "on" if endpoint.on else "off"


def _note(endpoint: Endpoint) -> str:
    return "" if endpoint.available else "not spoken by this version"


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
