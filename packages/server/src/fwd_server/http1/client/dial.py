"""From an origin to an open connection: names, addresses, the way through a proxy, TLS."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import os
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, zip_longest
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

from fwd_server.http1.client.answer import parse_head
from fwd_server.http1.client.values import Limits, Origin, Timeouts, TransportError

_STAGGER_S = 0.25  # RFC 8305, 5: the pause before the next address is tried as well
# `getaddrinfo` does not tell how long a record is valid. Ten seconds spare a burst of calls the lookup, and a provider
# that changes its addresses is followed soon.
_KEEP_NAMES_S = 10.0
_KEEP_ALIVE = tuple(  # macOS has another name for the first
    (getattr(socket, name), seconds)
    for name, seconds in (("TCP_KEEPIDLE", 45), ("TCP_KEEPINTVL", 15))
    if hasattr(socket, name)
)

Address = tuple[socket.AddressFamily, Any]
Lookup = Callable[[str, int], Awaitable[Sequence[Address]]]


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts what the system trusts, checks names and speaks TLS 1.2 or newer (T39)."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


@frozen
class Proxies:
    """Through which proxy https origins are reached, and which of them directly."""

    https: Origin | None = None
    authorization: str | None = field(default=None, repr=False)
    bypass: tuple[str, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Proxies:
        """Return what HTTPS_PROXY and NO_PROXY (or their lower-case forms, which win) say.

        Raises ValueError for a proxy that is not reached by http://, without quoting its URL.
        """
        url = env.get("https_proxy") or env.get("HTTPS_PROXY") or ""
        skip = env.get("no_proxy") or env.get("NO_PROXY") or ""
        if not url:
            return cls()
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http":
            raise ValueError("HTTPS_PROXY must be an http:// URL; proxies that use TLS or SOCKS are not supported")
        bypass = tuple(entry.strip().lower() for entry in skip.split(",") if entry.strip())
        return cls(Origin.of(parts), _basic(parts.username, parts.password), bypass)

    def to(self, origin: Origin) -> Origin | None:
        """Return the proxy to use for `origin`, None for none."""
        if origin.scheme != "https" or any(_matches(entry, origin) for entry in self.bypass):
            return None
        return self.https


class Resolver:
    """Looks names up, keeps each answer for seconds, and asks once for any number who wait."""

    def __init__(self, lookup: Lookup | None = None, keep_s: float = _KEEP_NAMES_S) -> None:
        self._lookup = lookup or system_lookup
        self._keep_s = keep_s
        self._kept: dict[tuple[str, int], tuple[float, Sequence[Address]]] = {}
        self._running: dict[tuple[str, int], asyncio.Task[Sequence[Address]]] = {}

    async def resolve(self, origin: Origin, timeout_s: float) -> Sequence[Address]:
        """Return the addresses of an origin, at least one; raises TransportError `dns_failed`."""
        key = (origin.host, origin.port)
        until, addresses = self._kept.get(key, (0.0, ()))
        if until > asyncio.get_running_loop().time():
            return addresses
        task = self._running.get(key) or self._start(key)
        # Not `wait_for`: the timeout of one caller must not cancel the lookup that others wait for.
        await asyncio.wait({task}, timeout=timeout_s)
        if not task.done() or task.cancelled():
            raise TransportError("dns_failed", f"no address for {origin.host} within {timeout_s:g} s")
        return task.result()

    async def aclose(self) -> None:
        """Stop the lookups that run."""
        running = tuple(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _start(self, key: tuple[str, int]) -> asyncio.Task[Sequence[Address]]:
        task = self._running[key] = asyncio.get_running_loop().create_task(self._ask(key))
        task.add_done_callback(lambda task: self._stop(key, task))
        return task

    def _stop(self, key: tuple[str, int], task: asyncio.Task[Sequence[Address]]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # seen, even if everybody who waited has left

    async def _ask(self, key: tuple[str, int]) -> Sequence[Address]:
        host, port = key
        try:
            addresses = await self._lookup(host, port)
        except (OSError, UnicodeError) as error:
            raise TransportError("dns_failed", f"cannot resolve {host}: {error}") from error
        if not addresses:
            raise TransportError("dns_failed", f"no address for {host}")
        self._keep(key, addresses)
        return addresses

    def _keep(self, key: tuple[str, int], addresses: Sequence[Address]) -> None:
        now = asyncio.get_running_loop().time()
        # Expired names go when a new one comes, so this holds no more than what was asked for lately.
        self._kept = {name: kept for name, kept in self._kept.items() if kept[0] > now}
        self._kept[key] = (now + self._keep_s, addresses)


class Dialer:
    """Opens connections."""

    def __init__(self, ssl_context: ssl.SSLContext, proxies: Proxies, resolver: Resolver) -> None:
        self._ssl = ssl_context
        self._proxies = proxies
        self._resolver = resolver

    async def dial(self, origin: Origin, timeouts: Timeouts, protocol: asyncio.BaseProtocol) -> None:
        """Connect `protocol` to `origin`; raises TransportError.

        Cancelled at any point, it leaves no socket behind.
        """
        proxy = self._proxies.to(origin)
        sock = await self._connect(proxy or origin, timeouts.connect_s)
        if proxy is not None:
            with _closed_unless_done(sock):
                await self._tunnel(sock, origin, timeouts.connect_s)
        if origin.scheme == "https":
            await self._start_tls(sock, origin, timeouts.connect_s, protocol)
        else:
            await _hand_over(sock, protocol)

    async def aclose(self) -> None:
        """Stop what runs on its own."""
        await self._resolver.aclose()

    async def _connect(self, origin: Origin, timeout_s: float) -> socket.socket:
        addresses = await self._resolver.resolve(origin, timeout_s)
        try:
            return await connect(interleave(addresses), timeout_s)
        except TimeoutError as error:
            raise TransportError(
                "connect_timeout", f"{origin.authority} did not accept within {timeout_s:g} s"
            ) from error
        except OSError as error:
            # Not the error's own text: asyncio puts the resolved address into it.
            reason = os.strerror(error.errno) if error.errno else error.__class__.__name__
            raise TransportError("connect_failed", f"cannot connect to {origin.authority}: {reason}") from error

    async def _tunnel(self, sock: socket.socket, origin: Origin, timeout_s: float) -> None:
        try:
            await within(timeout_s, open_tunnel(sock, origin, self._proxies.authorization))
        except TimeoutError as error:
            raise TransportError("connect_timeout", f"the proxy did not answer within {timeout_s:g} s") from error
        except OSError as error:
            raise TransportError("connect_failed", "the proxy broke the connection") from error

    async def _start_tls(
        self, sock: socket.socket, origin: Origin, timeout_s: float, protocol: asyncio.BaseProtocol
    ) -> None:
        tls = {"ssl": self._ssl, "server_hostname": origin.host, "ssl_handshake_timeout": timeout_s}
        try:
            await _hand_over(sock, protocol, **tls)
        except ConnectionAbortedError as error:  # what asyncio and uvloop raise for a handshake that takes too long
            raise TransportError("connect_timeout", f"no TLS with {origin.authority} within {timeout_s:g} s") from error
        except OSError as error:
            reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or "connection closed"
            raise TransportError("tls_failed", f"no TLS with {origin.authority}: {reason}") from error


async def system_lookup(host: str, port: int) -> Sequence[Address]:
    """Return what the system's resolver knows, in its order of preference."""
    records = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in records]


def interleave(addresses: Sequence[Address]) -> list[Address]:
    """Return the addresses with their families in turn, beginning with the first one's (RFC 8305, 4)."""
    preferred = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain(*zip_longest(preferred, others)) if address is not None]


async def connect(addresses: Sequence[Address], timeout_s: float) -> socket.socket:
    """Return a socket connected to one of `addresses`, the next tried when one fails or takes 250 ms.

    Raises TimeoutError after `timeout_s`, else the OSError of the last address that failed.
    """
    attempts: list[asyncio.Task[socket.socket]] = []
    try:
        return await _race(deque(addresses), attempts, asyncio.get_running_loop().time() + timeout_s)
    finally:
        for attempt in attempts:  # nothing is awaited here: a second cancellation would lose the winner
            attempt.cancel()
            attempt.add_done_callback(_close_loser)


async def _race(waiting: deque[Address], attempts: list[asyncio.Task[socket.socket]], deadline: float) -> socket.socket:
    """Start attempts, kept in `attempts` until one wins and is taken out."""
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[socket.socket]] = set()
    while True:
        if waiting:
            attempts.append(loop.create_task(_open(waiting.popleft())))
            pending.add(attempts[-1])
        left = deadline - loop.time()
        pause = min(left, _STAGGER_S) if waiting else left
        done, pending = await asyncio.wait(pending, timeout=max(pause, 0), return_when=asyncio.FIRST_COMPLETED)
        # Before the deadline is checked: a connection made in the last moment counts.
        for attempt in done:
            if attempt.exception() is None:
                attempts.remove(attempt)
                return attempt.result()
        if left <= 0:
            raise TimeoutError
        if done and not pending and not waiting:
            # Every address has failed; this raises the error of the last one.
            attempts[-1].result()


async def _open(address: Address) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    with _closed_unless_done(sock):
        sock.setblocking(False)
        _tune(sock)
        await asyncio.get_running_loop().sock_connect(sock, where)
    return sock


def _tune(sock: socket.socket) -> None:
    """Send small writes at once, and keep middleboxes awake while an upstream thinks for minutes."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in _KEEP_ALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, seconds)


def _close_loser(attempt: asyncio.Task[socket.socket]) -> None:
    """Close what an attempt opened before its cancellation could stop it."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _hand_over(sock: socket.socket, protocol: asyncio.BaseProtocol, **tls: Any) -> None:
    """Make a transport of a connected socket; from here on the transport closes it, and nobody else may.

    uvloop gives the descriptor to libuv, but notes only when it returns that the socket object must not close
    it as well. A connection that ends before would leave an object that closes, some time later, a descriptor
    that belongs to somebody else by then.
    """
    loop = asyncio.get_running_loop()
    try:
        await loop.create_connection(lambda: protocol, sock=sock, **tls)
    finally:
        if not isinstance(loop, asyncio.BaseEventLoop):
            sock.detach()


async def open_tunnel(sock: socket.socket, origin: Origin, authorization: str | None) -> None:
    """Ask the proxy at the other end of `sock` for a tunnel to `origin` (RFC 9110, 9.3.6).

    Raises TransportError `connect_failed` when it refuses, OSError when it leaves.
    """
    loop = asyncio.get_running_loop()
    credentials = "" if authorization is None else f"Proxy-Authorization: {authorization}\r\n"
    request = f"CONNECT {origin.authority} HTTP/1.1\r\nHost: {origin.authority}\r\n{credentials}\r\n"
    await loop.sock_sendall(sock, request.encode("latin-1"))
    status = parse_head(await _read_head(sock), Limits()).status
    if not 200 <= status < 300:
        raise TransportError("connect_failed", f"the proxy refused a tunnel to {origin.authority}: {status}")


async def _read_head(sock: socket.socket) -> bytes:
    """Return a head, byte by byte: what follows belongs to TLS. Rare and short enough not to mind."""
    loop, head = asyncio.get_running_loop(), bytearray()
    while not head.endswith(b"\r\n\r\n"):
        byte = await loop.sock_recv(sock, 1)
        if not byte or len(head) >= Limits().head:
            raise ConnectionResetError
        head += byte
    return bytes(head)


async def within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Await `work`, but raise TimeoutError after `seconds`; it has stopped when this returns or raises."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        # False if the work had ended by itself, which then counts more than the time.
        late = task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if late:
        raise TimeoutError
    task.result()


@contextmanager
def _closed_unless_done(sock: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        sock.close()
        raise


def _basic(username: str | None, password: str | None) -> str | None:
    if username is None:
        return None
    pair = f"{unquote(username)}:{unquote(password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")


def _matches(entry: str, origin: Origin) -> bool:
    """Whether a NO_PROXY entry means `origin`: `*`, a domain and all below it, an address or a network."""
    host, port = _split_port(entry)
    if port not in {"", str(origin.port)}:
        return False
    name = host.removeprefix("*").removeprefix(".")
    return entry == "*" or origin.host == name or origin.host.endswith(f".{name}") or _in_network(name, origin.host)


def _split_port(entry: str) -> tuple[str, str]:
    """Split `host:port`; a bare IPv6 address or network has colons, but no port."""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = entry.partition(":")
    return (entry, "") if ":" in port else (host, port)


def _in_network(entry: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
