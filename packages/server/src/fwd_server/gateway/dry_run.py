"""What would be sent, without sending it (``x-fwd-dry-run: true``): the plan of a call, request by request."""

from __future__ import annotations

from fwd_server.callers.openai_errors import error_object
from fwd_server.gateway.translation import AnyExchange, Translator
from fwd_server.providers.base import Header, ScriptedResponse
from fwd_server.values.call import Call
from fwd_server.values.chat import Json
from fwd_server.values.deployment import Deployment
from fwd_server.values.errors import Refused
from fwd_server.values.secret import Secret
from fwd_server.wire import jsontext


def describe_plan(translator: Translator, call: Call, plan: tuple[Deployment, ...]) -> Json:
    """The plan, first choice first: for each deployment its exact request, with keys as ``$NAME``, or its refusal."""
    return {
        "object": "fwd.dry_run",
        "plan": [_describe_deployment(translator, call, deployment, plan[0]) for deployment in plan],
    }


def _describe_deployment(translator: Translator, call: Call, deployment: Deployment, first: Deployment) -> Json:
    names = {"provider": deployment.provider, "model": deployment.display_name}
    try:
        images = translator.placeholder_images(call, deployment)
        selected = deployment.provider == first.provider
        translation = translator.translate_call(call, deployment, selected=selected, images=images)
    # A refusal is part of the plan: the caller sees which provider would be skipped, and why.
    except Refused as error:
        return {**names, **error_object(error)}
    dropped, request = list(translation.dropped), _as_shown(deployment, translation.exchange)
    return {**names, "dropped": dropped, "request": request}


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
