"""Rich consoles that guess nothing: no markup, no emoji names, no highlighting, and the true size."""

from __future__ import annotations

import os
from typing import TextIO

from rich.console import Console, ConsoleDimensions
from rich.theme import Theme

from fwd_cli import colour
from fwd_cli.background import Background

# Inline code, and the theme of code blocks, by the terminal's background. No colour has a background of its own: what
# Rich has by default, cyan on black, is a row of dark boxes on a light terminal. Magenta is readable on both.
_INLINE_CODE = {"light": "bold blue", "dark": "bold cyan", None: "bold magenta"}
_CODE_THEMES = {"light": "ansi_light", "dark": "ansi_dark", None: "ansi_dark"}


class Screen(Console):
    """A console as large as its terminal says it is, with colours for its background.

    Rich believes COLUMNS and LINES first. They may be left over from another window, and redrawing lines on a screen
    of the wrong size leaves a mess.
    """

    code_theme = _CODE_THEMES[None]

    @property  # type: ignore[misc]  # Rich can also be given a size; this one is not
    def size(self) -> ConsoleDimensions:
        """Columns and lines of the terminal; what Rich assumes elsewhere."""
        try:
            columns, lines = os.get_terminal_size(self.file.fileno())
        except OSError:
            return super().size
        return ConsoleDimensions(columns, lines) if columns and lines else super().size


def console_on(stream: TextIO, background: Background | None = None) -> Console:
    """A console on ``stream``, coloured as the user and the terminal want it."""
    wanted = colour.wanted()
    code = _INLINE_CODE[background]
    screen = Screen(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=wanted is False,
        force_terminal=None if wanted is None or stream.isatty() else wanted,
        theme=Theme({"markdown.code": code, "markdown.code_block": code.removeprefix("bold ")}),
    )
    screen.code_theme = _CODE_THEMES[background]
    return screen
