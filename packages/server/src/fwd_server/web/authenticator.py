"""From the headers of a request to its caller, or to a refusal that tells nothing.

Every refusal is the same to the byte, whatever is wrong with the key (contract S15). After twenty of them in a
minute from one address, further ones are 429; a good key is good from any address at any time (contract T13).
"""

from __future__ import annotations

import functools
import ipaddress
from collections import OrderedDict
from collections.abc import Collection
from typing import Final, Protocol

from attrs import define, field

from fwd_server.clock import Clock
from fwd_server.store.key_set import KeySet, shown
from fwd_server.values.call import Caller
from fwd_server.values.errors import GatewayError, InvalidKey

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_FAILURES: Final = 20
WINDOW_S: Final = 60.0
MOST_ADDRESSES: Final = 100_000


class Keys(Protocol):
    """Whoever holds the keys that are allowed now."""

    @property
    def keys(self) -> KeySet:
        """The keys, swapped as a whole when they change."""
        ...


@define
class Failures:
    """The failures of the last minute by address, for as many addresses as fit."""

    _recent: OrderedDict[str, tuple[float, ...]] = field(factory=OrderedDict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._recent)

    def count(self, peer: str, now: float) -> float | None:
        """Count a failure; the seconds until another one is counted, once there are too many. ``now`` is monotonic."""
        recent = tuple(then for then in self._recent.pop(peer, ()) if now - then < WINDOW_S)
        full = len(recent) >= MOST_FAILURES
        self._recent[peer] = recent if full else (*recent, now)
        if len(self._recent) > MOST_ADDRESSES:
            self._recent.popitem(last=False)
        return WINDOW_S - (now - recent[0]) if full else None


@define
class Authenticator:
    """Decides who is calling."""

    source: Keys
    clock: Clock
    failures: Failures = field(factory=Failures)

    def authenticate(self, authorization: str | None, x_api_key: str | None, peer: str) -> Caller:
        """The owner of the presented key. Raises InvalidKey, or a 429 after too many of these from ``peer``."""
        key = presented_key(authorization, x_api_key)
        entry = self.source.keys.find(key, self.clock.now())
        if entry is None:
            raise self._refusal(peer)
        return Caller(entry.name, shown(key))

    def _refusal(self, peer: str) -> GatewayError:
        wait = self.failures.count(peer, self.clock.monotonic())
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


def presented_key(authorization: str | None, x_api_key: str | None) -> str:
    """The key of a request: ``Authorization`` first, then ``x-api-key``; empty when there is none.

    The word Bearer may be missing, in any case, and surrounded by spaces. Another scheme is not ours to read: a
    proxy on the way may use it, and the key stands in ``x-api-key`` then.
    """
    scheme, _, rest = (authorization or "").strip().partition(" ")
    key = rest.strip() if scheme.lower() == "bearer" else ("" if rest else scheme)
    return key or (x_api_key or "").strip()


def peer_address(remote: str, x_forwarded_for: str | None, trusted: Collection[Network]) -> str:
    """The address a request comes from: the connection's, unless that is a proxy we trust.

    ``X-Forwarded-For`` is read from its end, for each proxy adds to it there: the first address that is not a
    trusted proxy's is the caller's; what stands before it may be made up.
    """
    peer = _address(remote)
    loop_guard = (x_forwarded_for or "").split(",")
    while peer is not None and loop_guard and any(peer in network for network in trusted):
        before = _address(loop_guard.pop())
        if before is None:
            break
        peer = before
    return remote if peer is None else str(peer)


@functools.lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    """An address, with or without port and brackets; an IPv4 address inside IPv6 is itself."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
