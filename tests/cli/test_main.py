"""The entry point: three lines for everything that goes wrong."""

from __future__ import annotations

import io
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from fwd_cli.__main__ import interrupted, leave_closed_pipe, replace_unencodable, show_bug

Start = Callable[..., "subprocess.Popen[str]"]


def test_python_m_is_the_same(start: Start) -> None:
    """`python -m fwd_cli` is `fwd`."""
    out, _ = start("--version").communicate(timeout=20)
    assert out.startswith("fwd ")


def test_the_module_is_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as a module, it ends the interpreter with its code."""
    monkeypatch.setattr(sys, "argv", ["fwd", "--version"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.delitem(sys.modules, "fwd_cli.__main__")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("fwd_cli", run_name="__main__")
    assert ended.value.code == 0


def test_a_mistake_is_told_in_three_lines(fwd: Run) -> None:
    """What, why, try; nothing on stdout; exit code 2."""
    ended = fwd("completion", "tcsh")
    assert (ended.code, ended.out) == (2, "")
    assert [line[:6] for line in ended.err.splitlines()] == ["error:", "  why:", "  try:"]


@pytest.mark.parametrize(
    ("args", "path"),
    [
        (["call", "--model"], "fwd call"),
        (["--color", "never", "call", "hi", "-m"], "fwd call"),
        (["keys", "revoke", "web", "--keys-file"], "fwd keys revoke"),
        (["keys", "nope"], "fwd keys"),
        (["--color"], "fwd"),
        (["models", "--nope"], "fwd models"),
    ],
)
def test_the_hint_names_the_command_that_was_meant(fwd: Run, args: list[str], path: str) -> None:
    """Whatever is wrong with the options, usage and help are those of the innermost command on the line."""
    ended = fwd(*args)
    assert ended.code == 2
    _, usage, help_ = ended.err.splitlines()[-3:]
    assert usage.startswith(f"  why: usage: {path} ")
    assert help_ == f"  try: {path} --help"


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
    assert run.stderr.splitlines()[-3] == "error: this is a bug in fwd"


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


def test_ctrl_c_is_130_and_says_nothing(fwd: Run) -> None:
    """An interrupted command is not a mistake."""

    class Interrupting(io.StringIO):
        def read(self, size: int | None = -1) -> str:
            raise KeyboardInterrupt

    ended = fwd("call", "-", stdin=Interrupting())
    assert (ended.code, ended.out, ended.err) == (130, "", "")


def test_on_a_terminal_the_prompt_does_not_stand_behind_the_ctrl_c() -> None:
    """A terminal shows ^C itself; the line is ended."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    said = Terminal()
    assert interrupted(said) == 130
    assert said.getvalue() == "\n"


def test_a_closed_pipe_is_replaced_by_nothing(tmp_path: Path) -> None:
    """Whatever is still buffered goes where it does no harm."""
    receiving, sending = os.pipe()
    os.close(receiving)
    with open(sending, "w") as pipe:
        pipe.write("unread")
        assert leave_closed_pipe(pipe) == 0
        pipe.flush()


def test_a_stream_that_cannot_be_set_up_is_left_alone() -> None:
    """Embedders put all kinds of things in the place of the standard streams."""
    replace_unencodable(io.StringIO(), io.TextIOWrapper(io.BytesIO()))


def test_completion_is_answered_by_the_same_entry_point(fwd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell calls fwd with a variable set."""
    monkeypatch.setenv("_FWD_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "fwd generate-key --na")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert fwd().out == "plain,--name\n"


@pytest.mark.parametrize("debug", ["", "debug"])
def test_a_bug_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, debug: str) -> None:
    """The hook for what nobody thought of."""
    monkeypatch.setenv("FWD_LOG", debug)
    show_bug(KeyError, KeyError("x"), None)
    said = capsys.readouterr().err.splitlines()
    assert said[-3:-1] == ["error: this is a bug in fwd", "  why: KeyError: 'x'"]
    assert (len(said) > 3) is bool(debug)


def test_a_broken_pipe_inside_a_command_ends_quietly(fwd: Run) -> None:
    """Wherever it happens."""

    class Closed(io.StringIO):
        def read(self, size: int | None = -1) -> str:
            raise BrokenPipeError

    with open(os.devnull, "w") as out, redirect_stdout(out):
        ended = fwd("call", "-", stdin=Closed())
    assert (ended.code, ended.err) == (0, "")
