"""What is checked from the head of a request, before anything of its body is kept (contract T4, T23, S3).

One guard for calls and for every other request: the checks run on the very head that is served, so nothing can be
decided about another request than the one that is answered.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from attrs import Factory, frozen

from fwd_server.callers.base import CallHead
from fwd_server.observe import log
from fwd_server.values.call import Caller
from fwd_server.values.errors import BadRequest, GatewayError
from fwd_server.web.admission import AdmissionController
from fwd_server.web.authenticator import AuthenticatedKey, Authenticator
from fwd_server.web.call_options import CallOptions
from fwd_server.web.cors import CorsPolicy

# Looked up by lower-case names: a plain dict of our own server, or Tornado's HTTPHeaders.
HeaderMap = Mapping[str, Any]
PeerOf = Callable[[str, HeaderMap], str]

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]{1,253})(?::(\d{1,5}))?", re.IGNORECASE)
_LOOPBACK_NAMES: Final = frozenset({"localhost", "ip6-localhost"})


@frozen
class HostGuard:
    """Which Host values are ours (T23: a page rebound to this address still sends its own name).

    Bound to loopback, the loopback names are; ``allowed`` adds names, and switches the check on for any other
    address (in lower case).
    """

    bound_to_loopback: bool
    allowed: frozenset[str] = frozenset()

    def check_host(self, host: str | None) -> None:
        """Raises BadRequest: 400 for no or no valid Host, 421 for one that is not ours."""
        match = _HOST.fullmatch(host or "")
        if match is None or int(match[2] or 0) > 65_535:
            raise BadRequest("The request needs exactly one valid Host header.", code="host_not_allowed")
        # "localhost." is the same host, with the root spelled out.
        name = match[1].lower().rstrip(".")
        if name in self.allowed or (self.bound_to_loopback and is_loopback(name)):
            return
        if self.bound_to_loopback or self.allowed:
            raise BadRequest(
                f"This gateway does not accept the host {name!r}. Add it to FWD_ALLOWED_HOSTS if it should.",
                status=421,
                code="host_not_allowed",
            )


# Called for every request, with the few hosts and addresses that are in use.
@functools.lru_cache(maxsize=4096)
def is_loopback(host: str) -> bool:
    """Whether a host, as a name or an address, can only be this machine."""
    if host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class RequestContext(msgspec.Struct, frozen=True):
    """Who sent a request, as checked from its head. ``caller`` is None where no key was needed."""

    id: str
    peer: str = ""
    caller: Caller | None = None
    local: bool = False
    cors: tuple[tuple[str, str], ...] = ()


class CheckedHead(msgspec.Struct, frozen=True):
    """What came of the head of a call; may be used again for the same bytes on the same connection.

    Only what can change while the connection lives is checked again: the key set, the key's expiry, the length of the
    body, and whether there is room.
    """

    authenticated: AuthenticatedKey
    peer: str
    options: CallOptions | GatewayError
    request_id: str | None
    cors: tuple[tuple[str, str], ...]
    head: CallHead


@frozen
class RequestGuard:
    """What every request must pass. ``max_body`` is in bytes."""

    hosts: HostGuard
    authenticator: Authenticator
    peer_of: PeerOf
    max_body: int
    admission: AdmissionController = Factory(AdmissionController)
    cors: CorsPolicy = Factory(CorsPolicy)

    def peer_address(self, remote_ip: str, headers: HeaderMap) -> str:
        """Where a request comes from. Raises GatewayError."""
        try:
            return self.peer_of(remote_ip, headers)
        except Exception as error:
            raise _authentication_crashed(error) from error

    def check_request(self, headers: HeaderMap, peer: str, *, needs_key: bool) -> AuthenticatedKey | None:
        """The caller; None if no key is needed. Raises GatewayError for the first problem.

        Whoever needs a key is turned away even before the key is looked at when there is no room (R3): that costs
        least.
        """
        self.hosts.check_host(headers.get("host"))
        if not needs_key:
            return None
        # Room comes first: hashing keys for calls that are refused anyway would make an overload worse.
        self.admission.check_room(self.body_bound(headers))
        try:
            return self.authenticator.authenticate_caller(headers, peer)
        except GatewayError:
            raise
        except Exception as error:
            raise _authentication_crashed(error) from error

    def check_body(self, headers: HeaderMap, *, json: bool) -> None:
        """Raises BadRequest for a body that cannot be read: compressed, too large, or not JSON where that is needed.

        A ``Content-Encoding`` without entries is none (RFC 9110, 8.4): some clients send it empty.
        """
        if headers.get("content-encoding", "").strip(" \t,").lower() not in ("", "identity"):
            raise BadRequest("The body must not be compressed.", status=415, code="unsupported_media_type")
        if json:
            check_content_type(headers)
        self.check_length(int(headers.get("content-length") or 0))

    def check_length(self, length: int) -> None:
        """Raises BadRequest (413) for a body that is too large."""
        if length > self.max_body:
            raise too_large(self.max_body)

    def body_bound(self, headers: HeaderMap) -> int:
        """How long the body of a request can be, in bytes."""
        # A chunked body does not state its length, so the largest one is assumed.
        if "transfer-encoding" in headers:
            return self.max_body
        return min(int(headers.get("content-length") or 0), self.max_body)


def check_content_type(headers: HeaderMap) -> None:
    """Raises BadRequest (415) for a body that does not claim to be JSON."""
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise BadRequest(
            f"The content type must be application/json, not {media[:80]!r}.", status=415, code="unsupported_media_type"
        )


def _authentication_crashed(error: Exception) -> GatewayError:
    """Log an authentication crash by type and traceback only; the message may contain the key (S5)."""
    bug = RuntimeError(type(error).__name__)
    log.app.error("Bug: a key could not be checked.", exc_info=(RuntimeError, bug, error.__traceback__))
    return GatewayError("The key cannot be checked at the moment.", 503, code="internal")


def too_large(limit: int) -> BadRequest:
    """A body over the limit."""
    return BadRequest(
        f"The body is larger than {limit} bytes, the maximum of this gateway.", status=413, code="request_too_large"
    )
