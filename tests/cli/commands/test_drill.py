"""``fwd drill``, with the real gateway and stand-ins for the providers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Run

SETTINGS = """\
ANTHROPIC_API_KEY=sk-a
ANTHROPIC_MODEL=claude-haiku-4-5
GOOGLE_API_KEY=sk-g
GOOGLE_MODEL=gemini-2.5-flash
OLLAMA_MODEL=llama3.1
OPENAI_API_KEY=sk-o
PROVIDERS_PRIORITY=anthropic,google,ollama
"""


@pytest.fixture(autouse=True)
def no_real_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC", "GOOGLE", "GROQ", "OPENROUTER", "OLLAMA"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)


def settings(text: str) -> None:
    Path(".env").write_text(text)
    Path(".env").chmod(0o600)


def test_who_steps_in(fwd: Run) -> None:
    """Each provider fails once; the next of the list answers, in its own language."""
    settings(SETTINGS)
    ended = fwd("drill", "--json", "anthropic", "openai")
    scenes = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.code == 0
    assert [(scene["fails"], scene["answered_by"], scene["attempts"]) for scene in scenes] == [
        ("anthropic", "google (gemini-2.5-flash)", 2),
        ("openai", "anthropic (claude-haiku-4-5)", 2),
    ]
    assert scenes[1]["plan"] == ["openai", "anthropic", "google", "ollama"]


def test_ollama_steps_in_too(fwd: Run) -> None:
    """It speaks a language of its own; columns for programs, words for people."""
    settings("OLLAMA_MODEL=llama3.1\nOPENAI_API_KEY=k\nOPENAI_MODEL=m\nPROVIDERS_PRIORITY=openai,ollama\n")
    ended = fwd("drill", "openai", "--status", "429")
    assert ended.out.startswith("openai:m\tollama (llama3.1)\t2\t")
    assert "none was called, and no key was used" in ended.err


def test_nothing_of_the_drill_is_masked(fwd: Run) -> None:
    """The stand-in's key is random, so that no word of its message is taken for the key."""
    settings("OPENAI_API_KEY=k\nOPENAI_MODEL=m\nPROVIDERS_PRIORITY=openai\n")
    ended = fwd("drill")
    assert ended.code == 1
    assert "This stand-in fails as instructed." in ended.err
    assert "***" not in ended.err


def test_nobody_steps_in(fwd: Run) -> None:
    """Exit code 1, what the caller gets, and what would fix it."""
    settings("PROVIDERS_PRIORITY=echo\n")
    ended = fwd("drill")
    assert (ended.code, ended.out.split("\t")[1]) == (1, "nobody")
    assert "When echo fails, the caller gets: echo was asked to fail with status 503." in ended.err
    assert "try: PROVIDERS_PRIORITY=" in ended.err


def test_what_is_not_set_up(fwd: Run) -> None:
    """A name that is none, and no provider at all."""
    nothing = fwd("drill", "groq")
    assert nothing.code == 2
    assert nothing.err.startswith("error: no provider is set up here")
    assert "try: fwd init" in nothing.err
    settings(SETTINGS)
    assert "groq is not set up here; there are: anthropic, google, ollama, openai" in fwd("drill", "groq").err


def test_settings_that_cannot_be_used(fwd: Run) -> None:
    """Nothing is rehearsed."""
    settings("PROVIDERS_PRIORITY=openai\n")
    assert fwd("drill").code == 78
