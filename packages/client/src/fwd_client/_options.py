"""Where the address, the key and the limits of a client come from."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from attrs import Factory, evolve, field, frozen

from fwd_client._errors import ConfigurationError

DEFAULT_URL: Final = "http://127.0.0.1:8000"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@frozen(repr=False)
class Secret:
    """A key that never shows itself: its text is `***` and the last four characters of a long one."""

    _value: str

    def reveal(self) -> str:
        """The key itself, for the one header that needs it."""
        return self._value

    def __repr__(self) -> str:
        return f"***{self._value[-4:]}" if len(self._value) >= 24 else "***"

    __str__ = __repr__


KeySource = Callable[[], "str | Awaitable[str]"]


def _above_zero(_: Any, field: Any, seconds: Any) -> None:
    is_number = isinstance(seconds, (int, float))
    if seconds is not None and not (is_number and seconds > 0):
        raise ConfigurationError(f"timeout: {field.name} is {seconds!r}; it must be more than 0 seconds, or None.")


@frozen
class Timeout:
    """Limits of one call, in seconds.

    `total` bounds the whole call with its retries; `first_token` the time until a stream says its first word, retries
    included (the gateway is told of both, and keeps to the nearer one); `connect` one connection; `idle` the time a
    stream may be silent (the gateway sends a comment every 15 s). None: no limit.
    """

    total: float | None = field(default=600.0, validator=_above_zero)
    connect: float | None = field(default=5.0, validator=_above_zero)
    idle: float | None = field(default=60.0, validator=_above_zero)
    first_token: float | None = field(default=None, validator=_above_zero)


@frozen
class Options:
    """What one client knows: `sources` says for each value whether it was an argument, a variable or the default."""

    base_url: str
    key: Secret | KeySource | None
    timeout: Timeout = Timeout()
    max_retries: int = 2
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    sources: Mapping[str, str] = Factory(dict)

    @property
    def is_loopback(self) -> bool:
        """Whether the gateway is on this machine, where no proxy should stand between."""
        return urlsplit(self.base_url).hostname in _LOOPBACK

    def ask_key(self) -> str | Awaitable[str] | None:
        """The key for the next request; what an async callable gives is still to be awaited."""
        return self.key.reveal() if isinstance(self.key, Secret) else self.key and self.key()


def resolve(
    env: Mapping[str, str],
    *,
    base_url: str | None = None,
    api_key: str | KeySource | None = None,
    timeout: float | Timeout | None = None,
    max_retries: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Options:
    """Options from arguments, then FORWARDER_URL and FORWARDER_KEY, then defaults.

    Raises `ConfigurationError` naming the value and where it came from.
    """
    url, url_source = _first(("base_url=", base_url), ("FORWARDER_URL", env.get("FORWARDER_URL")))
    key, key_source = _first(("api_key=", api_key), ("FORWARDER_KEY", env.get("FORWARDER_KEY")))
    options = Options(
        base_url=read_url(url or DEFAULT_URL, url_source),
        key=read_key(key, key_source),
        sources={"base_url": url_source, "api_key": key_source},
    )
    return override(options, timeout=timeout, max_retries=max_retries, headers=headers)


def _first(*candidates: tuple[str, Any]) -> tuple[Any, str]:
    for source, value in candidates:
        if value:
            return value, source
    return None, "default"


def override(
    options: Options,
    *,
    timeout: float | Timeout | None = None,
    max_retries: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Options:
    """The options of one call, or of `with_options()`; None leaves a value as it is."""
    if timeout is not None:
        options = evolve(options, timeout=read_timeout(timeout, options.timeout))
    if max_retries is not None:
        options = evolve(options, max_retries=read_retries(max_retries))
    if headers:
        options = evolve(options, headers={**options.headers, **checked_headers(headers)})
    return options


def for_call(options: Options, params: Mapping[str, Any]) -> Options:
    """The options of one call, with what stands among its arguments."""
    return override(
        options,
        timeout=params.get("timeout"),
        max_retries=params.get("max_retries"),
        headers=params.get("extra_headers"),
    )


def read_url(text: str, source: str) -> str:
    """The gateway's address without `/v1` and trailing slashes; `ConfigurationError` if it is none."""
    parts = _address(text)
    if parts is None:
        raise ConfigurationError(f"{source} is {text!r}, which is not an http or https address.", hint=_URL_HINT)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(f"{source} may not hold a user, a password, ? or #.", hint=_URL_HINT)
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _address(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text.strip())
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return None
    return parts if is_usable else None


_URL_HINT = f"Give the gateway's address, such as {DEFAULT_URL}; /v1 may be left out."


def read_key(key: str | KeySource | None, source: str) -> Secret | KeySource | None:
    """The key as a secret; a callable stays one and is asked before every request."""
    return key if key is None or callable(key) else Secret(checked_key(key, source))


def checked_key(key: str, source: str) -> str:
    """The key without space around it; `ConfigurationError`, which does not show it, if it cannot be in a header."""
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(f"{source} holds a character that no key has (it is not shown here).")
    return key


def checked_headers(headers: Mapping[str, Any]) -> Mapping[str, str]:
    """The headers as they are; `ConfigurationError` if one cannot be sent. Values may be secret and are not shown."""
    for name, value in headers.items():
        if not isinstance(value, str) or not (value.isascii() and value.isprintable() and _TOKEN.fullmatch(name)):
            raise ConfigurationError(f"The header {name!r} needs a name and a text that are printable ASCII.")
    return headers


def read_timeout(timeout: float | Timeout, base: Timeout) -> Timeout:
    """A number is the total; a `Timeout` replaces all of them."""
    if isinstance(timeout, Timeout):
        return timeout
    return evolve(base, total=timeout)


def read_retries(count: Any) -> int:
    """A count of retries, 0 or more."""
    if not isinstance(count, int) or count < 0:
        raise ConfigurationError(f"max_retries is {count!r}; it must be a whole number, 0 or more.")
    return count


def missing_key() -> ConfigurationError:
    """The error of a call that needs a key and has none."""
    return ConfigurationError(
        "There is no key for the gateway.",
        hint="Set FORWARDER_KEY or pass api_key=. `fwd generate-key` on the gateway's machine makes one.",
    )
