"""From the headers of a request to its caller, or to a refusal that tells nothing.

Every refusal is the same to the byte, whatever is wrong with the key (contract S15). After twenty of them in a
minute from one address, further ones are 429; a good key is good from any address at any time (contract T13).
"""

from __future__ import annotations

import base64
import functools
import ipaddress
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, Final, Protocol

from attrs import define, field, frozen

from fwd_server.clock import Clock
from fwd_server.store.key_set import PREFIX, Entry, KeySet, short_id
from fwd_server.values.call import Caller
from fwd_server.values.errors import GatewayError, InvalidKey

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_FAILURES: Final = 20
WINDOW_S: Final = 60.0
MAX_ADDRESSES: Final = 100_000


class KeySource(Protocol):
    """Whoever holds the keys that are allowed now."""

    @property
    def keys(self) -> KeySet:
        """The keys, swapped as a whole when they change."""
        ...


@define
class FailureCounter:
    """The failures of the last minute by address, for as many addresses as fit."""

    _recent: OrderedDict[str, tuple[float, ...]] = field(factory=OrderedDict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._recent)

    def count_failure(self, peer: str, now: float) -> float | None:
        """Count a failure; the seconds until another one is counted, once there are too many. ``now`` is monotonic."""
        # A sliding window: a fixed one would allow twice as many failures around its border.
        recent = tuple(then for then in self._recent.pop(peer, ()) if now - then < WINDOW_S)
        full = len(recent) >= MAX_FAILURES
        self._recent[peer] = recent if full else (*recent, now)
        if len(self._recent) > MAX_ADDRESSES:
            # The address that failed longest ago. A bound is needed, because IPv6 gives one attacker 2**64 addresses.
            self._recent.popitem(last=False)
        return WINDOW_S - (now - recent[0]) if full else None


@frozen(slots=True)
class AuthenticatedKey:
    """The owner of a valid key, and the key set in which it was found."""

    caller: Caller
    entry: Entry = field(repr=False)
    keys: KeySet = field(repr=False)


@define
class Authenticator:
    """Decides who is calling."""

    source: KeySource
    clock: Clock
    failures: FailureCounter = field(factory=FailureCounter)

    def authenticate_caller(self, headers: Mapping[str, Any], peer: str) -> AuthenticatedKey:
        """The owner of the presented key. Raises InvalidKey, or a 429 after too many of these from ``peer``.

        ``headers`` are looked up by lower-case names.
        """
        key, keys = presented_key(headers), self.source.keys
        entry = keys.find(key, self.clock.now())
        # Wrong, unknown, expired and missing keys, and those of another network, are one case here, so their answers
        # cannot differ.
        if entry is None or not entry.rights.allows_address(peer):
            raise self._refuse_key(peer)
        rights = entry.rights
        caller = Caller(
            entry.name,
            short_id(entry.digest),
            entry.id,
            rights.project,
            rights.models,
            rights.needs_user,
            entry.expires,
        )
        return AuthenticatedKey(caller, entry, keys)

    def is_current(self, authenticated: AuthenticatedKey) -> bool:
        """Whether an earlier answer still holds: the very same key set is in force, and the key has not expired.

        A key set is swapped as a whole when anything in it changes, so a revoked key is refused at once (R7, D8).
        """
        return authenticated.keys is self.source.keys and self.clock.now() < authenticated.entry.expires

    def _refuse_key(self, peer: str) -> GatewayError:
        # Only failures are counted, so a good key is never slowed down by somebody behind the same address (contract
        # T13).
        wait = self.failures.count_failure(peer, self.clock.monotonic())
        return InvalidKey() if wait is None else too_many(wait)


def too_many(wait: float) -> GatewayError:
    """The refusal of an address that has tried too many wrong keys."""
    return GatewayError(
        "Too many requests with an incorrect API key from this address. Check the key, and try again later.",
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        retry_after_s=float(-int(-wait // 1)),
        should_retry=False,
    )


# Where programs put a key besides ``Authorization``: Anthropic's, Google's and Azure's SDKs, in this order.
KEY_HEADERS: Final = ("x-api-key", "x-goog-api-key", "api-key")


def presented_key(headers: Mapping[str, Any]) -> str:
    """The key of a request: of several, the first that begins with ``fwd_``, else the first; empty without any.

    Programs keep a stored login beside a configured key, so the first header is not always the one that is meant. No
    other candidate is tried after a failure: that would be two guesses for one.
    """
    candidates = [_authorization_key(headers.get("authorization", ""))]
    candidates += [headers.get(name, "").strip() for name in KEY_HEADERS]
    keys = [key for key in candidates if key]
    return next((key for key in keys if key.startswith(PREFIX)), keys[0] if keys else "")


def has_key(headers: Mapping[str, Any]) -> bool:
    """Whether a request shows any key at all, right or wrong."""
    return "authorization" in headers or any(name in headers for name in KEY_HEADERS)


def _authorization_key(value: str) -> str:
    """The key in ``Authorization``: as Bearer, as the password of Basic, or alone.

    The word Bearer may be in any case and surrounded by spaces. Basic is for programs that only take a URL
    (``https://any:KEY@host``). Another scheme is not ours to read: a proxy on the way may use it.
    """
    scheme, _, rest = value.strip().partition(" ")
    if not rest:
        return "" if scheme.lower() in ("bearer", "basic") else scheme
    if scheme.lower() == "bearer":
        return rest.strip()
    return _basic_password(rest.strip()) if scheme.lower() == "basic" else ""


def _basic_password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except ValueError:  # not base64, or not UTF-8: then it is no key of ours
        return ""


def peer_address(remote: str, x_forwarded_for: str | None, trusted: Collection[Network]) -> str:
    """The address a request comes from: the connection's, unless that is a proxy we trust.

    ``X-Forwarded-For`` is read from its end, because each proxy appends to it: the first address that is not a
    trusted proxy's is the caller's; anything before it may be made up.
    """
    peer = _address(remote)
    hops = (x_forwarded_for or "").split(",")
    while peer is not None and hops and any(peer in network for network in trusted):
        before = _address(hops.pop())
        if before is None:
            break
        peer = before
    return remote if peer is None else str(peer)


def is_trusted_peer(remote: str, trusted: Collection[Network]) -> bool:
    """Whether a connection comes from a proxy that we trust."""
    peer = _address(remote)
    return peer is not None and any(peer in network for network in trusted)


@functools.lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    """An address, with or without port and brackets; an IPv4 address inside IPv6 is itself."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    # One colon separates a port; more of them are an IPv6 address.
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    # A dual-stack socket reports IPv4 callers as ::ffff:a.b.c.d, which no IPv4 network contains.
    return getattr(address, "ipv4_mapped", None) or address
