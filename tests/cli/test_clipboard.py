"""The clipboard."""

from __future__ import annotations

import io

import pytest

from fwd_cli import clipboard
from fwd_cli.clipboard import copy


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_first_program_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there but fails is passed over."""
    monkeypatch.setattr(clipboard, "PROGRAMS", (("missing",), ("false",), ("not-a-program",), ("cat",)))
    assert copy("text", io.StringIO(), lambda name: None if name == "missing" else name) == "cat"


def test_without_a_program_the_terminal_is_asked() -> None:
    """The text goes as base64: nothing in it can steer the terminal (T25)."""
    terminal = Terminal()
    assert copy("\x1b[2Jü", terminal, lambda name: None) == "the terminal"
    assert terminal.getvalue() == "\x1b]52;c;G1sySsO8\x07"


def test_without_either_there_is_no_way() -> None:
    """And nothing is written."""
    out = io.StringIO()
    assert (copy("x", out, lambda name: None), out.getvalue()) == (None, "")
