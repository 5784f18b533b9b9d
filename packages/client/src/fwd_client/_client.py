"""What both clients are, apart from how they wait."""

from __future__ import annotations

import os
import random
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from fwd_client import logging
from fwd_client._exchange import Retry, Send, World
from fwd_client._options import KeySource, Options, Secret, Timeout, checked_key, override_options, resolve_options

C = TypeVar("C", bound="ClientBase[Any]")
H = TypeVar("H")
Limits = tuple[float | None, float | None, float | None, float | None]


class Builder(Protocol):
    """What both kinds of HTTP client have in common."""

    def build_request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = ...,
        headers: Mapping[str, str] | None = ...,
        timeout: Limits = ...,
    ) -> Any:
        """A request to be sent."""


class HttpClient(Builder, Protocol):
    """As much of `httpx.Client` as is used; an httpx2 client, or your own, will do."""

    def send(self, request: Any, *, stream: bool = ...) -> Any:
        """The response, its body unread."""

    def close(self) -> None:
        """Give all connections back."""


class AsyncHttpClient(Builder, Protocol):
    """The same of `httpx.AsyncClient`."""

    async def send(self, request: Any, *, stream: bool = ...) -> Any:
        """The response, its body unread."""

    async def aclose(self) -> None:
        """Give all connections back."""


class TransportBase(ABC, Generic[H]):
    """The HTTP client behind a client, made when it is first needed."""

    def __init__(self, http: H | None, options: Options) -> None:
        self._http = http
        self._is_ours = http is None
        self._options = options
        self._place: object = None
        # Two threads that make the first call must not make two clients.
        self._lock = threading.Lock()

    @abstractmethod
    def _current_place(self) -> object:
        """Where connections that are made now may be used: in this process, or in this event loop."""

    @abstractmethod
    def _new_client(self, settings: Mapping[str, Any]) -> H:
        """An HTTP client of our own."""

    def http(self) -> H:
        """The HTTP client; one of our own is left behind by a fork, and by the end of its event loop."""
        with self._lock:
            # A socket used on both sides of a fork mixes two answers; one of a closed loop never wakes up.
            if self._http is None or (self._is_ours and self._place != self._current_place()):
                self._http, self._place = self._new_client(http_settings(self._options)), self._current_place()
            return self._http

    def own(self) -> H | None:
        """The HTTP client if it was made here and is to be closed here."""
        return self._http if self._is_ours and self._place == self._current_place() else None


class ClientBase(ABC, Generic[H]):
    """Options and their text; what goes over the wire is up to the two subclasses."""

    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | KeySource | None = None,
        profile: str | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        http_client: H | None = None,
        on_retry: Callable[[Retry], object] | None = None,
    ) -> None:
        """Make a client. Nothing is sent, and no HTTP library is loaded, before the first call or `with`.

        Args:
            base_url: address of the gateway, with or without `/v1`. Default: FORWARDER_URL, else the stored profile,
                else http://127.0.0.1:8000.
            api_key: your key for the gateway, or a callable that returns it and is called before every request.
                Default: FORWARDER_KEY, else the stored profile, if it is for this address.
            profile: name of a profile that `fwd login` stored; wins over the environment. Default: FWD_PROFILE, else
                the file's own default.
            timeout: seconds for a whole call with its retries, or a `Timeout`. Default: 600.
            max_retries: how often a failed call is repeated. Default: 2.
            headers: sent with every request.
            http_client: an httpx or httpx2 client to use instead of an own one; it stays yours to close.
            on_retry: called with a `Retry` before every wait, to show it or to count it.

        Raises `ConfigurationError` for a value that cannot be used.
        """
        logging.set_up(os.environ)
        self._options = resolve_options(
            os.environ,
            base_url=base_url,
            api_key=api_key,
            profile=profile,
            timeout=timeout,
            max_retries=max_retries,
            headers=headers,
            on_retry=on_retry,
        )
        self._world = World(time.monotonic, random.random)
        self._is_twin = False
        self._open_transport(http_client)

    @abstractmethod
    def _open_transport(self, http: H | None) -> None:
        """Make the transport, around this HTTP client if there is one."""

    @property
    def base_url(self) -> str:
        """The gateway's address, without `/v1`."""
        return self._options.base_url

    @property
    def options(self) -> Options:
        """What this client works with, and where each value came from."""
        return self._options

    def with_options(
        self: C,
        *,
        api_key: str | KeySource | None = None,
        timeout: float | Timeout | None = None,
        max_retries: int | None = None,
        headers: Mapping[str, str] | None = None,
        on_retry: Callable[[Retry], object] | None = None,
    ) -> C:
        """A client with other options over the same connections; closing it leaves them to the first one.

        Args:
            api_key: another key, as for a web server that calls on behalf of many users.
            timeout: seconds for a whole call with its retries, or a `Timeout`.
            max_retries: how often a failed call is repeated.
            headers: added to those of this client.
            on_retry: called with a `Retry` before every wait.
        """
        twin = object.__new__(type(self))
        vars(twin).update(vars(self))
        twin._options = override_options(
            self._options,
            api_key=api_key,
            timeout=timeout,
            max_retries=max_retries,
            headers=headers,
            on_retry=on_retry,
        )
        # It shares the connections, which are not its own to close.
        twin._is_twin = True
        return twin

    def _report_retry(self, retry: Retry) -> None:
        """Log a wait, and tell the program that asked to know."""
        logging.log_wait(retry)
        if self._options.on_retry is not None:
            self._options.on_retry(retry)

    def __reduce__(self) -> NoReturn:
        name = type(self).__name__
        # Copied connections would be closed by whichever copy goes first.
        raise TypeError(f"{name} cannot be copied or pickled: it holds connections. Make one where it is needed.")

    def __repr__(self) -> str:
        key = self._options.key
        # The repr stands in logs and tracebacks.
        shown = "none" if key is None else repr(key) if isinstance(key, Secret) else "from a callable"
        return f"{type(self).__name__}(base_url={self.base_url!r}, api_key={shown})"


def http_settings(options: Options) -> dict[str, Any]:
    """How an HTTP client of our own is made.

    A gateway on this machine is asked directly, whatever proxies the environment names. Where it speaks plain HTTP
    no certificates are loaded, which takes longer than a call: the context trusts nobody. Where it speaks https, what
    the system trusts and SSL_CERT_FILE count, since its certificate is most likely of one's own making.
    """
    if not options.is_loopback:
        return {"trust_env": True}
    plain = options.base_url.startswith("http:")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else ssl.create_default_context()
    return {"trust_env": False, "verify": context}


def request_of(http: Builder, send: Send, key: str | None) -> Any:
    """The transport's own request for a `Send`, with the key in it."""
    headers = {**send.headers, "authorization": f"Bearer {checked_key(key, 'api_key=')}"} if key else send.headers
    # Writing has the limit of reading: a gateway that takes nothing is as silent as one that says nothing.
    limits = (send.connect_s, send.read_s, send.read_s, send.connect_s)  # connect, read, write, pool
    return http.build_request(send.method, send.url, content=send.body, headers=headers, timeout=limits)


def headers_of(response: Any) -> dict[str, str]:
    """The response's headers with lower-case names."""
    return {name.lower(): value for name, value in response.headers.items()}
