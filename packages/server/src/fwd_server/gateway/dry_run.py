"""Dry runs (``x-fwd-dry-run: true``): the plan of a call, request by request, without sending anything."""

from __future__ import annotations

from fwd_server.callers.openai_errors import error_object
from fwd_server.gateway.translation import AnyExchange, Translator, aim_of
from fwd_server.providers.base import Header, ScriptedResponse
from fwd_server.routing.plan import Plan
from fwd_server.routing.table import Seat
from fwd_server.values.call import Call
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import Refused
from fwd_server.values.secret import Secret
from fwd_server.wire import jsontext


def describe_plan(translator: Translator, call: Call, plan: Plan) -> Json:
    """The plan, first choice first: for each deployment its exact request, with keys as ``$NAME``, or its refusal.

    ``key`` is there where a deployment has several; ``skipped`` are providers that would be passed over, ``omitted``
    deployments that are not in the plan, each with the reason.
    """
    entries = [_describe_seat(translator, call, plan, seat) for seat in plan]
    skipped = dict(plan.skipped(None, [seat.target.provider for seat in plan]))
    omitted = [{"deployment": omission.name, "reason": omission.reason} for omission in plan.omissions]
    return {
        "object": "fwd.dry_run",
        "plan": entries,
        **({"skipped": skipped} if skipped else {}),
        **({"omitted": omitted} if omitted else {}),
    }


def _describe_seat(translator: Translator, call: Call, plan: Plan, seat: Seat) -> Json:
    deployment = seat.target
    names = {"provider": deployment.provider, "model": deployment.display_name}
    if len(seat.lane.seats) > 1:
        names["key"] = seat.key.name
    try:
        images = translator.placeholder_images(call, deployment)
        translation = translator.translate_call(call, seat, aim_of(plan, deployment), images)
    # A refusal is part of the plan: the caller sees which provider would be skipped, and why.
    except Refused as error:
        return {**names, **error_object(error)}
    changed = translation.changed_by(translation.exchange)
    more = {"changed": list(changed)} if changed else {}
    return {
        **names,
        "dropped": list(translation.dropped),
        **more,
        "request": _as_shown(deployment, translation.exchange),
    }


def _as_shown(deployment: Deployment, exchange: AnyExchange) -> Json | None:
    """The request as it would go out; None for echo, which sends nothing."""
    request = exchange.request
    if isinstance(request, ScriptedResponse):
        return None
    return {
        "method": request.method,
        "url": deployment.endpoint.base_url.rstrip("/") + request.path,
        "headers": dict(map(_shown_header, request.headers)),
        "body": jsontext.loads(request.body),
    }


def _shown_header(header: Header) -> tuple[str, str]:
    name, value = header
    # Nothing here may reveal a key: a dry run is answered to the caller.
    return name, value.display_text() if isinstance(value, Secret) else value
