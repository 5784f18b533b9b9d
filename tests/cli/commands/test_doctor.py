"""``fwd doctor``."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import KEY, FakeGateway, Run


@pytest.fixture(autouse=True)
def nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDER_URL", "http://127.0.0.1:1")


def test_what_is_bad_ends_with_what_mends_it(fwd: Run) -> None:
    """A mark, a name, what is found; exit code 1 as long as something is to be fixed."""
    ended = fwd("doctor")
    lines = ended.out.splitlines()
    assert ended.code == 1
    assert lines[0].startswith("✓ python: 3.")
    assert lines[4:6] == [
        "✗ keys file: there is no keys/forwarder_api_keys.txt: a server started here would refuse every call",
        "    try: fwd generate-key",
    ]


def test_json_is_one_finding_a_line(fwd: Run) -> None:
    """For programs: the same, without the marks."""
    findings = [json.loads(line) for line in fwd("doctor", "--json").out.splitlines()]
    assert findings[0]["name"] == "python"
    assert findings[-1]["fix"].startswith("fwd run-server")


def test_the_profile_in_use_is_named(fwd: Run) -> None:
    """By its name, and with its address; here FORWARDER_URL wins over it."""
    fwd("login", "https://gw.example", "--key", KEY, "--profile", "work", "--no-check")
    lines = fwd("doctor", "--json", "--offline").out.splitlines()
    findings = {found["name"]: found for found in map(json.loads, lines)}
    assert findings["profile"]["detail"].startswith("work (https://gw.example) is not used")
    assert KEY not in str(findings)


def test_all_well_is_exit_code_0(fwd: Run, gateway: FakeGateway) -> None:
    """Notes alone are no reason to fail."""
    gateway.reply = {"status": "ready", "object": "list", "data": []}
    fwd("generate-key")
    ended = fwd("doctor", "--server", gateway.url, "--key", KEY)
    assert ended.code == 0
