"""Plans out of deployments, and plans of names as they are written."""

from __future__ import annotations

from collections.abc import Sequence

from fwd_server.routing.needs import Ask
from fwd_server.routing.plan import Plan
from fwd_server.routing.planner import Routes, make_plan, single_key
from fwd_server.routing.state import RoutingState
from fwd_server.routing.table import Instance, Lane, PublicModel
from fwd_server.values.deployment import Deployment


def plan_of(deployments: Sequence[Deployment], state: RoutingState, now: float, *, chosen: bool = True) -> Plan:
    """A plan that tries these in this order. ``chosen``: the caller named the first one's model."""
    lanes = tuple(Lane(one.name, Instance(one.provider, (single_key(one.endpoint),)), one.model) for one in deployments)
    model = PublicModel("m", lanes, balance="order", chosen=chosen)
    return Plan(model, Ask(), now, 1, Routes({}), state)


def written_plan(routes: Routes, model: str | None, *, fallback: bool = True) -> tuple[Deployment, ...]:
    """The deployments that a name may reach, first choice first. Raises what ``make_plan`` raises."""
    return make_plan(routes, model, Ask(fallback=fallback), RoutingState(), 0.0, 0).deployments()
