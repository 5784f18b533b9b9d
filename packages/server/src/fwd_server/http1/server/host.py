"""What a connection needs from its server, and what it tells handlers about its peer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from attrs import frozen
from tornado.httputil import HTTPServerConnectionDelegate

from fwd_server.http1.server.limits import Refusal, ServerLimits

if TYPE_CHECKING:
    from fwd_server.http1.server.connection import Connection


@frozen
class PeerContext:
    """Where a request came from. ``remote_ip`` is empty on a Unix socket."""

    remote_ip: str
    protocol: str
    address_family: int


class ConnectionHost(Protocol):
    """The server, as a connection needs it."""

    application: HTTPServerConnectionDelegate
    limits: ServerLimits
    scratch: memoryview
    flushed: asyncio.Future[None]  # a future that is done, for writes that nobody has to wait for

    def made(self, connection: Connection) -> None:
        """The connection is open."""

    def lost(self, connection: Connection) -> None:
        """The connection's socket is closed."""

    def render_refusal(self, refusal: Refusal, remote_ip: str, *, bodiless: bool) -> bytes:
        """The whole answer to a request that is not handed on, or all but its body."""
