"""A guard that lets everybody in, as far as no key is asked for."""

from __future__ import annotations

from fwd_server.clock import SystemClock
from fwd_server.store.key_set import KeySet
from fwd_server.web.authenticator import Authenticator
from fwd_server.web.guard import HostGuard, RequestGuard


class NoKeys:
    """No key is valid, so whoever asks for one is refused."""

    keys = KeySet()


def open_guard(*, bound_to_loopback: bool = False, max_body: int = 1 << 20) -> RequestGuard:
    """A guard without keys."""
    hosts = HostGuard(bound_to_loopback)
    return RequestGuard(hosts, Authenticator(NoKeys(), SystemClock()), lambda remote_ip, headers: remote_ip, max_body)
