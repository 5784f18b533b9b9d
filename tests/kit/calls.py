"""Builders for the values that most server tests begin with."""

from __future__ import annotations

from typing import Any

import orjson

from fwd_server.callers.openai_chat import parse_request
from fwd_server.values.call import Call, Caller
from fwd_server.values.deployment import Deployment, Endpoint
from fwd_server.values.secret import Secret
from fwd_server.values.timeouts import Timeouts


def make_call(**body: Any) -> Call:
    """A call with ``body`` over a short question; what is not of the body goes to the call."""
    own = {name: body.pop(name) for name in ("strict", "fallback", "deadline_s", "requested_timeouts") if name in body}
    given = {"model": "openai:gpt-x", "messages": [{"role": "user", "content": "Hi"}], **body}
    return Call("req_1", Caller("web"), parse_request(orjson.dumps(given)), **own)


def make_deployment(url: str, provider: str = "openai", model: str = "gpt-x", **times: float) -> Deployment:
    """A deployment whose endpoint is at ``url``; ``times`` are those of Timeouts."""
    key = Secret(f"sk-{provider}-canary", f"{provider.upper()}_API_KEY")
    timeouts = Timeouts(**{"connect_s": 0.5, "idle_s": 5.0, **times})
    return Deployment(Endpoint(provider, url, key, enabled=True, timeouts=timeouts), model)
