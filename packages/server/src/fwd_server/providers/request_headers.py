"""Request headers that several providers share, made from the configuration alone."""

from __future__ import annotations

from fwd_server.providers.base import Header
from fwd_server.values.cloud_token import CloudToken
from fwd_server.values.deployment import Endpoint


def request_headers(endpoint: Endpoint, *auth: Header) -> tuple[Header, ...]:
    """The headers of every call, made from the configuration alone (contract T18)."""
    configured = ((name.lower(), value) for name, value in endpoint.headers)
    return (("content-type", "application/json"), *auth, *configured)


def json_headers(endpoint: Endpoint) -> tuple[Header, ...]:
    """The headers of every call to an endpoint, its key included: made once, and the very same object every time."""
    kept: tuple[Header, ...] | None = endpoint.prepared.get(json_headers)
    if kept is None:
        kept = endpoint.prepared[json_headers] = request_headers(endpoint, *key_header(endpoint))
    return kept


def key_header(endpoint: Endpoint) -> tuple[Header, ...]:
    """The key in the header that this provider reads it from; nothing if there is no key.

    A token of a cloud is a Bearer token wherever it goes, also where there is none yet: then nothing can be sent.
    """
    if isinstance(endpoint.key, CloudToken):
        return (("authorization", endpoint.key.with_prefix("Bearer ")),)
    return endpoint.info.auth.header_pair(endpoint.key)
