"""Every snippet of the README runs as it is written, in order, in one program.

They run against a `FakeGateway` that listens, told beforehand what the snippets with models of their own expect.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import fwd_client
from fwd_client.testing import FakeGateway

README = Path(__file__).parents[2] / "packages" / "client" / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def prepare(gateway: FakeGateway, snippet: str) -> None:
    """What the real gateway's `echo:` models would do of themselves."""
    if "into=City" in snippet:
        gateway.say({"name": "Paris", "people": 2_000_000})
    if "run_tools" in snippet:
        gateway.call_tool("weather", city="Rome")
        gateway.say("Sunny.")
    if "echo:fail" in snippet:
        gateway.fail(429, "rate_limit_exceeded", retry_after="2")


def test_snippets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They run one after the other, and print what they promise."""
    gateway, names = FakeGateway(), dict[str, Any]()
    with gateway.serve() as url:
        monkeypatch.setenv("FORWARDER_URL", url)
        monkeypatch.setenv("FORWARDER_KEY", gateway.key)
        for snippet in SNIPPETS:
            prepare(gateway, snippet)
            exec(compile(snippet, str(README), "exec"), names)
        names["client"].close()
        names["openai"].close()
    said = capsys.readouterr().out
    for words in ("Why is the sky blue?", "One two three", "['a', 'b']", "Paris 2000000", "Sunny. 2", "again in 2.0 s"):
        assert words in said


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
