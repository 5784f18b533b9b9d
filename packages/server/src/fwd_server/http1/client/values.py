"""What the HTTP client is told and what it says: origins, timeouts, limits and the one error it raises."""

from __future__ import annotations

from typing import Literal
from urllib.parse import SplitResult, urlsplit

from attrs import frozen

from fwd_server.values.timeouts import Timeouts

__all__ = ["DEFAULT_PORTS", "Code", "Limits", "Origin", "Timeouts", "TransportError"]

Code = Literal[
    "connect_failed",
    "connect_timeout",
    "dns_failed",
    "tls_failed",
    "upstream_reset",
    "upstream_truncated",
    "upstream_timeout",
    "upstream_stalled",
    "bad_response",
    "bad_encoding",
    "too_large",
]
DEFAULT_PORTS = {"http": 80, "https": 443}


class TransportError(Exception):
    """An exchange with an upstream that did not come to a clean end; `code` says how (contract 3c).

    The message names hosts, limits and at most a few escaped bytes, never headers or bodies we sent.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code


@frozen(cache_hash=True)
class Origin:
    """Where an upstream listens: scheme, host (ASCII, without brackets) and port."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Return the origin of a base URL; its path is the caller's affair.

        Raises ValueError, without quoting the URL (it may hold a secret), for anything but an http or https
        URL with a host and without user information.
        """
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("a base URL must not contain a user name or password")
        return cls.of(parts)

    @classmethod
    def of(cls, parts: SplitResult) -> Origin:
        """Return the origin of a URL already split; raises ValueError as `parse` does."""
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ValueError("a base URL starts with http:// or https:// and a host name")
        try:
            host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ValueError("the host of a base URL is not a valid name") from error
        return cls(parts.scheme, host, parts.port or DEFAULT_PORTS[parts.scheme])

    @property
    def authority(self) -> str:
        """Host and port as CONNECT wants them: the port always there, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        """The value of the Host header: without the port where it is the scheme's own."""
        suffix = f":{self.port}"
        return self.authority.removesuffix(suffix) if self.port == DEFAULT_PORTS[self.scheme] else self.authority


@frozen
class Limits:
    """How much of an answer is taken, in bytes unless named otherwise; beyond it the exchange fails.

    `body` counts what arrives after the head, chunk framing included. Reading stops while more than `buffer`
    waits for its reader.
    """

    head: int = 32 * 1024
    header_lines: int = 256
    informational_answers: int = 10
    body: int = 64 * 1024 * 1024
    buffer: int = 64 * 1024
