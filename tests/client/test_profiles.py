"""Stored addresses and keys: the file, and what of it a client uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd_client import Client, ConfigurationError, Secret
from fwd_client._options import resolve_options
from fwd_client.profiles import (
    Profile,
    Profiles,
    check_profile_name,
    config_path,
    format_profiles,
    load_profiles,
    parse_profiles,
)

KEY = "fwd_0123456789abcdefghijklmnop"
FILE = f"""
# a comment
profile = 'work'   # the default

[profiles.work]  # of the team
url = "https://gw.example/v1"
key = "{KEY}"
model = "openai:gpt-5-mini"
color = "ignored by this version"

[profiles.home]
url = "http://127.0.0.1:8000"
"""

names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.dictionaries(names, st.tuples(texts, texts, texts), max_size=4), names)
def test_what_is_written_is_read_back(values: dict[str, tuple[str, str, str]], default: str) -> None:
    """Whatever a value holds: quotes, backslashes, line ends, #."""
    profiles = Profiles({name: Profile(name, *parts) for name, parts in values.items()}, default)
    assert parse_profiles(format_profiles(profiles)) == profiles


def test_a_file_as_people_write_it() -> None:
    """Comments, both kinds of quotes, and names a later version may know."""
    profiles = parse_profiles(FILE)
    assert profiles.default == "work"
    assert profiles.select(None) == Profile("work", "https://gw.example/v1", KEY, "openai:gpt-5-mini")
    assert profiles.select("home") == Profile("home", "http://127.0.0.1:8000")
    assert KEY not in repr(profiles)


@pytest.mark.parametrize(
    "line", ["url = gw", "[profile]", "[profiles.a b]", "url", 'url = "a" b', 'url = "\\x"', "url = 'a''b'", '"""']
)
def test_a_line_that_cannot_be_read_is_named(line: str) -> None:
    """A file is never half understood; the text of the line may hold a key and is not shown."""
    with pytest.raises(ConfigurationError, match=r"config\.toml, line 2: ") as caught:
        parse_profiles(f"# first\n{line}")
    assert line not in caught.value.message


def test_no_file_and_no_profile() -> None:
    """Without a file there are no profiles; a name that is not stored is an error with the known ones."""
    assert load_profiles(Path("missing/config.toml")) == Profiles()
    assert Profiles().select(None) is None
    with pytest.raises(ConfigurationError, match="'x'; the stored profiles are: home, work"):
        Profiles({"home": Profile("home"), "work": Profile("work")}).select("x")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Said with its path."""
    (tmp_path / "latin").write_bytes(b"\xff")
    for path in (tmp_path, tmp_path / "latin"):
        with pytest.raises(ConfigurationError, match=f"{path} cannot be read: "):
            load_profiles(path)


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CONFIG_HOME, else ~/.config; APPDATA on Windows."""
    monkeypatch.setenv("HOME", "/home/me")
    assert config_path({}) == Path("/home/me/.config/fwd/config.toml")
    assert config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/fwd/config.toml")
    monkeypatch.setattr("sys.platform", "win32")
    assert config_path({"APPDATA": "/roaming"}) == Path("/roaming/fwd/config.toml")


@pytest.mark.parametrize("name", ["", "a b", "ä", "a.b", "x" * 65])
def test_names_of_profiles(name: str) -> None:
    """What could not stand between the brackets is refused."""
    with pytest.raises(ConfigurationError, match="cannot be named"):
        check_profile_name(name)


@pytest.fixture
def stored(tmp_path: Path) -> dict[str, str]:
    """An environment with the file above in its place."""
    path = tmp_path / "xdg" / "fwd" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(FILE)
    return {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}


def shown(env: dict[str, str], **arguments: Any) -> tuple[str, str | None, str, str]:
    options = resolve_options(env, **arguments)
    key = options.key.reveal() if isinstance(options.key, Secret) else None
    return options.base_url, key, options.sources["base_url"], options.sources["api_key"]


def test_the_profile_fills_what_nobody_gave(stored: dict[str, str]) -> None:
    """Argument, environment, profile: for each value on its own."""
    assert shown(stored) == ("https://gw.example", KEY, "profile work", "profile work")
    assert shown({**stored, "FORWARDER_KEY": "fwd_env"})[1:] == ("fwd_env", "profile work", "FORWARDER_KEY")
    assert shown(stored, api_key="fwd_arg")[1:] == ("fwd_arg", "profile work", "api_key=")
    assert shown({**stored, "FWD_PROFILE": "home"})[:2] == ("http://127.0.0.1:8000", None)


def test_a_named_profile_is_an_argument(stored: dict[str, str]) -> None:
    """`profile=` wins over the environment, which FWD_PROFILE does not."""
    env = {**stored, "FORWARDER_URL": "http://env", "FORWARDER_KEY": "fwd_env"}
    assert shown(env, profile="work")[:2] == ("https://gw.example", KEY)
    assert shown({**env, "FWD_PROFILE": "work"})[:2] == ("http://env", "fwd_env")
    assert shown(env, profile="home")[:2] == ("http://127.0.0.1:8000", "fwd_env")
    with pytest.raises(ConfigurationError, match="profile= is 'x'"):
        resolve_options(env, profile="x")
    with pytest.raises(ConfigurationError, match="FWD_PROFILE is 'x'"):
        resolve_options({**stored, "FWD_PROFILE": "x"})


@pytest.mark.parametrize("url", ["https://evil.example", "https://gw.example:444", "http://gw.example"])
def test_a_stored_key_goes_to_its_own_gateway_only(stored: dict[str, str], url: str) -> None:
    """S11: another address, from wherever, does not get it; the same one in another spelling does."""
    assert shown(stored, base_url=url)[1] is None
    assert shown({**stored, "FORWARDER_URL": url})[1] is None
    assert shown(stored, base_url=url, profile="work")[1] is None
    assert shown(stored, base_url="https://gw.example/")[1] == KEY


def test_the_file_is_not_read_where_nothing_is_missing(stored: dict[str, str]) -> None:
    """A broken file breaks only programs that need it."""
    Path(stored["XDG_CONFIG_HOME"], "fwd", "config.toml").write_text("broken")
    shown({**stored, "FORWARDER_URL": "http://env", "FORWARDER_KEY": "k"})
    with pytest.raises(ConfigurationError, match="line 1"):
        shown(stored)


def test_a_client_works_wherever_fwd_does(stored: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`Client()` without arguments and variables uses the stored profile."""
    monkeypatch.setenv("XDG_CONFIG_HOME", stored["XDG_CONFIG_HOME"])
    assert repr(Client()) == "Client(base_url='https://gw.example', api_key=***mnop)"
