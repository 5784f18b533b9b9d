"""What is typed while an answer is being written: kept off the screen, and kept for the next reader.

A terminal shows typed keys by itself. While we redraw lines, an Enter would scroll them away and leave stale copies.
And in its usual mode a terminal turns Enter into a line feed and hands over whole lines; the prompt of `fwd chat` would
take that line feed for "begin a new line", and a message typed ahead would be glued to the next one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

if sys.platform != "win32":  # whose console has no such modes
    import termios


@contextmanager
def hold_keys(terminal: TextIO, *, for_prompt: bool = False) -> Iterator[None]:
    """Inside this block the terminal does not show what is typed; Ctrl-C still interrupts.

    ``for_prompt`` also hands typed keys over one by one and as they are, as a prompt reads them afterwards. Does
    nothing where ``terminal`` is not one, and in the background, where changing its modes would stop the process.
    """
    descriptor = _foreground_terminal(terminal)
    if descriptor is None:
        yield
        return
    before = termios.tcgetattr(descriptor)
    held = termios.tcgetattr(descriptor)
    held[3] &= ~termios.ECHO
    if for_prompt:
        held[0] &= ~termios.ICRNL
        held[3] &= ~termios.ICANON
    # TCSANOW, because the other ways of setting modes wait for output or throw away what was typed.
    termios.tcsetattr(descriptor, termios.TCSANOW, held)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


@contextmanager
def usual_keys(terminal: TextIO) -> Iterator[None]:
    """Inside this block, within one of :func:`hold_keys`, another program or question may read the terminal."""
    descriptor = _foreground_terminal(terminal)
    if descriptor is None:
        yield
        return
    held = termios.tcgetattr(descriptor)
    usual = termios.tcgetattr(descriptor)
    usual[0] |= termios.ICRNL
    usual[3] |= termios.ECHO | termios.ICANON
    termios.tcsetattr(descriptor, termios.TCSANOW, usual)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, held)


def discard_typed(terminal: TextIO) -> None:
    """Forget what was typed ahead, so that it does not answer a question nobody had read."""
    descriptor = _foreground_terminal(terminal)
    if descriptor is not None:
        termios.tcflush(descriptor, termios.TCIFLUSH)


def _foreground_terminal(stream: TextIO) -> int | None:
    """The file descriptor of a terminal that is ours to set up; None for anything else."""
    if sys.platform == "win32" or not stream.isatty():
        return None
    try:
        descriptor = stream.fileno()
        return descriptor if os.tcgetpgrp(descriptor) == os.getpgrp() else None
    except OSError:
        return None
