"""Request headers that several providers share, made from the configuration alone."""

from __future__ import annotations

from fwd_server.providers.base import Header
from fwd_server.values.deployment import Endpoint
from fwd_server.values.provider_info import provider_info


def request_headers(endpoint: Endpoint, *auth: Header) -> tuple[Header, ...]:
    """The headers of every call, made from the configuration alone (contract T18)."""
    configured = ((name.lower(), value) for name, value in endpoint.headers)
    return (("content-type", "application/json"), *auth, *configured)


def key_header(endpoint: Endpoint) -> tuple[Header, ...]:
    """The key in the header that this provider reads it from; nothing if there is no key."""
    return provider_info(endpoint.provider).auth.build(endpoint.key)
