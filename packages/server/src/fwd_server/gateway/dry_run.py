"""What would be sent, without sending it (``x-fwd-dry-run: true``): the plan of a call, request by request."""

from __future__ import annotations

import orjson

from fwd_server.callers.openai_errors import error_object
from fwd_server.gateway.fallback import AnyExchange, Coordinator
from fwd_server.providers.base import Header, ScriptedResponse
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import Refused
from fwd_server.values.record import CallRecord
from fwd_server.values.secret import Secret


def describe_plan(coordinator: Coordinator, record: CallRecord, plan: tuple[Deployment, ...]) -> Json:
    """The plan, first choice first: for each deployment its exact request, with keys as ``$NAME``, or its refusal."""
    return {"object": "fwd.dry_run", "plan": [_step(coordinator, record, deployment, plan[0]) for deployment in plan]}


def _step(coordinator: Coordinator, record: CallRecord, deployment: Deployment, first: Deployment) -> Json:
    who = {"provider": deployment.provider, "model": deployment.display_name}
    try:
        images = coordinator.stand_ins(record, deployment)
        selected = deployment.provider == first.provider
        exchange, behind = coordinator.open(record, deployment, selected=selected, images=images)
    except Refused as error:
        return {**who, **error_object(error)}
    return {**who, "dropped": [*exchange.dropped, *behind], "request": _shown(deployment, exchange)}


def _shown(deployment: Deployment, exchange: AnyExchange) -> Json | None:
    """The request as it would go out; None for echo, which sends nothing."""
    request = exchange.request
    if isinstance(request, ScriptedResponse):
        return None
    return {
        "method": request.method,
        "url": deployment.endpoint.base_url.rstrip("/") + request.path,
        "headers": dict(map(_header, request.headers)),
        "body": orjson.loads(request.body),
    }


def _header(header: Header) -> tuple[str, str]:
    name, value = header
    return name, value.shown() if isinstance(value, Secret) else value
