"""What /ready and the status page say about providers that rest."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import frozen
from kit.clock import FakeClock

from fwd_server.process.serve import answer_probes, listen_at
from fwd_server.routing.planner import Routes
from fwd_server.routing.state import RoutingState
from fwd_server.routing.table import Lane
from fwd_server.settings.units import Address
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Endpoint
from fwd_server.values.errors import from_status
from fwd_server.web.health import GatewayStatus

OPENAI = Endpoint("openai", "http://up.test", enabled=True, enabled_by="OPENAI_API_KEY")
GOOGLE = Endpoint("google", enabled_by="GOOGLE_API_KEY")
OTHER = Endpoint("other", available=False)


def state(*limited: str) -> GatewayStatus:
    """A gateway whose key of openai has hit the rate limits of these models."""
    clock, routing = FakeClock(), RoutingState()
    routes = Routes({endpoint.provider: endpoint for endpoint in (OPENAI, GOOGLE, OTHER)})
    for model in limited:
        seat = Lane("one", routes.instances["openai"], model).seats[0]
        routing.note_failure(seat, from_status(429, retry_after_s=41.0), clock.monotonic(), stream=False)
    return GatewayStatus(routes, clock, clock.monotonic(), lambda: (), routing)


def test_ready_lists_what_rests() -> None:
    """G10: which model, and for how long."""
    ready = state("gpt-x").ready_view(details=True)
    assert ready["status"] == "ready"
    assert ready["cooling_down"] == [{"provider": "openai", "model": "gpt-x", "key": "OPENAI_API_KEY", "seconds": 41.0}]
    assert [provider["state"] for provider in ready["providers"]] == ["cooling_down", "off", "unavailable"]


def test_strangers_see_one_word() -> None:
    """S14: which providers there are is not everybody's business."""
    assert state("gpt-x").ready_view(details=False) == {"status": "ready"}


def test_the_page_says_what_rests() -> None:
    notes = [provider.note for provider in state("gpt-x", "gpt-y").status_view().providers]
    assert notes == ["gpt-x is cooling down for 41 s and 1 more", "", "not supported by this version"]


def test_a_deployment_and_a_whole_key_rest_in_their_own_words() -> None:
    """G8, F18: three faults rest the deployment, a refused key the key for every model."""
    status = state()
    seat = Lane("one", status.routes.instances["openai"], "").seats[0]
    for error in (from_status(401), *[from_status(500)] * 3):
        status.routing.note_failure(seat, error, status.clock.monotonic(), stream=False)
    assert status.ready_view(details=True)["cooling_down"] == [
        {"provider": "openai", "model": "", "seconds": 10.0},
        {"provider": "openai", "model": None, "key": "OPENAI_API_KEY", "seconds": 60.0},
    ]
    assert status.status_view().providers[0].note == "its own model is cooling down for 10 s and 1 more"


def test_what_is_due_is_up() -> None:
    """No cooldown is shown with 0 s left: the next call may try."""
    status = state("gpt-x")
    cast("FakeClock", status.clock).move(41.0)
    assert status.ready_view(details=True)["cooling_down"] == []
    assert status.status_view().providers[0].note == ""


def test_nothing_rests() -> None:
    assert {provider.note for provider in state().status_view().providers} == {"", "not supported by this version"}
    assert state().ready_view(details=True)["cooling_down"] == []


def test_a_gateway_that_stops_is_unready() -> None:
    """R2: readiness goes first."""
    stopping = state()
    stopping.draining = True
    assert stopping.status_name() == "unready"


# -- a port of their own


@frozen
class Fixed:
    """A gateway that is as it is."""

    lives: bool = True

    def is_alive(self) -> bool:
        return self.lives

    def status_name(self) -> str:
        return "degraded"

    def ready_view(self, *, details: bool) -> Json:
        return {"status": "degraded", "details": details}


async def answer(sock: socket.socket, path: str, more: str = "", *, host: str) -> tuple[int, Any]:
    """Status and JSON of what is answered to a probe."""
    address = sock.getsockname()
    opened = asyncio.open_unix_connection(address) if isinstance(address, str) else asyncio.open_connection(*address)
    reader, writer = await opened
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(body)


def probing(address: Address, readiness: Fixed, *asked: str, host: str = "localhost") -> list[tuple[int, Any]]:
    """What probes are answered; each is a path, and perhaps a header."""

    async def ask() -> list[tuple[int, Any]]:
        (sock,) = listen_at(address)
        async with answer_probes([sock], readiness):
            return [await answer(sock, *one.split(" ", 1), host=host) for one in asked]

    return asyncio.run(ask())


LOOPBACK = Address("127.0.0.1")


def test_only_probes_are_answered_on_their_port() -> None:
    """Not even who shows a key gets further."""
    health, ready, models = probing(LOOPBACK, Fixed(), "/health", "/ready", "/v1/models Authorization: Bearer x\r\n")
    assert health == (200, {"status": "ok"})
    assert ready == (200, {"status": "degraded", "details": True})
    assert (models[0], models[1]["error"]["code"]) == (404, "not_found")


def test_what_is_stuck_does_not_live() -> None:
    """With several workers the parent answers, though none of them might."""
    assert probing(LOOPBACK, Fixed(lives=False), "/health") == [(503, {"status": "hung"})]


@pytest.mark.parametrize(("more", "details"), [("", True), (" X-Forwarded-For: 192.0.2.1\r\n", False)])
def test_a_unix_socket_is_this_machine(tmp_path: Path, more: str, details: bool) -> None:
    """S14: only our own user can open it; behind a proxy anybody may ask."""
    ((_, ready),) = probing(Address(path=tmp_path / "s"), Fixed(), f"/ready{more}")
    assert ready["details"] is details


@pytest.mark.parametrize(("host", "status"), [("localhost", 200), ("evil.test", 421)])
def test_a_port_of_this_machine_alone_is_called_by_its_names(host: str, status: int) -> None:
    """T23: a page rebound to it sends its own name."""
    assert probing(LOOPBACK, Fixed(), "/ready", host=host)[0][0] == status


def test_a_port_for_everybody_is_called_by_any_name() -> None:
    """Probes of an orchestrator know an address and no name."""
    assert probing(Address("0.0.0.0"), Fixed(), "/ready", host="10.1.2.3")[0][0] == 200
