"""The clipboard: by the program the desktop has for it, else by asking the terminal (OSC 52)."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable
from typing import TextIO

PROGRAMS = (
    ("pbcopy",),
    ("wl-copy",),
    ("xclip", "-selection", "clipboard"),
    ("xsel", "--clipboard", "--input"),
    ("clip.exe",),
)
_WITHIN_S = 3


def copy(text: str, terminal: TextIO, find: Callable[[str], str | None] = shutil.which) -> str | None:
    """Put a text into the clipboard; by what, or None when there is no way. The text never steers the terminal."""
    for program in PROGRAMS:
        # A program may be there and fail, such as xclip without a display.
        if find(program[0]) and _run_program(program, text):
            return program[0]
    # The sequence would end up in a file.
    if not terminal.isatty():
        return None
    # OSC 52 reaches the clipboard through SSH; base64 keeps the text from being obeyed.
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    terminal.write(f"\x1b]52;c;{encoded}\x07")
    terminal.flush()
    return "the terminal"


def _run_program(program: tuple[str, ...], text: str) -> bool:
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(  # noqa: S603 - one of PROGRAMS
            program,
            input=text.encode("utf-8", "replace"),
            stdout=quiet,
            stderr=quiet,
            timeout=_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
