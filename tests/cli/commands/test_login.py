"""``fwd login``, and the profiles it stores."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import KEY, FakeGateway, Run, answer

FILE = Path("config/fwd/config.toml")


@pytest.fixture
def stored(gateway: FakeGateway, fwd: Run) -> FakeGateway:
    """A gateway that was logged in to."""
    gateway.reply = {"object": "list", "data": [{"id": "echo:"}]}
    assert fwd("login", gateway.url + "/v1/", "--key", "-", "--model", "echo:x", stdin=KEY + "\n").code == 0
    gateway.reply = answer("Hello.")
    gateway.requests.clear()
    return gateway


def test_the_key_is_checked_and_kept_for_its_owner_alone(stored: FakeGateway, fwd: Run) -> None:
    """S12: 0600 from the first byte on; a wrong key is not stored."""
    if sys.platform != "win32":
        assert stat.S_IMODE(FILE.stat().st_mode) == 0o600
        assert stat.S_IMODE(FILE.parent.stat().st_mode) == 0o700
    before = FILE.read_text()
    stored.status = 401
    stored.reply = {"error": {"message": "No.", "type": "x", "param": None, "code": "invalid_api_key"}}
    ended = fwd("login", stored.url, "--key", "fwd_wrong")
    assert (ended.code, FILE.read_text()) == (4, before)
    assert "fwd_wrong" not in ended.err


def test_a_call_needs_nothing_else(stored: FakeGateway, fwd: Run) -> None:
    """Address, key and model are those of the profile; a flag wins for each on its own."""
    assert fwd("call", "hi").code == 0
    assert fwd("call", "hi", "-m", "other", "-k", "fwd_flag").code == 0
    assert [(request["key"], request["model"]) for request in stored.requests] == [
        (f"Bearer {KEY}", "echo:x"),
        ("Bearer fwd_flag", "other"),
    ]


def test_environment_and_dotenv_win_over_the_profile(
    stored: FakeGateway, fwd: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flag, environment, .env, profile."""
    Path(".env").write_text("FORWARDER_KEY=fwd_dotenv\n")
    fwd("call", "hi")
    monkeypatch.setenv("FORWARDER_KEY", "fwd_env")
    fwd("call", "hi")
    fwd("call", "hi", "--profile", "default")
    assert [request["key"] for request in stored.requests] == ["Bearer fwd_dotenv", "Bearer fwd_env", f"Bearer {KEY}"]


@pytest.mark.parametrize("way", ["flag", "env", "dotenv"])
def test_a_stored_key_is_not_sent_elsewhere(
    stored: FakeGateway, fwd: Run, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """S11: an address from anywhere else, such as the .env of a cloned repository, does not get it."""
    other = "http://127.0.0.1:1"
    if way == "env":
        monkeypatch.setenv("FORWARDER_URL", other)
    if way == "dotenv":
        Path(".env").write_text(f"FORWARDER_URL={other}\n")
    ended = fwd("call", "hi", *(["--server", other] if way == "flag" else []))
    assert ended.code == 4
    assert f"there is no key for the gateway at {other}" in ended.err


def test_several_gateways(stored: FakeGateway, fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one stays the default; FWD_PROFILE and --profile choose another."""
    ended = fwd("login", "https://gw.example", "--key", "fwd_far", "--profile", "far", "--no-check")
    assert "fwd chat --profile far" in ended.err
    assert fwd("call", "hi").code == 0
    monkeypatch.setenv("FWD_PROFILE", "far")
    assert "gw.example" in fwd("call", "hi", "--retries", "0", "--timeout", "0.2").err
    assert fwd("call", "hi", "--profile", "default").code == 0
    ended = fwd("call", "hi", "--profile", "nope")
    assert (ended.code, "'nope'; the stored profiles are: default, far" in ended.err) == (2, True)


def test_what_hides_the_profile_is_said(fwd: Run, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that wins would make the login look broken."""
    monkeypatch.setenv("FORWARDER_URL", "http://other:1")
    ended = fwd("login", gateway.url, "--key", KEY, "--no-check")
    assert "FORWARDER_URL in the environment is http://other:1 and wins over the profile." in ended.err


@pytest.mark.parametrize(
    "args",
    [["nonsense", "-k", KEY], ["http://a", "-k", " "], ["http://a", "-k", KEY, "--profile", "a b"], ["http://a"]],
)
def test_what_cannot_be_stored(fwd: Run, args: list[str]) -> None:
    """An address, a key or a name that is none, and nobody to ask: exit code 2, nothing written."""
    assert fwd("login", *args, "--no-check").code == 2
    assert not FILE.exists()


def test_the_hint_for_a_missing_key_fits_the_gateway(fwd: Run) -> None:
    """Here a key can be made; elsewhere its operator has to be asked."""
    assert "fwd generate-key" in fwd("call", "hi").err
    assert "fwd login https://gw.example" in fwd("call", "hi", "--server", "https://gw.example").err
