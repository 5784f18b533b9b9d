"""``fwd config show``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run


def test_every_value_with_its_source(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment over .env over default; secrets are masked."""
    Path(".env").write_text("FWD_PORT=9000\nOPENAI_API_KEY=sk-secret\nFORWARDER_KEY=fwd_x\nFORWARDER_URL=http://a\n")
    monkeypatch.setenv("FORWARDER_URL", "http://b")
    ended = fwd("config", "show", "--sources")
    rows = [tuple(line.split("\t")) for line in ended.out.splitlines()]
    assert rows[:3] == [
        ("FORWARDER_URL", "http://b", "environment"),
        ("FORWARDER_KEY", "***", ".env"),
        ("FWD_LOG", "", "default"),
    ]
    assert ("FWD_PORT", "9000", ".env line 1") in rows
    assert ("OPENAI_API_KEY", "***", ".env line 2") in rows
    assert ("FWD_HOST", "127.0.0.1", "default") in rows


def test_some_values(fwd: Run) -> None:
    """Without sources only name and value; --json always has all three."""
    assert fwd("config", "show", "FWD_PORT").out == "FWD_PORT\t8000\n"
    (facts,) = map(json.loads, fwd("config", "show", "FWD_PORT", "--json").out.splitlines())
    assert facts == {"name": "FWD_PORT", "value": "8000", "source": "default"}


def test_a_time_of_one_provider(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown when it is set; when it is asked for, too, and empty: the time of all counts."""
    assert "FWD_GROQ_IDLE_TIMEOUT" not in fwd("config", "show").out
    assert fwd("config", "show", "FWD_GROQ_IDLE_TIMEOUT").out == "FWD_GROQ_IDLE_TIMEOUT\t\n"
    monkeypatch.setenv("FWD_GROQ_IDLE_TIMEOUT", "9")
    assert "FWD_GROQ_IDLE_TIMEOUT\t9s\n" in fwd("config", "show").out


def test_a_name_that_is_none(fwd: Run) -> None:
    """With the nearest that is one."""
    assert "did you mean FWD_PORT?" in fwd("config", "show", "fwd_prt").err
    assert "did you mean" not in fwd("config", "show", "zzz").err


def test_a_slip_is_noted(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody reads."""
    monkeypatch.setenv("FWD_PROT", "1")
    assert "note: FWD_PROT is not a setting" in fwd("config", "show").err


@pytest.mark.parametrize(
    ("text", "said"), [("FWD_PORT=x\n", "FWD_PORT"), ("FWD_PORT=x\nFWD_WORKERS=y\n", "and 1 more")]
)
def test_settings_that_cannot_be_used(fwd: Run, text: str, said: str) -> None:
    """Three lines and exit code 78."""
    Path(".env").write_text(text)
    ended = fwd("config", "show")
    assert ended.code == 78
    assert said in ended.err
