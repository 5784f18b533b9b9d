"""What the doctor looks at."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import KEY, FakeGateway

from fwd_cli import checks
from fwd_cli.child import gateway as running_gateway
from fwd_cli.findings import Finding
from fwd_client.profiles import Profile

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")


def states(findings: list[Finding]) -> list[str]:
    return [finding.state for finding in findings]


def test_everything_is_well_with_a_gateway_that_just_started() -> None:
    """The real server, a real key: nothing to fix, echo is on, the rest says what turns it on."""
    with running_gateway({}) as gateway:
        findings = list(checks.gateway(gateway.url, gateway.key))
    assert "bad" not in states(findings)
    assert Finding("providers", "ok", "on: echo") in findings
    (off,) = (finding.detail for finding in findings if finding.detail.startswith("off"))
    assert "openai (OPENAI_API_KEY)" in off
    assert [finding.name for finding in findings[-2:]] == ["clock", "your key"]


def test_a_key_the_gateway_does_not_know(gateway: FakeGateway) -> None:
    """With the command that makes one."""
    gateway.status = 401
    gateway.reply = {"error": {"message": "No.", "type": "x", "param": None, "code": "invalid_api_key"}}
    with checks.Client(base_url=gateway.url, api_key=KEY) as client:
        (finding,) = checks.your_key(client, KEY)
    assert (finding.state, finding.detail) == ("bad", "No.")
    assert "fwd generate-key" in finding.fix


def test_no_key_at_all(gateway: FakeGateway) -> None:
    """The gateway is looked at all the same."""
    gateway.reply = {"status": "ready"}
    assert states(list(checks.gateway(gateway.url, None))) == ["ok", "ok", "bad"]


def test_a_gateway_that_is_not_ready_tells_what_it_knows(gateway: FakeGateway) -> None:
    """503 is an answer, too: its notices are passed on."""
    gateway.status = 503
    gateway.reply = {
        "status": "unready",
        "degraded": ["no keys"],
        "providers": [{"name": "x", "state": "cooling_down"}],
    }
    first, second, third, *_ = checks.gateway(gateway.url, None)
    assert (first.state, first.detail) == ("bad", f"{gateway.url} is unready")
    assert second == Finding("gateway", "note", "no keys")
    assert third.detail == "x is cooling down: others are tried first"


def test_nobody_there() -> None:
    """One finding, with the command that starts a gateway."""
    (finding,) = checks.gateway("http://127.0.0.1:1", None)
    assert finding.state == "bad"
    assert finding.fix.startswith("fwd run-server")


def test_another_program_on_the_port() -> None:
    """A port that is taken by something else is told apart from one where nobody listens; elsewhere nobody can know."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        (finding,) = checks.port(f"http://127.0.0.1:{taken}")
    assert (finding.state, finding.detail) == ("bad", f"another program listens on {taken}")
    assert list(checks.port(f"http://127.0.0.1:{taken}")) == []
    assert list(checks.port("http://gateway.example")) == []


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three packages of one version are well, others may not fit."""
    assert states(list(checks.versions())) == ["ok"]
    monkeypatch.setattr(checks, "version", lambda name: name)
    (finding,) = checks.versions()
    assert finding.fix == "pip install --upgrade fwd-cli"


def test_clocks() -> None:
    """Half a minute is fine, more is not, and without a date nothing is said."""
    date = "Sun, 22 Nov 2026 14:00:00 GMT"
    assert states(list(checks.clock(date, 1795356000.0))) == ["ok"]
    assert states(list(checks.clock(date, 1795356031.0))) == ["bad"]
    assert list(checks.clock(None, 0.0)) == []


def test_python() -> None:
    """3.10 is the oldest."""
    assert states([*checks.python((3, 9, 20)), *checks.python((3, 10, 0)), *checks.python()]) == ["bad", "ok", "ok"]


def test_settings(tmp_path: Path) -> None:
    """What cannot be used is bad, what looks like a slip is worth a note."""
    path = tmp_path / ".env"
    assert states(list(checks.settings({}, path))) == ["ok"]
    assert states(list(checks.settings({"FWD_PRT": "1"}, path))) == ["ok", "note"]
    path.write_text("FWD_PORT=many\n")
    (finding,) = checks.settings({}, path)
    assert (finding.state, finding.fix) == ("bad", "correct FWD_PORT, then fwd run-server --check")


@POSIX
def test_a_settings_file_that_others_can_read(tmp_path: Path) -> None:
    """It holds keys: only its owner should read it, and nobody else write it."""
    path = tmp_path / ".env"
    assert states(list(checks.dotenv(path))) == ["note"]
    path.touch(mode=0o600)
    assert states(list(checks.dotenv(path))) == ["ok"]
    path.chmod(0o644)
    assert states(list(checks.dotenv(path))) == ["note"]
    path.chmod(0o666)
    (finding,) = checks.dotenv(path)
    assert (finding.state, finding.fix) == ("bad", f"chmod 600 {path}")


def test_keys(tmp_path: Path) -> None:
    """No file, an empty one, one with a broken line, one with a key."""
    path = tmp_path / "keys"
    assert states(list(checks.keys_file(path, needed=True))) == ["bad"]
    assert states(list(checks.keys_file(path, needed=False))) == ["note"]
    path.touch(mode=0o600)
    assert states(list(checks.keys_file(path, needed=True))) == ["bad"]
    path.write_text("fwd_" + "x" * 43 + "\nsha256:half\n")
    assert states(list(checks.keys_file(path, needed=True))) == ["note", "ok"]


WORK = Profile("work", "https://gw.example", KEY)


@pytest.mark.parametrize(
    ("profile", "url", "key", "state", "words"),
    [
        (None, "https://gw.example", KEY, "ok", "none stored"),
        (
            WORK,
            "https://gw.example/v1",
            KEY,
            "ok",
            "work (https://gw.example), with its key",
        ),
        (
            WORK,
            "https://gw.example",
            "fwd_other",
            "note",
            "another key than its own",
        ),
        (
            WORK,
            "http://127.0.0.1:8000",
            KEY,
            "note",
            "work (https://gw.example) is not used",
        ),
    ],
)
def test_the_profile_is_named(profile: Profile | None, url: str, key: str, state: str, words: str) -> None:
    """Which one it is, and why it may not count; never its key (S12)."""
    (finding,) = checks.stored_login(profile, url, key)
    assert (finding.state, words in finding.detail, KEY in finding.detail) == (state, True, False)


def test_only_whoever_runs_the_gateway_is_told_to_make_a_key() -> None:
    """Everybody else has an operator."""
    for url, fix in (
        ("http://127.0.0.1:1", "fwd generate-key"),
        ("https://gw.example", "fwd login https://gw.example"),
    ):
        with checks.Client(base_url=url, api_key="none") as client:
            (finding,) = checks.your_key(client, None)
        assert fix in finding.fix
