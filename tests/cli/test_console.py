"""Consoles that guess nothing."""

from __future__ import annotations

import io
import os
import sys

import pytest

from fwd_cli.console import console_on


def test_a_text_is_printed_as_it_is() -> None:
    """No markup, no emoji names, no highlights."""
    out = io.StringIO()
    console_on(out).print("[bold]:smile: 12[/bold]")
    assert out.getvalue() == "[bold]:smile: 12[/bold]\n"


@pytest.mark.parametrize(("variable", "coloured"), [("FORCE_COLOR", True), ("NO_COLOR", False)])
def test_colour_as_asked(monkeypatch: pytest.MonkeyPatch, variable: str, coloured: bool) -> None:
    """The same answer as everywhere in the command."""
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    out = io.StringIO()
    console_on(out).print("x", style="red")
    assert ("\x1b[31m" in out.getvalue()) is coloured


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
def test_the_size_is_the_terminals_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS and LINES may be left over from another window; a terminal that does not know asks Rich."""
    import fcntl
    import struct
    import termios

    monkeypatch.setenv("COLUMNS", "99")
    monkeypatch.setenv("LINES", "98")
    master, slave = os.openpty()
    with open(slave, "w") as out, open(master):
        assert console_on(out).size == (99, 98)
        fcntl.ioctl(out, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
        assert console_on(out).size == (40, 10)
    assert console_on(io.StringIO()).size == (99, 98)
