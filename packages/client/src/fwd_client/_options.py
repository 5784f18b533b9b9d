"""Where the address, the key and the limits of a client come from.

The rule, for each value on its own: an argument, else the environment, else the stored profile, else the default. A
profile that is named by an argument (`profile="work"`) is an argument itself, and wins over the environment. A stored
key is sent to the address it was stored with and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from attrs import Factory, evolve, field, frozen

from fwd_client._errors import ConfigurationError
from fwd_client.profiles import Profile, config_path, load_profiles

if TYPE_CHECKING:
    from fwd_client._exchange import Retry

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

    `total` bounds the whole call with its retries; `first_token` the time until the first token of a stream, retries
    included (the gateway receives and enforces the nearer of the two); `connect` one connection; `idle` the time a
    stream may be silent (the gateway sends a comment every 15 s). None: no limit.
    """

    total: float | None = field(default=600.0, validator=_above_zero)
    connect: float | None = field(default=5.0, validator=_above_zero)
    idle: float | None = field(default=60.0, validator=_above_zero)
    first_token: float | None = field(default=None, validator=_above_zero)


@frozen
class Options:
    """What one client works with; `sources` tells for each value where it came from."""

    base_url: str
    key: Secret | KeySource | None
    timeout: Timeout = Timeout()
    max_retries: int = 2
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    on_retry: Callable[[Retry], object] | None = field(default=None, repr=False)
    sources: Mapping[str, str] = Factory(dict)

    @property
    def is_loopback(self) -> bool:
        """Whether the gateway is on this machine, where no proxy should stand between."""
        return urlsplit(self.base_url).hostname in _LOOPBACK

    def ask_key(self) -> str | Awaitable[str] | None:
        """The key for the next request; what an async callable gives is still to be awaited."""
        return self.key.reveal() if isinstance(self.key, Secret) else self.key and self.key()


def resolve_options(
    env: Mapping[str, str],
    *,
    base_url: str | None = None,
    api_key: str | KeySource | None = None,
    profile: str | None = None,
    **limits: Any,
) -> Options:
    """Options from arguments, FORWARDER_URL and FORWARDER_KEY, the stored profile, and defaults, in this order.

    The file of profiles is read only where a profile is named, or the address or the key is still missing. Raises
    `ConfigurationError` naming the value and where it came from.
    """
    # Named on purpose, a profile wins over the environment; the default one does not.
    stored = _stored_profile(env, base_url, api_key, profile)
    named = stored if profile else None
    found = Profile("") if stored is None else stored
    label = f"profile {found.name}"
    url, url_source = _first_given(
        ("base_url=", base_url),
        (label, named and named.url),
        ("FORWARDER_URL", env.get("FORWARDER_URL")),
        (label, found.url),
    )
    address = read_url(url or DEFAULT_URL, url_source)
    # A key is stored together with the address that checked it. Sending it to another one would give it away.
    is_its_gateway = bool(found.url) and read_url(found.url, label) == address
    key, key_source = _first_given(
        ("api_key=", api_key),
        (label, named and is_its_gateway and named.key),
        ("FORWARDER_KEY", env.get("FORWARDER_KEY")),
        (label, is_its_gateway and found.key),
    )
    options = Options(
        base_url=address,
        key=read_key(key, key_source),
        sources={"base_url": url_source, "api_key": key_source},
    )
    return override_options(options, **limits)


def _stored_profile(
    env: Mapping[str, str], base_url: str | None, api_key: str | KeySource | None, name: str | None
) -> Profile | None:
    """The profile to use, if one is needed at all: the one named, that of FWD_PROFILE, or the default one."""
    complete = (base_url or env.get("FORWARDER_URL")) and (api_key or env.get("FORWARDER_KEY"))
    # A broken file must not stop a program that does not need it.
    if complete and not name:
        return None
    source, chosen = ("profile=", name) if name else ("FWD_PROFILE", env.get("FWD_PROFILE"))
    return load_profiles(config_path(env)).select(chosen, source)


def _first_given(*candidates: tuple[str, Any]) -> tuple[Any, str]:
    for source, value in candidates:
        # An empty variable is how people unset one in a compose file.
        if value:
            return value, source
    return None, "default"


def override_options(
    options: Options,
    *,
    api_key: str | KeySource | None = None,
    timeout: float | Timeout | None = None,
    max_retries: int | None = None,
    headers: Mapping[str, str] | None = None,
    on_retry: Callable[[Retry], object] | None = None,
) -> Options:
    """The options of one call, or of `with_options()`; None leaves a value as it is."""
    if api_key is not None:
        sources = {**options.sources, "api_key": "api_key="}
        options = evolve(options, key=read_key(api_key, "api_key="), sources=sources)
    if on_retry is not None:
        options = evolve(options, on_retry=on_retry)
    if timeout is not None:
        options = evolve(options, timeout=read_timeout(timeout, options.timeout))
    if max_retries is not None:
        options = evolve(options, max_retries=read_retries(max_retries))
    if headers:
        options = evolve(options, headers={**options.headers, **checked_headers(headers)})
    return options


def for_call(options: Options, params: Mapping[str, Any]) -> Options:
    """The options of one call, with those of its arguments."""
    return override_options(
        options,
        timeout=params.get("timeout"),
        max_retries=params.get("max_retries"),
        headers=params.get("extra_headers"),
    )


def read_url(text: str, source: str) -> str:
    """The gateway's address without `/v1` and trailing slashes; `ConfigurationError` for anything else."""
    parts = _clean_address(text)
    if parts is None:
        raise ConfigurationError(f"{source} is {text!r}, which is not an http or https address.", hint=_URL_HINT)
    # A user or a password would be sent in a header, and printed with the address.
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(f"{source} must not contain a user, a password, ? or #.", hint=_URL_HINT)
    # OpenAI's SDK wants /v1 in its base URL, so people paste it here too.
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _clean_address(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text.strip())
        is_usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # an invalid port or IPv6 address
        return None
    return parts if is_usable else None


_URL_HINT = f"Give the gateway's address, such as {DEFAULT_URL}; /v1 may be left out."


def read_key(key: str | KeySource | None, source: str) -> Secret | KeySource | None:
    """The key as a secret; a callable stays one and is asked before every request."""
    return key if key is None or callable(key) else Secret(checked_key(key, source))


def checked_key(key: str, source: str) -> str:
    """The key without space around it; `ConfigurationError`, which does not show it, if it cannot be in a header."""
    key = key.strip()
    # A line feed from `cat key.txt` would end the header; some HTTP libraries would say so with the key.
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError(f"{source} contains a character that no key has (it is not shown here).")
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
    # Who gives a number means how long they are willing to wait, not how long a connection may take.
    return evolve(base, total=timeout)


def read_retries(count: Any) -> int:
    """A count of retries, 0 or more."""
    if not isinstance(count, int) or count < 0:
        raise ConfigurationError(f"max_retries is {count!r}; it must be a whole number, 0 or more.")
    return count


def missing_key(options: Options) -> ConfigurationError:
    """The error of a call that needs a key and has none; what to do depends on whose gateway it is."""
    advice = (
        "`fwd generate-key` makes one, on the gateway's machine."
        if options.is_loopback
        else f"Ask its operator for one, then store it: `fwd login {options.base_url}`."
    )
    return ConfigurationError(
        f"There is no key for the gateway at {options.base_url}.", hint=f"Set FORWARDER_KEY or pass api_key=. {advice}"
    )
