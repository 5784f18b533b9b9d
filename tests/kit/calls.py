"""Builders for the values that most server tests begin with."""

from __future__ import annotations

from typing import Any

import orjson

from fwd_server.call import Call, Caller
from fwd_server.dialects.openai_chat import parse_request
from fwd_server.routing import Deployment, Endpoint
from fwd_server.secret import Secret


def make_call(**body: Any) -> Call:
    """A call with ``body`` over a short question; what is not of the body goes to the call."""
    own = {name: body.pop(name) for name in ("strict", "fallback", "deadline_s") if name in body}
    given = {"model": "openai:gpt-x", "messages": [{"role": "user", "content": "Hi"}], **body}
    return Call("req_1", Caller("web"), parse_request(orjson.dumps(given)), **own)


def make_deployment(url: str, provider: str = "openai", model: str = "gpt-x") -> Deployment:
    """A deployment whose endpoint is at ``url``."""
    key = Secret(f"sk-{provider}-canary", f"{provider.upper()}_API_KEY")
    return Deployment(Endpoint(provider, url, key, on=True), model)
