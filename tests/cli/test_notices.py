"""Words for people."""

from __future__ import annotations

import io
import os

import pytest

from fwd_cli import notices
from fwd_cli.errors import Failure
from fwd_cli.notices import aside, lines_of, three_lines


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of twenty columns."""
    monkeypatch.setattr(notices, "_terminal_width", lambda stream: 20)


def test_in_a_pipe_a_line_is_a_line() -> None:
    """However long."""
    assert lines_of("word " * 99, stream=io.StringIO()) == ["word " * 99]


@pytest.mark.usefixtures("narrow")
def test_words_and_facts_stay_whole() -> None:
    """Lines are broken between them; what is too long for any line is left to the terminal."""
    assert lines_of("model via openai · 0.31 s · 8→2 tok") == ["model via openai ·", "0.31 s · 8→2 tok"]
    assert lines_of("error: a-word-that-is-much-too-long for it", "  ") == [
        "error:",
        "  a-word-that-is-much-too-long",
        "  for it",
    ]


@pytest.mark.usefixtures("narrow")
def test_three_lines_are_indented(capsys: pytest.CaptureFixture[str]) -> None:
    """So that the labels stand out; what a provider said cannot steer the terminal (T25)."""
    three_lines(Failure("it went wrong \x1b[2J", "for reasons that are long", "again"))
    aside("and a \x07word")
    assert capsys.readouterr().err == (
        "error: it went wrong\n  why: for reasons\n       that are long\n  try: again\nand a word\n"
    )


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for each time: windows change."""

    class Terminal(io.StringIO):
        def fileno(self) -> int:
            return 7

    monkeypatch.setattr(notices.os, "get_terminal_size", lambda number: os.terminal_size((30, number)))
    assert lines_of("word " * 7, stream=Terminal()) == ["word word word word word word", "word"]
