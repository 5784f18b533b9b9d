"""Every snippet of the README runs as it is written, in order, in one program.

Once against the real gateway with its built-in provider, in a process of its own, and once against `FakeGateway`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fwd_client
from fwd_client.testing import FakeGateway

from .conftest import KEY

README = Path(__file__).parents[2] / "packages" / "client" / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
SAID = ("Why is the sky blue?", "One two three", "['a', 'b']", "again in 2.0 s", "True")


def run(monkeypatch: pytest.MonkeyPatch, url: str, key: str, gateway: FakeGateway | None = None) -> None:
    """Run the snippets one after the other, with the environment pointing at a gateway."""
    monkeypatch.setenv("FORWARDER_URL", url)
    monkeypatch.setenv("FORWARDER_KEY", key)
    names: dict[str, Any] = {}
    for snippet in SNIPPETS:
        if gateway is not None:
            prepare(gateway, snippet)
        exec(compile(snippet, str(README), "exec"), names)
    names["client"].close()
    names["openai"].close()


def prepare(gateway: FakeGateway, snippet: str) -> None:
    """What the real gateway's `echo:` models would do of themselves."""
    if "into=City" in snippet:
        gateway.say({"name": "Paris", "people": 2_000_000})
    if "run_tools" in snippet:
        gateway.call_tool("weather", city="Rome")
        gateway.say("Sunny.")
    if "echo:fail" in snippet:
        gateway.fail(429, "rate_limit_exceeded", retry_after="2")


def test_real(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], real_gateway: Callable[..., str]
) -> None:
    """With the real gateway they print what they promise."""
    run(monkeypatch, real_gateway(), KEY)
    said = capsys.readouterr().out
    assert [words for words in (*SAID, "name 1\n", "Sun in ") if words not in said] == []


def test_fake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the fake one, too."""
    gateway = FakeGateway()
    with gateway.serve() as url:
        run(monkeypatch, url, gateway.key, gateway)
    said = capsys.readouterr().out
    assert [words for words in (*SAID, "Paris 2000000", "Sunny. 2") if words not in said] == []


def test_size() -> None:
    """At most 150 lines, twelve snippets."""
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
    assert len(SNIPPETS) == 12


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_names_are_public(snippet: str) -> None:
    """Nothing private is shown."""
    imported = re.findall(r"^from fwd_client import (.+)$", snippet, re.MULTILINE)
    names = {name.strip() for line in imported for name in line.split(",")}
    assert names <= set(fwd_client.__all__)
