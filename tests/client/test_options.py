"""Address, key and limits."""

from __future__ import annotations

from typing import Any

import pytest

from fwd_client import ConfigurationError, Secret, Timeout
from fwd_client._options import for_call, missing_key, override_options, resolve_options

KEY = "fwd_0123456789abcdefghijklmnop"


def test_arguments_win() -> None:
    """An argument beats the environment, and each value says where it came from."""
    options = resolve_options({"FORWARDER_URL": "http://env", "FORWARDER_KEY": KEY}, base_url="http://arg")
    assert options.base_url == "http://arg"
    assert options.sources == {"base_url": "base_url=", "api_key": "FORWARDER_KEY"}


def test_defaults() -> None:
    """Without anything: this machine, no key, two retries."""
    options = resolve_options({"FORWARDER_KEY": ""})
    assert (options.base_url, options.key, options.max_retries) == ("http://127.0.0.1:8000", None, 2)
    assert options.timeout == Timeout(600.0, 5.0, 60.0)


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", " http://h:1/v1/ "])
def test_address_forms(url: str) -> None:
    """With or without `/v1` and slashes, the address is the same."""
    assert resolve_options({}, base_url=url).base_url == "http://h:1"


def test_address_with_a_path() -> None:
    """A gateway may live below a path."""
    assert resolve_options({}, base_url="https://h/llm/v1/").base_url == "https://h/llm"


@pytest.mark.parametrize(
    "url", ["h:1", "ftp://h", "http://", "http://u:p@h", "http://h?x=1", "http://h#f", "http://h:x", "http://[::1"]
)
def test_bad_address(url: str) -> None:
    """An address that cannot be one is refused, naming where it came from."""
    with pytest.raises(ConfigurationError, match="FORWARDER_URL"):
        resolve_options({"FORWARDER_URL": url})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_loopback(host: str) -> None:
    """This machine is known as such: no proxy stands between."""
    assert resolve_options({}, base_url=f"http://{host}:8000").is_loopback
    assert not resolve_options({}, base_url="http://example.com").is_loopback


def test_secret_never_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """S12: a key's text is stars and, if it is long, its last four characters."""
    options = resolve_options({}, api_key=KEY)
    print(options, repr(options), Secret("short"), f"{options.key}")
    assert KEY not in capsys.readouterr().out
    assert (repr(Secret(KEY)), str(Secret("short"))) == ("***mnop", "***")


@pytest.mark.parametrize("key", ["fwd_ä", "fwd_a b", "fwd_\x00"])
def test_bad_key(key: str) -> None:
    """A key no header can hold is refused without being shown."""
    with pytest.raises(ConfigurationError) as caught:
        resolve_options({}, api_key=key)
    assert key not in str(caught.value)


def test_key_is_stripped() -> None:
    """The line end that `$(cat file)` leaves or a paste brings is not part of a key."""
    key = resolve_options({}, api_key=f" {KEY}\n").key
    assert isinstance(key, Secret)
    assert key.reveal() == KEY


def test_callable_key_stays() -> None:
    """A callable is kept and asked later."""
    assert resolve_options({}, api_key=lambda: KEY).key() == KEY  # type: ignore[operator,misc]


def test_override() -> None:
    """A number is the whole call's time; a `Timeout` replaces all three; headers add up."""
    base = resolve_options({}, headers={"a": "1"}, timeout=Timeout(connect=1))
    options = override_options(base, timeout=9, max_retries=0, headers={"b": "2"})
    assert (options.timeout, options.max_retries) == (Timeout(9.0, 1, 60.0), 0)
    assert options.headers == {"a": "1", "b": "2"}
    assert for_call(base, {}) == base


@pytest.mark.parametrize(
    "bad",
    [
        {"timeout": 0},
        {"timeout": -1.5},
        {"timeout": float("nan")},
        {"timeout": "5"},
        {"max_retries": -1},
        {"max_retries": "1"},
    ],
)
def test_bad_limits(bad: dict[str, Any]) -> None:
    """Limits that make no sense are refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        resolve_options({}, **bad)


@pytest.mark.parametrize("name", ["total", "connect", "idle", "first_token"])
def test_bad_timeout(name: str) -> None:
    """Each limit is more than 0 seconds, or None."""
    assert getattr(Timeout(**{name: None}), name) is None
    with pytest.raises(ConfigurationError, match=f"{name} is 0"):
        Timeout(**{name: 0})


@pytest.mark.parametrize("headers", [{"a b": "1"}, {"a": "1\r\nb: 2"}, {"a": "ä"}, {"a": 1}, {"": "1"}])
def test_bad_headers(headers: Any) -> None:
    """A header that cannot be sent is refused by name, before anything goes out; its value is not shown."""
    with pytest.raises(ConfigurationError, match="The header") as caught:
        for_call(resolve_options({}), {"extra_headers": headers})
    assert repr(next(iter(headers.values()))) not in str(caught.value)


def test_key_to_send() -> None:
    """The key of the next request: the text behind the secret, what the callable gives, or none."""
    asked = [resolve_options({}, api_key=key).ask_key() for key in ("k", lambda: "called", None)]
    assert asked == ["k", "called", None]


@pytest.mark.parametrize(
    ("url", "advice"), [("http://localhost:8000", "fwd generate-key"), ("https://gw.example", "fwd login https://gw.")]
)
def test_what_to_do_without_a_key_depends_on_whose_gateway_it_is(url: str, advice: str) -> None:
    """Nobody can make a key for a gateway that somebody else runs."""
    assert advice in str(missing_key(resolve_options({}, base_url=url)))
