"""The entry point: three lines for everything that goes wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.cli.conftest import Run

Start = Callable[..., "subprocess.Popen[str]"]


def test_python_m_is_the_same(start: Start) -> None:
    """`python -m fwd_cli` is `fwd`."""
    out, _ = start("--version").communicate(timeout=20)
    assert out.startswith("fwd ")


def test_a_mistake_is_told_in_three_lines(fwd: Run) -> None:
    """What, why, try; nothing on stdout; exit code 2."""
    ended = fwd("completion", "tcsh")
    assert (ended.code, ended.out) == (2, "")
    assert [line[:6] for line in ended.err.splitlines()] == ["error:", "  why:", "  try:"]


def test_a_traceback_only_for_those_who_ask(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """FWD_LOG=debug shows where it happened."""
    assert "Traceback" not in fwd("call").err
    monkeypatch.setenv("FWD_LOG", "debug")
    assert "Traceback" in fwd("call").err


def test_colour_as_asked(fwd: Run) -> None:
    """Off in a pipe, on when asked for."""
    assert "\x1b" not in fwd("nope").err
    assert "\x1b[31m" in fwd("--color", "always", "nope").err


@pytest.mark.parametrize(("debug", "shown"), [("", False), ("debug", True)])
def test_a_bug_is_told_in_three_lines_too(debug: str, shown: bool) -> None:
    """An error nobody thought of: what to do, and the traceback for those who ask."""
    code = "import sys; from fwd_cli.__main__ import main; main(['--version']); {}['x\\x1b']"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"FWD_LOG": debug}
    )
    assert run.returncode == 1
    assert ("Traceback" in run.stderr) is shown
    assert run.stderr.splitlines()[-3] == "error: fwd made a mistake"


def test_a_character_the_terminal_cannot_show_does_not_end_the_command() -> None:
    """A terminal with a small alphabet gets a question mark."""
    run = subprocess.run(
        [sys.executable, "-m", "fwd_cli", "日本"],
        capture_output=True,
        check=False,
        env={"PYTHONIOENCODING": "latin-1"},
    )
    assert run.returncode == 2
    assert b'fwd call "??"' in run.stderr
