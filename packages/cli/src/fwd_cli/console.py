"""Rich consoles that guess nothing: no markup, no emoji names, no highlights in a text, and the true size."""

from __future__ import annotations

import os
from typing import TextIO

from rich.console import Console, ConsoleDimensions

from fwd_cli import colour


class _Screen(Console):
    """A console as large as its terminal says it is.

    Rich believes COLUMNS and LINES first. They may be left over from another window, and whoever redraws lines on a
    screen of the wrong size leaves a mess.
    """

    @property  # type: ignore[misc]  # Rich can also be told a size; nobody tells this one
    def size(self) -> ConsoleDimensions:
        """Columns and lines of the terminal; what Rich thinks where there is none."""
        try:
            columns, lines = os.get_terminal_size(self.file.fileno())
        except OSError:
            return super().size
        return ConsoleDimensions(columns, lines) if columns and lines else super().size


def console_on(stream: TextIO) -> Console:
    """A console on ``stream``; colour as the user and the terminal have it."""
    wanted = colour.wanted()
    return _Screen(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=wanted is False,
        force_terminal=None if wanted is None or stream.isatty() else wanted,
    )
