"""Request headers that several providers share, made from the configuration alone."""

from __future__ import annotations

from fwd_server.providers.base import Header
from fwd_server.values.deployment import Endpoint


def headers(endpoint: Endpoint, *auth: Header) -> tuple[Header, ...]:
    """The headers of every call, made from the configuration alone (contract T18)."""
    configured = ((name.lower(), value) for name, value in endpoint.headers)
    return (("content-type", "application/json"), *auth, *configured)


def bearer(endpoint: Endpoint) -> tuple[Header, ...]:
    """The key as a bearer token, if there is one."""
    return (("authorization", endpoint.key.after("Bearer ")),) if endpoint.key else ()
